//! Notifications: webhooks and web push after an alert, tried again, held back, and never into the server's own network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use api::config::AlertSettings;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::{Client, TestServer, WAIT_MAX, settings};
use tokio::net::TcpListener;
use web_push_native::p256::ecdsa::signature::Verifier;
use web_push_native::p256::ecdsa::{Signature, VerifyingKey};
use web_push_native::p256::elliptic_curve::sec1::ToEncodedPoint;
use web_push_native::{Auth, p256};

use super::devices::device;

const SECRET: &str = "a-key-that-both-know";
const PREFERENCES: &str = "/api/v1/notifications/preferences";

/// What came in, and what is answered (200 in the end).
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answers: Arc<Mutex<VecDeque<u16>>>,
}

impl Receiver {
    /// Listens; answers its address.
    async fn listen(&self) -> String {
        let receive = async |State(receiver): State<Self>, headers: HeaderMap, body: Bytes| {
            receiver.got.lock().unwrap().push((headers, body));
            let status = receiver.answers.lock().unwrap().pop_front().unwrap_or(200);
            StatusCode::from_u16(status).unwrap()
        };
        let router = Router::new().fallback(receive).with_state(self.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    }
    fn answering(answers: &[u16]) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.iter().copied().collect())), ..Self::default() }
    }
    fn got(&self) -> Vec<(HeaderMap, Bytes)> {
        self.got.lock().unwrap().clone()
    }
}

/// Raises an alert of a device of `owner`.
async fn raise(server: &TestServer, owner: &Client) {
    let (_, key) = device(owner, "hall").await;
    let client = server.anonymous().with("x-api-key", &key);
    client.post("/api/v1/battery/report", json!({ "battery_level": 15 })).await.expect(200);
}

/// The events of the one notification, once it is over.
async fn outcome(server: &TestServer) -> Vec<Value> {
    let looking = async {
        loop {
            let page = server.log.read_all(0, &["notification"], 1_000).await.unwrap();
            let events = page.events;
            let over = |name: &str| ["notification.completed", "notification.suppressed"].contains(&name);
            if events.iter().any(|event| over(&event.event_type)) {
                return events.iter().map(|event| serde_json::from_str(&event.payload).unwrap()).collect();
            }
            // A page may end before the head.
            server.log.grown(page.through).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, looking).await.unwrap()
}

#[tokio::test]
async fn a_webhook_is_told_once_and_can_check_who_tells_sqlite() {
    a_webhook_is_told_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_webhook_is_told_once_and_can_check_who_tells_postgres() {
    a_webhook_is_told_once(Engine::Postgres).await;
}
async fn a_webhook_is_told_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let (receiver, owner) = (Receiver::default(), server.zinnia_user("johndoe").await);
    let address = receiver.listen().await;
    let url = format!("{address}/hooks/path-that-is-a-secret");
    let body = json!({ "webhook_enabled": true, "webhook_url": url, "webhook_secret": SECRET, "email_enabled": false });
    let put = owner.put("/api/v1/notifications/preferences", body).await.expect(200);
    assert_eq!((put.at("/data/webhook_enabled"), put.at("/data/webhook_host")), (&json!(true), &json!("127.0.0.1")));
    raise(&server, &owner).await;
    let events = outcome(&server).await;
    let to = json!({ "channel": "webhook", "subscription_id": null });
    assert_eq!(events[1..], [json!({ "delivered": { "recipient": to, "attempts": 1 } }), json!("completed")]);
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    let (headers, body) = &got[0];
    let told: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(
        (&headers["x-zinnia-event"], &told["event_type"]),
        (&"alert_triggered".parse().unwrap(), &json!("alert_triggered"))
    );
    assert_eq!(headers["x-zinnia-timestamp"].to_str().unwrap(), told["timestamp"].as_str().unwrap());
    assert_eq!(headers["x-zinnia-signature"].to_str().unwrap(), format!("sha256={}", signature(body)));
    let data = &told["data"];
    assert_eq!((&data["alert_event"]["message"], &data["device"]["name"]), (&json!("设备电量低: 15%"), &json!("hall")));
    assert_eq!(
        (&data["user"]["email"], &data["alert_event"]["status"]),
        (&json!("johndoe@example.com"), &json!("active"))
    );
    assert_eq!(told["event_id"], data["alert_event"]["id"]);
    let events = server.log.read_all(0, &[], 10_000).await.unwrap().events;
    for secret in [SECRET, "path-that-is-a-secret"] {
        assert!(events.iter().all(|event| !event.payload.contains(secret)), "{secret} is in the log");
        assert!(!put.text.contains(secret));
    }
}

fn signature(body: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    HEXLOWER.encode(&mac.finalize().into_bytes())
}

/// The outcome of a webhook that answers like this.
async fn answered(answers: &[u16]) -> (Value, usize) {
    let server = TestServer::start(Engine::Sqlite).await;
    let (receiver, owner) = (Receiver::answering(answers), server.zinnia_user("johndoe").await);
    let body = json!({ "webhook_enabled": true, "webhook_url": receiver.listen().await, "email_enabled": false });
    let put = owner.put(PREFERENCES, body).await.expect(200);
    assert!(put.at("/data/webhook_secret").as_str().unwrap().len() > 40, "the server makes a key, and shows it once");
    assert_eq!(owner.get(PREFERENCES).await.expect(200).at("/data/webhook_secret"), &Value::Null);
    raise(&server, &owner).await;
    (outcome(&server).await[1].clone(), receiver.got().len())
}

#[tokio::test]
async fn a_webhook_that_fails_is_tried_four_times() {
    let (outcome, calls) = answered(&[500, 503, 429]).await;
    assert_eq!((&outcome["delivered"]["attempts"], calls), (&json!(4), 4));
    let (outcome, calls) = answered(&[500; 10]).await;
    assert_eq!((&outcome["failed"]["attempts"], calls), (&json!(4), 4));
    assert_eq!(outcome["failed"]["reason"], "the receiver answered 500");
}

#[tokio::test]
async fn a_mail_is_asked_for_where_nothing_else_is_wanted() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.zinnia_user("johndoe").await;
    raise(&server, &owner).await;
    let to = json!({ "channel": "email", "subscription_id": null });
    let delivered = json!({ "delivered": { "recipient": to, "attempts": 1 } });
    assert_eq!(outcome(&server).await[1..], [delivered, json!("completed")]);
    let mails = server.log.read_all(0, &["mail"], 100).await.unwrap().events;
    let asked: Vec<Value> = mails
        .iter()
        .filter_map(|mail| serde_json::from_str::<Value>(&mail.payload).unwrap().get("requested").cloned())
        .collect();
    assert_eq!((asked.len(), &asked[0]["to"]), (1, &json!("johndoe@example.com")));
    assert_eq!(asked[0]["subject"], "[警告] hall：设备电量低: 15%");
}

#[tokio::test]
async fn what_is_not_wanted_is_not_told() {
    let wishes = [
        (json!({ "enabled": false }), "notifications are switched off"),
        (json!({ "notify_warning": false }), "alerts of this level are not wanted"),
        (json!({ "quiet_hours_start": "00:00", "quiet_hours_end": "23:59" }), "quiet hours"),
    ];
    for (wish, reason) in wishes {
        // At any time but the last minute of a day.
        let time = tests::clock::SetClock::at(super::alerts::noon());
        let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
        let owner = server.zinnia_user("johndoe").await;
        owner.put(PREFERENCES, wish).await.expect(200);
        raise(&server, &owner).await;
        assert_eq!(outcome(&server).await[1..], [json!({ "suppressed": { "reason": reason } })]);
    }
}

#[tokio::test]
async fn the_servers_own_network_is_not_called() {
    let alerts = AlertSettings { allow_private_targets: false, ..settings().alerts };
    let server = TestServer::start_with(api::config::Config { alerts, ..settings() }).await;
    let owner = server.zinnia_user("johndoe").await;
    let head = server.head().await;
    for url in [
        "http://127.0.0.1:9/",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "nonsense",
    ] {
        let refused = owner.put(PREFERENCES, json!({ "webhook_enabled": true, "webhook_url": url })).await.expect(400);
        assert_eq!(refused.at("/error"), "validation_error");
        let subscription = json!({ "endpoint": url, "keys": { "p256dh": "x", "auth": "y" } });
        owner.post("/api/v1/notifications/web-push/subscribe", subscription).await.expect(400);
    }
    assert_eq!(server.head().await, head);
    // A name is looked up only when it is called, and refused then.
    let inside = json!({ "webhook_enabled": true, "webhook_url": "http://localhost:9/", "email_enabled": false });
    owner.put(PREFERENCES, inside).await.expect(200);
    raise(&server, &owner).await;
    let outcome = outcome(&server).await;
    assert!(outcome[1]["failed"]["reason"].as_str().unwrap().contains("private network"), "{outcome:?}");
}

#[tokio::test]
async fn preferences_are_kept_and_checked() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.zinnia_user("johndoe").await;
    let defaults = owner.get("/api/v1/notifications/preferences").await.expect(200);
    assert_eq!((defaults.at("/data/enabled"), defaults.at("/data/webhook_enabled")), (&json!(true), &json!(false)));
    let hours = json!({
        "quiet_hours_start": "22:00", "quiet_hours_end": "07:30", "quiet_hours_timezone": "+08:00", "notify_info": false
    });
    let put = owner.put(PREFERENCES, hours).await.expect(200);
    assert_eq!(
        (put.at("/data/quiet_hours_end"), put.at("/data/quiet_hours_timezone")),
        (&json!("07:30"), &json!("+08:00"))
    );
    let kept = owner.put(PREFERENCES, json!({ "notify_warning": false })).await.expect(200);
    assert_eq!((kept.at("/data/quiet_hours_start"), kept.at("/data/notify_info")), (&json!("22:00"), &json!(false)));
    // Other hours are hours of the same clock; another zone is one for the same hours.
    let moved = json!({ "quiet_hours_start": "21:00", "quiet_hours_end": "06:30" });
    let moved = owner.put(PREFERENCES, moved).await.expect(200);
    assert_eq!(moved.at("/data/quiet_hours_timezone"), "+08:00");
    let travelled = owner.put(PREFERENCES, json!({ "quiet_hours_timezone": "-03:30" })).await.expect(200);
    assert_eq!(
        (travelled.at("/data/quiet_hours_start"), travelled.at("/data/quiet_hours_timezone")),
        (&json!("21:00"), &json!("-03:30"))
    );
    let cleared =
        owner.put(PREFERENCES, json!({ "quiet_hours_start": null, "quiet_hours_end": null })).await.expect(200);
    assert_eq!(cleared.at("/data/quiet_hours_start"), &Value::Null);
    let head = server.head().await;
    for body in [
        json!({ "webhook_enabled": true }),
        json!({ "webhook_url": "https://example.com/", "webhook_secret": "short" }),
        json!({ "webhook_secret": SECRET }),
        json!({ "webhook_url": format!("https://example.com/{}", "x".repeat(2_000)) }),
        json!({ "quiet_hours_start": "22:00" }),
        json!({ "quiet_hours_start": "25:00", "quiet_hours_end": "07:00" }),
        json!({ "quiet_hours_start": "22:00", "quiet_hours_end": "07:00", "quiet_hours_timezone": "Mars" }),
        json!({ "quiet_hours_start": "22:00", "quiet_hours_end": "07:00", "quiet_hours_timezone": "+99:00" }),
        json!({ "enabled": "no" }),
    ] {
        owner.put("/api/v1/notifications/preferences", body).await.expect(400);
    }
    server.anonymous().get(PREFERENCES).await.expect(401);
    assert_eq!(server.head().await, head);
}

/// A browser: its keys, and how it subscribes.
struct Browser {
    secret: p256::SecretKey,
    auth: [u8; 16],
}

impl Browser {
    fn new() -> Self {
        let secret = p256::SecretKey::from_slice(&rand::random::<[u8; 32]>()).unwrap();
        Self { secret, auth: rand::random() }
    }
    fn subscription(&self, endpoint: &str) -> Value {
        let public = self.secret.public_key().to_encoded_point(false);
        let keys =
            json!({ "p256dh": BASE64URL_NOPAD.encode(public.as_bytes()), "auth": BASE64URL_NOPAD.encode(&self.auth) });
        json!({ "endpoint": endpoint, "expirationTime": null, "keys": keys })
    }
    fn read(&self, body: &[u8]) -> Value {
        let plain = web_push_native::decrypt(body.to_vec(), &self.secret, &Auth::from(self.auth)).unwrap();
        serde_json::from_slice(&plain).unwrap()
    }
}

async fn subscribe(owner: &Client, browser: &Browser, endpoint: &str) -> Answer {
    owner.post("/api/v1/notifications/web-push/subscribe", browser.subscription(endpoint)).await.expect(201)
}

#[tokio::test]
async fn a_browser_is_told_what_only_it_can_read() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (receiver, owner, browser) = (Receiver::default(), server.zinnia_user("johndoe").await, Browser::new());
    let endpoint = format!("{}/push/address-that-is-a-secret", receiver.listen().await);
    let subscribed = subscribe(&owner, &browser, &endpoint).await;
    assert_eq!(subscribe(&owner, &browser, &endpoint).await.at("/data/id"), subscribed.at("/data/id"));
    let listed = owner.get("/api/v1/notifications/web-push/subscriptions").await.expect(200);
    assert_eq!(listed.at("/data"), &json!([subscribed.at("/data")]));
    owner.put(PREFERENCES, json!({ "email_enabled": false })).await.expect(200);
    raise(&server, &owner).await;
    let outcome = outcome(&server).await;
    assert_eq!(outcome[1]["delivered"]["recipient"]["subscription_id"], *subscribed.at("/data/id"));
    let got = receiver.got();
    let (headers, body) = &got[0];
    assert_eq!((got.len(), &headers["content-encoding"]), (1, &"aes128gcm".parse().unwrap()));
    let told = browser.read(body);
    assert_eq!((&told["title"], &told["body"]), (&json!("[警告] hall"), &json!("设备电量低: 15%")));
    let key = owner.get("/api/v1/notifications/web-push/vapid-key").await.expect(200);
    check_vapid(headers["authorization"].to_str().unwrap(), key.at("/data/public_key").as_str().unwrap(), &endpoint);
    let events = server.log.read_all(0, &[], 10_000).await.unwrap().events;
    let keys = browser.subscription("")["keys"]["auth"].as_str().unwrap().to_owned();
    for secret in ["address-that-is-a-secret", &keys] {
        assert!(events.iter().all(|event| !event.payload.contains(secret)), "{secret} is in the log");
    }
}

/// The push service knows the server by a signature for its own address.
fn check_vapid(authorization: &str, public: &str, endpoint: &str) {
    let (token, key) = authorization.strip_prefix("vapid t=").unwrap().split_once(", k=").unwrap();
    assert_eq!(key, public);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let key = VerifyingKey::from_sec1_bytes(&BASE64URL_NOPAD.decode(key.as_bytes()).unwrap()).unwrap();
    let signature = Signature::from_slice(&BASE64URL_NOPAD.decode(signature.as_bytes()).unwrap()).unwrap();
    key.verify(signed.as_bytes(), &signature).unwrap();
    let claims = signed.split_once('.').unwrap().1;
    let claims: Value = serde_json::from_slice(&BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap();
    assert!(endpoint.starts_with(&format!("{}/", claims["aud"].as_str().unwrap())));
    assert!(claims["exp"].is_i64() && claims["sub"].as_str().unwrap().starts_with("mailto:"));
}

#[tokio::test]
async fn a_browser_that_is_gone_is_forgotten() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (receiver, owner, browser) = (Receiver::answering(&[410]), server.zinnia_user("johndoe").await, Browser::new());
    subscribe(&owner, &browser, &receiver.listen().await).await;
    owner.put(PREFERENCES, json!({ "email_enabled": false })).await.expect(200);
    raise(&server, &owner).await;
    let outcome = outcome(&server).await;
    assert_eq!((&outcome[1]["failed"]["attempts"], receiver.got().len()), (&json!(1), 1));
    let none = |answer: &Answer| answer.at("/data") == &json!([]);
    server.get_until(&owner, "/api/v1/notifications/web-push/subscriptions", none).await;
}

#[tokio::test]
async fn subscriptions_belong_to_one_user_and_are_checked() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (owner, stranger) = (server.zinnia_user("johndoe").await, server.zinnia_user("stranger").await);
    let browser = Browser::new();
    let subscribed = subscribe(&owner, &browser, "https://push.example.com/1").await;
    assert_eq!(subscribed.at("/data/push_service"), "push.example.com");
    let path = format!("/api/v1/notifications/web-push/subscriptions/{}", subscribed.at("/data/id").as_str().unwrap());
    stranger.send(Method::DELETE, &path, None).await.expect(404);
    let mut bad = browser.subscription("https://push.example.com/2");
    bad["keys"]["auth"] = json!("short");
    owner.post("/api/v1/notifications/web-push/subscribe", bad).await.expect(400);
    owner.post("/api/v1/notifications/web-push/subscribe", json!({})).await.expect(400);
    owner
        .send(
            Method::DELETE,
            &format!("/api/v1/notifications/web-push/subscriptions/{}", subscribed.at("/data/id").as_str().unwrap()),
            None,
        )
        .await
        .expect(204);
    owner.send(Method::DELETE, &path, None).await.expect(404);
}

#[tokio::test]
async fn a_signing_key_whose_answer_was_lost_is_shown_as_it_is_kept() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.zinnia_user("johndoe").await.with("idempotency-key", "once");
    let body = json!({ "webhook_url": "https://203.0.113.7/", "notify_info": false });
    let first = owner.put(PREFERENCES, body.clone()).await.expect(200);
    server.lose_answer("once");
    let again = owner.put(PREFERENCES, body).await.expect(200);
    assert!(first.at("/data/webhook_secret").is_string());
    assert_eq!(again.at("/data"), first.at("/data"));
    assert_eq!(again.header("idempotency-replayed"), "true");
}
