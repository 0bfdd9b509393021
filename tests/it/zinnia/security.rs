//! Codes by mail, forgotten passwords, reCAPTCHA.

use std::sync::Arc;

use api::config::{Config, MailSettings, RegistrationSettings, Switch};
use api::surface::Surface;
use axum::extract::{Form, State};
use axum::routing::post;
use axum::{Json, Router};
use chrono::TimeDelta;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::server::{Client, TestServer, settings};
use tests::simulators::smtp::SmtpSink;
use tokio::net::TcpListener;

const PASSWORD: &str = "SecurePass123!";
const EMAIL: &str = "ada@example.com";

fn with_mail(sink: &SmtpSink, require_email_verification: Switch) -> Config {
    let mail = MailSettings { smtp_url: Some(sink.url()), try_again_ms: 10, ..MailSettings::default() };
    let registration = RegistrationSettings { require_email_verification, ..RegistrationSettings::default() };
    Config { mail, registration, ..settings() }
}

/// The six digits of a mail.
fn code(text: &str) -> String {
    let digits = text.split(|c: char| !c.is_ascii_digit()).find(|word| word.len() == 6);
    digits.unwrap_or_else(|| panic!("no code in {text}")).to_owned()
}

/// Another code than this one.
fn another(code: &str) -> String {
    format!("{:06}", (code.parse::<u32>().unwrap() + 1) % 1_000_000)
}

async fn send(client: &Client, purpose: &str, email: &str) -> Answer {
    client.post("/api/v1/auth/verification/send", json!({ "email": email, "purpose": purpose })).await
}

async fn verify(client: &Client, code: &str) -> Answer {
    let body = json!({ "email": EMAIL, "code": code, "purpose": "registration" });
    client.post("/api/v1/auth/verification/verify", body).await
}

async fn register(client: &Client, code: Option<&str>) -> Answer {
    let body = json!({ "email": EMAIL, "username": "ada", "password": PASSWORD, "verification_code": code });
    client.post("/api/v1/users/register", body).await
}

async fn login(client: &Client, password: &str) -> Answer {
    client.post("/api/v1/users/login", json!({ "login": EMAIL, "password": password })).await
}

#[tokio::test]
async fn an_address_is_verified_before_it_is_registered_sqlite() {
    an_address_is_verified_before_it_is_registered(Engine::Sqlite).await;
}
#[tokio::test]
async fn an_address_is_verified_before_it_is_registered_postgres() {
    an_address_is_verified_before_it_is_registered(Engine::Postgres).await;
}
async fn an_address_is_verified_before_it_is_registered(engine: Engine) {
    let (sink, time) = (SmtpSink::start().await, TestClock::default());
    let server = TestServer::start_as(engine, with_mail(&sink, Switch::On), time.clock()).await;
    let anonymous = server.anonymous();
    let config = anonymous.get("/api/v1/auth/registration/config").await.expect(200);
    let expected =
        json!({ "require_email_verification": true, "require_recaptcha": false, "recaptcha_site_key": null });
    assert_eq!(config.at("/data"), &expected);
    register(&anonymous, None).await.expect(400);
    assert_eq!(register(&anonymous, Some("123456")).await.expect(400).at("/message"), "验证码无效或已过期");
    let sent = send(&anonymous, "registration", EMAIL).await.expect(200);
    assert_eq!(sent.at("/data/expires_in_minutes"), &json!(10));
    let mail = sink.wait_for(1).await.remove(0);
    assert_eq!(mail.to, EMAIL);
    let right = code(&mail.text);
    let wrong = verify(&anonymous, &another(&right)).await.expect(400);
    assert_eq!(wrong.at("/message"), "验证码错误，还剩 4 次尝试机会");
    let verified = verify(&anonymous, &right).await.expect(200);
    assert_eq!((verified.at("/message"), verified.at("/data/message")), (&json!("验证码正确"), &json!("验证码正确")));
    verify(&anonymous, &right).await.expect(400);
    // The code that was verified is good for the registration, once.
    let registered = register(&anonymous, Some(&right)).await.expect(201);
    assert_eq!(registered.at("/data/email_verified"), &json!(true));
    assert_eq!(register(&anonymous, Some(&right)).await.expect(400).at("/message"), "验证码无效或已过期");
    // Whoever asks for a code of a registered address learns nothing; its user does.
    time.turn(TimeDelta::seconds(61));
    let again = send(&anonymous, "registration", EMAIL).await.expect(200);
    assert_eq!(again.at("/data"), sent.at("/data"));
    let hint = sink.wait_for(2).await.remove(1);
    assert!(hint.text.contains("已注册") && !hint.text.chars().any(|c| c.is_ascii_digit()), "{}", hint.text);
}

#[tokio::test]
async fn a_forgotten_password_is_replaced_sqlite() {
    a_forgotten_password_is_replaced(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_forgotten_password_is_replaced_postgres() {
    a_forgotten_password_is_replaced(Engine::Postgres).await;
}
async fn a_forgotten_password_is_replaced(engine: Engine) {
    let sink = SmtpSink::start().await;
    let server = TestServer::start_as(engine, with_mail(&sink, Switch::Off), TestClock::default().clock()).await;
    let anonymous = server.anonymous();
    let path = "/api/v1/auth/password-reset/send";
    let unknown = anonymous.post("/api/v1/auth/password-reset/send", json!({ "email": "nobody@example.com" })).await;
    let unknown = unknown.expect(200);
    register(&anonymous, None).await.expect(201);
    let entered = login(&anonymous, PASSWORD).await.expect(200);
    let known = anonymous.post(path, json!({ "email": EMAIL })).await.expect(200);
    assert_eq!(known.at("/data"), unknown.at("/data"));
    let mails = sink.wait_for(1).await;
    let right = code(&mails[0].text);
    let confirm = async |code: &str, password: &str| {
        let body = json!({ "email": EMAIL, "code": code, "new_password": password, "confirm_password": password });
        anonymous.post("/api/v1/auth/password-reset/confirm", body).await
    };
    // A code for one purpose is none for another.
    verify(&anonymous, &right).await.expect(400);
    confirm(&right, "short").await.expect(400);
    confirm(&another(&right), "NewSecure123!").await.expect(400);
    assert_eq!(confirm(&right, "NewSecure123!").await.expect(200).at("/message"), "密码重置成功");
    confirm(&right, "NewSecure456!").await.expect(400);
    login(&anonymous, PASSWORD).await.expect(401);
    let refresh = json!({ "refresh_token": entered.at("/data/refresh_token") });
    anonymous.post("/api/v1/users/refresh", refresh).await.expect(401);
    let entered = login(&anonymous, "NewSecure123!").await.expect(200);
    assert_eq!(entered.at("/data/user/email_verified"), &json!(true));
    assert_eq!(sink.taken().len(), 1, "somebody without an account got a mail");
}

#[tokio::test]
async fn codes_come_a_minute_apart_and_end_after_ten_minutes_or_five_tries() {
    let (sink, time) = (SmtpSink::start().await, TestClock::default());
    let server = TestServer::start_as(Engine::Sqlite, with_mail(&sink, Switch::Off), time.clock()).await;
    let anonymous = server.anonymous();
    send(&anonymous, "registration", EMAIL).await.expect(200);
    let first = code(&sink.wait_for(1).await[0].text);
    // That the mail was taken is written down after the sink has it.
    let sent = |answer: &Answer| answer.at("/items/0/status") == "sent";
    server.get_until(&server.admin(Surface::Platform), "/platform/v1/outbox", sent).await;
    let head = server.head().await;
    let early = send(&anonymous, "registration", " Ada@Example.com ").await.expect(429);
    let seconds: u64 = early.header("retry-after").parse().unwrap();
    assert!((50..=60).contains(&seconds), "{seconds}");
    assert_eq!(early.at("/message"), &json!(format!("请等待 {seconds} 秒后再重新发送")));
    assert_eq!(server.head().await, head);
    time.turn(TimeDelta::seconds(61));
    send(&anonymous, "registration", EMAIL).await.expect(200);
    let second = code(&sink.wait_for(2).await[1].text);
    if first != second {
        verify(&anonymous, &first).await.expect(400);
        verify(&anonymous, &second).await.expect(200);
    }
    time.turn(TimeDelta::seconds(61));
    send(&anonymous, "registration", EMAIL).await.expect(200);
    let third = code(&sink.wait_for(3).await[2].text);
    for _ in 0..5 {
        verify(&anonymous, &another(&third)).await.expect(400);
    }
    assert_eq!(verify(&anonymous, &third).await.expect(400).at("/message"), "验证码无效或已过期");
    time.turn(TimeDelta::seconds(61));
    send(&anonymous, "registration", EMAIL).await.expect(200);
    let fourth = code(&sink.wait_for(4).await[3].text);
    time.turn(TimeDelta::minutes(10));
    verify(&anonymous, &fourth).await.expect(400);
    for (path, body) in [
        ("/api/v1/auth/verification/send", json!({ "email": "nonsense" })),
        ("/api/v1/auth/verification/send", json!({ "email": "a@b.c\r\nBcc: eve@example.com" })),
        ("/api/v1/auth/verification/send", json!({ "email": EMAIL, "purpose": "fun" })),
        ("/api/v1/auth/verification/verify", json!({ "email": EMAIL })),
        ("/api/v1/auth/password-reset/confirm", json!({ "email": EMAIL, "code": "1" })),
    ] {
        anonymous.post(path, body).await.expect(400);
    }
}

#[tokio::test]
async fn an_address_of_the_network_gets_five_codes_an_hour() {
    let config = Config { rate_limits: Switch::On, ..settings() };
    let server = TestServer::start_with(config).await;
    for number in 0..5 {
        send(&server.anonymous(), "registration", &format!("ada{number}@example.com")).await.expect(200);
    }
    let refused = send(&server.anonymous(), "registration", "ada5@example.com").await.expect(429);
    assert_eq!(refused.at("/error"), "rate_limit_exceeded");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 3_000);
}

#[tokio::test]
async fn without_a_mail_server_codes_are_in_the_outbox_and_nowhere_else() {
    let server = TestServer::start(Engine::Sqlite).await;
    send(&server.anonymous(), "registration", EMAIL).await.expect(200);
    let owner = server.admin(Surface::Platform);
    let kept = server.get_until(&owner, "/platform/v1/outbox", |answer| answer.at("/items/0/status") == "kept").await;
    assert_eq!((kept.at("/items/0/to"), kept.at("/items/0/subject")), (&json!(EMAIL), &json!("Zinnia 注册验证码")));
    let code = code(kept.at("/items/0/text").as_str().unwrap());
    verify(&server.anonymous(), &code).await.expect(200);
    let events = server.log.read_all(0, &[], 1000).await.unwrap().events;
    assert!(events.iter().all(|event| !event.payload.contains(&code)), "the code stands in the log");
    let shown = owner.get("/platform/v1/events?type=mail").await.expect(200);
    assert!(shown.text.contains("[redacted]") && !shown.text.contains(&code));
    let codes = owner.get("/platform/v1/events?type=verification").await.expect(200);
    assert!(codes.text.contains("[redacted]"));
    server.user(Surface::Platform).get("/platform/v1/outbox").await.expect(403);
    let elsewhere = server.signed_in(Surface::Platform, Role::Owner, TenantId(tests::fresh_id()));
    assert_eq!(elsewhere.get("/platform/v1/outbox").await.expect(200).at("/total"), &json!(0));
    // What lets in the owner is not shown to those the owner manages.
    let reset = json!({ "email": server.config().admin_email });
    server.anonymous().post("/api/v1/auth/password-reset/send", reset).await.expect(200);
    let twice = |answer: &Answer| answer.at("/total") == &json!(2) && answer.at("/items/0/status") == "kept";
    assert!(server.get_until(&owner, "/platform/v1/outbox", twice).await.at("/items/0/text").is_string());
    let admin = server.signed_in(Surface::Platform, Role::Admin, TenantId::DEFAULT);
    let shown = admin.get("/platform/v1/outbox").await.expect(200);
    assert_eq!((shown.at("/items/0/text"), shown.at("/items/1/text").is_string()), (&Value::Null, true));
}

#[tokio::test]
async fn a_mail_that_is_not_taken_is_sent_again_or_given_up() {
    let sink = SmtpSink::start().await;
    let server = TestServer::start_with(with_mail(&sink, Switch::Off)).await;
    let owner = server.admin(Surface::Platform);
    sink.refuse("451 not now");
    send(&server.anonymous(), "registration", EMAIL).await.expect(200);
    assert_eq!(sink.wait_for(1).await.len(), 1);
    let sent = |answer: &Answer| answer.at("/items/0/status") == "sent";
    let outbox = server.get_until(&owner, "/platform/v1/outbox", sent).await;
    assert_eq!(outbox.at("/items/0/text"), &Value::Null);
    sink.refuse("550 nobody here");
    send(&server.anonymous(), "registration", "nobody@example.com").await.expect(200);
    let failed = |answer: &Answer| answer.at("/items/0/status") == "failed";
    let outbox = server.get_until(&owner, "/platform/v1/outbox", failed).await;
    assert!(outbox.at("/items/0/why").as_str().unwrap().contains("nobody here"), "{}", outbox.text);
    assert_eq!(sink.taken().len(), 1);
}

/// A service that takes the token `good` for a person, and `robot` for one who scores too low.
async fn recaptcha() -> String {
    async fn verdict(State(secret): State<Arc<str>>, Form(form): Form<Vec<(String, String)>>) -> Json<Value> {
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let success = field("secret") == Some(&*secret) && field("response").is_some_and(|token| token != "bad");
        Json(json!({ "success": success, "score": if field("response") == Some("robot") { 0.1 } else { 0.9 } }))
    }
    let router = Router::new().route("/siteverify", post(verdict)).with_state(Arc::from("shh"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/siteverify", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn robots_cause_no_mail_and_register_nobody() {
    let registration = RegistrationSettings {
        recaptcha_site_key: Some("6LcXXX".into()),
        recaptcha_secret: Some("shh".into()),
        recaptcha_url: recaptcha().await,
        ..RegistrationSettings::default()
    };
    let server = TestServer::start_with(Config { registration, ..settings() }).await;
    let anonymous = server.anonymous();
    let config = anonymous.get("/api/v1/auth/recaptcha/config").await.expect(200);
    assert_eq!(config.at("/data"), &json!({ "enabled": true, "site_key": "6LcXXX" }));
    assert!(!config.text.contains("shh"));
    let head = server.head().await;
    for token in [Value::Null, json!(""), json!("bad"), json!("robot")] {
        for path in ["/api/v1/auth/verification/send", "/api/v1/auth/password-reset/send"] {
            let refused = anonymous.post(path, json!({ "email": EMAIL, "recaptcha_token": token })).await.expect(400);
            assert_eq!(refused.at("/message"), "人机验证失败");
        }
        let body = json!({ "email": EMAIL, "username": "ada", "password": PASSWORD, "recaptcha_token": token });
        anonymous.post("/api/v1/users/register", body).await.expect(400);
    }
    assert_eq!(server.head().await, head);
    let good = json!({ "email": EMAIL, "username": "ada", "password": PASSWORD, "recaptcha_token": "good" });
    anonymous.post("/api/v1/users/register", good).await.expect(201);
}

#[tokio::test]
async fn without_recaptcha_nothing_is_asked_for_and_a_silent_service_is_no_pass() {
    let server = TestServer::start(Engine::Sqlite).await;
    let config = server.anonymous().get("/api/v1/auth/recaptcha/config").await.expect(200);
    assert_eq!(config.at("/data"), &json!({ "enabled": false, "site_key": null }));
    let registration = RegistrationSettings {
        recaptcha_site_key: Some("6LcXXX".into()),
        recaptcha_secret: Some("shh".into()),
        // The discard port: nobody listens.
        recaptcha_url: "http://127.0.0.1:9/siteverify".into(),
        ..RegistrationSettings::default()
    };
    let server = TestServer::start_with(Config { registration, ..settings() }).await;
    let body = json!({ "email": EMAIL, "recaptcha_token": "good" });
    server.anonymous().post("/api/v1/auth/verification/send", body).await.expect(503);
}

#[tokio::test]
async fn an_address_may_be_verified_after_the_registration() {
    let sink = SmtpSink::start().await;
    let server = TestServer::start_with(with_mail(&sink, Switch::Off)).await;
    let anonymous = server.anonymous();
    let registered = register(&anonymous, None).await.expect(201);
    assert_eq!(registered.at("/data/email_verified"), &json!(false));
    send(&anonymous, "registration", EMAIL).await.expect(200);
    verify(&anonymous, &code(&sink.wait_for(1).await[0].text)).await.expect(200);
    let entered = login(&anonymous, PASSWORD).await.expect(200);
    assert_eq!(entered.at("/data/user/email_verified"), &json!(true));
}
