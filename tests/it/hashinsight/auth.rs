//! The way into HashInsight: forms, a session cookie, redirects.

use chrono::TimeDelta;
use domain::identity::role::Role;
use serde_json::json;
use tests::answer::Answer;
use tests::clock::TestClock;
use tests::engine::Engine;
use tests::program::{ADMIN_EMAIL, ADMIN_PASSWORD};
use tests::server::{Client, TestServer};

const PASSWORD: &str = "Str0ng&Fine";

async fn login(client: &Client, email: &str, password: &str) -> Answer {
    client.post_form("/login", &[("email", email), ("password", password)]).await
}

async fn register(client: &Client, email: &str, password: &str) -> Answer {
    client.post_form("/register", &[("email", email), ("password", password), ("name", "Ann")]).await
}

#[tokio::test]
async fn a_user_registers_comes_in_and_leaves_sqlite() {
    a_user_registers_comes_in_and_leaves(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_user_registers_comes_in_and_leaves_postgres() {
    a_user_registers_comes_in_and_leaves(Engine::Postgres).await;
}
async fn a_user_registers_comes_in_and_leaves(engine: Engine) {
    let server = TestServer::start(engine).await;
    let anonymous = server.anonymous();
    let registered = register(&anonymous, "ann@example.com", PASSWORD).await.expect(302);
    assert_eq!(registered.header("location"), "/login");
    let entered = login(&anonymous, "ann@example.com", PASSWORD).await.expect(302);
    assert_eq!(entered.header("location"), "/");
    assert!(entered.header("set-cookie").contains("Max-Age=28800; HttpOnly; SameSite=Lax"));
    let browser = anonymous.with("cookie", &format!("session={}", entered.cookie("session")));
    // Nor does a link on somebody else's page end the session.
    browser.with("sec-fetch-site", "cross-site").get("/logout").await.expect(403);
    let left = browser.get("/logout").await.expect(302);
    assert_eq!((left.header("location"), left.cookie("session")), ("/", ""));
    // Nobody is signed in any more.
    assert_eq!(browser.get("/logout").await.expect(302).header("location"), "/login");
}

#[tokio::test]
async fn everybody_begins_where_the_role_belongs() {
    let server = TestServer::start(Engine::Sqlite).await;
    let owner = server.admin(api::surface::Surface::Platform);
    for (role, location) in [
        (Role::Owner, "/admin/site-owners"),
        (Role::Admin, "/admin/site-owners"),
        (Role::MiningSiteOwner, "/hosting/host/my-customers"),
        (Role::Client, "/hosting/"),
        (Role::Customer, "/"),
        (Role::Guest, "/"),
    ] {
        let email = format!("{role}.one@example.com");
        let body = json!({ "email": email, "password": PASSWORD, "role": role.name() });
        owner.post("/platform/v1/users", body).await.expect(201);
        let entered = login(&server.anonymous(), &email, PASSWORD).await.expect(302);
        assert_eq!(entered.header("location"), location, "{role}");
    }
    // The owner of the first start comes in by e-mail address and by username.
    for name in [ADMIN_EMAIL, "admin"] {
        let entered = login(&server.anonymous(), name, ADMIN_PASSWORD).await.expect(302);
        assert_eq!(entered.header("location"), "/admin/site-owners");
    }
}

#[tokio::test]
async fn refusals_are_pages_with_a_message() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    let anonymous = server.anonymous();
    register(&anonymous, "ann@example.com", PASSWORD).await.expect(302);
    let taken = register(&anonymous, "ann@example.com", PASSWORD).await.expect(400);
    assert!(taken.text.contains("the e-mail address is registered already"));
    for weak in ["Sh0rt!x", "alllower1!", "NoDigits!!", "NoSymbol11", "P@ssw0rd123", "Aaa111!bbb"] {
        assert!(register(&anonymous, "bob@example.com", weak).await.expect(400).text.contains("Password "), "{weak}");
    }
    for _ in 0..5 {
        let refused = login(&anonymous, "ann@example.com", "Wr0ng&Other").await.expect(401);
        assert!(refused.text.contains("Incorrect email or password") && refused.text.contains("name=\"csrf_token\""));
        assert!(refused.header("content-type").starts_with("text/html"));
    }
    let locked = login(&anonymous, "ann@example.com", PASSWORD).await.expect(200);
    assert!(locked.text.contains("the account is locked for another 15 minutes"));
    time.turn(TimeDelta::minutes(15));
    login(&anonymous, "ann@example.com", PASSWORD).await.expect(302);
}

#[tokio::test]
async fn forms_come_from_our_own_pages() {
    let time = TestClock::default();
    let server = TestServer::start_by(Engine::Sqlite, time.clock()).await;
    let anonymous = server.anonymous();
    register(&anonymous, "ann@example.com", PASSWORD).await.expect(302);
    let page = anonymous.get("/login").await.expect(200).text;
    let (_, rest) = page.split_once("name=\"csrf_token\" value=\"").unwrap();
    let (token, _) = rest.split_once('"').unwrap();
    let with = |token: &str| {
        let (anonymous, token) = (anonymous.clone(), token.to_owned());
        async move {
            let fields = [("email", "ann@example.com"), ("password", PASSWORD), ("csrf_token", token.as_str())];
            anonymous.post_form("/login", &fields).await
        }
    };
    with(token).await.expect(302);
    let refused = with(&format!("{token}0")).await.expect(403);
    assert_eq!((refused.at("/success"), refused.at("/error")), (&json!(false), &json!("permission_denied")));
    let elsewhere = anonymous.with("origin", "https://evil.example");
    login(&elsewhere, "ann@example.com", PASSWORD).await.expect(403);
    register(&elsewhere, "bob@example.com", PASSWORD).await.expect(403);
    time.turn(TimeDelta::hours(9));
    with(token).await.expect(403);
}

#[tokio::test]
async fn bad_forms_are_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (anonymous, head) = (server.anonymous(), server.head().await);
    for path in ["/login", "/register"] {
        let refused = anonymous.post_form(path, &[("email", "ann@example.com")]).await.expect(400);
        assert_eq!((refused.at("/success"), refused.at("/error")), (&json!(false), &json!("invalid_request")));
        anonymous.send(reqwest::Method::POST, path, None).await.expect(400);
    }
    register(&anonymous, "nonsense", PASSWORD).await.expect(400);
    login(&anonymous, "nobody@example.com", PASSWORD).await.expect(401);
    login(&anonymous, "<script>", PASSWORD).await.expect(401);
    anonymous.get("/register").await.expect(200);
    assert_eq!(anonymous.get("/logout").await.expect(302).header("location"), "/login");
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_repeated_sign_in_is_answered_with_the_same_cookie() {
    let server = TestServer::start(Engine::Sqlite).await;
    let client = server.anonymous().with("Idempotency-Key", "sign-in-1");
    let first = login(&client, ADMIN_EMAIL, ADMIN_PASSWORD).await.expect(302);
    let head = server.head().await;
    let again = login(&client, ADMIN_EMAIL, ADMIN_PASSWORD).await.expect(302);
    assert_eq!((again.header("idempotency-replayed"), server.head().await), ("true", head));
    let kept = |answer: &Answer| {
        (answer.headers.get_all("set-cookie").iter().cloned().collect::<Vec<_>>(), answer.header("location").to_owned())
    };
    assert_eq!(kept(&again), kept(&first));
    assert!(!again.cookie("session").is_empty());
    // Whoever does not know what was sent under the key gets nothing of it.
    let other = login(&client, ADMIN_EMAIL, "Correct-horse-8").await.expect(422);
    assert_eq!(other.cookie("session"), "");
}
