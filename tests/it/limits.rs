//! Limits on requests as callers meet them: 429 in the words of each product, and headers on every counted answer.

use api::config::{Config, Switch};
use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use serde_json::json;
use tests::answer::Answer;
use tests::server::{TestServer, settings};

async fn limited(config: Config) -> TestServer {
    TestServer::start_with(Config { rate_limits: Switch::On, ..config }).await
}

/// `limit/remaining` and the policy.
fn standing(answer: &Answer) -> (String, &str) {
    let seconds: u64 = answer.header("ratelimit-reset").parse().unwrap();
    assert!(seconds <= 3_600);
    (
        format!("{}/{}", answer.header("ratelimit-limit"), answer.header("ratelimit-remaining")),
        answer.header("ratelimit-policy"),
    )
}

#[tokio::test]
async fn bitrun_limits_sign_ins_by_address_and_says_so() {
    let server = limited(settings()).await;
    let login = async || {
        let form = [("username", "ann@example.com"), ("password", "Wrong-horse-7")];
        server.anonymous().post_form("/api/v1/auth/login", &form).await
    };
    for left in (0..5).rev() {
        assert_eq!(standing(&login().await.expect(401)), (format!("5/{left}"), "5;w=60"));
    }
    let head = server.head().await;
    let refused = login().await.expect(429);
    assert_eq!(standing(&refused), ("5/0".into(), "5;w=60"));
    assert_eq!(refused.header("retry-after"), refused.header("ratelimit-reset"));
    assert_eq!(refused.at("/detail/code"), "AUTH_RATE_LIMITED");
    assert_eq!(server.head().await, head);
    // Other requests have limits of their own.
    let user = server.user(Surface::Bitrun);
    assert_eq!(standing(&user.get("/api/v1/quant-strategies").await.expect(200)), ("100/99".into(), "100;w=60"));
}

#[tokio::test]
async fn hashinsight_limits_strangers_by_address_and_users_by_plan() {
    let mut config = settings();
    config.plans.free_per_hour = 2;
    let server = limited(config).await;
    for left in (0..10).rev() {
        let answer = server.anonymous().get("/crm/api/deals").await.expect(401);
        assert_eq!(standing(&answer), (format!("10/{left}"), "10;w=3600"));
    }
    let refused = server.anonymous().get("/crm/api/deals").await.expect(429);
    assert_eq!((refused.at("/success"), refused.at("/error")), (&json!(false), &json!("rate_limit_exceeded")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 361);
    let client = server.signed_in(Surface::HashInsight, Role::Client, TenantId::DEFAULT);
    assert_eq!(standing(&client.get("/crm/api/deals").await.expect(200)), ("2/1".into(), "2;w=3600"));
    client.get("/crm/api/deals").await.expect(200);
    client.get("/crm/api/deals").await.expect(429);
    let owner = server.admin(Surface::HashInsight);
    assert_eq!(standing(&owner.get("/crm/api/deals").await.expect(200)), ("20000/19999".into(), "20000;w=3600"));
}

#[tokio::test]
async fn another_plan_counts_from_the_next_request_on() {
    let mut config = settings();
    config.plans.free_per_hour = 3;
    let server = limited(config).await;
    let owner = server.admin(Surface::Platform);
    let body = json!({ "email": "carol@example.com", "password": "Str0ng&Fine", "role": "client" });
    let carol = owner.post("/platform/v1/users", body).await.expect(201);
    assert_eq!((carol.at("/plan"), carol.at("/customer_id")), (&json!("free"), &json!(null)));
    let form = [("email", "carol@example.com"), ("password", "Str0ng&Fine")];
    let entered = server.anonymous().post_form("/login", &form).await.expect(302);
    let browser = server.anonymous().with("cookie", &format!("session={}", entered.cookie("session")));
    assert_eq!(standing(&browser.get("/crm/api/deals").await.expect(200)).0, "3/2");
    let id = carol.at("/id").as_str().unwrap();
    owner.put(&format!("/platform/v1/users/{id}/plan"), json!({ "plan": "gold" })).await.expect(422);
    let changed = owner.put(&format!("/platform/v1/users/{id}/plan"), json!({ "plan": "basic" })).await.expect(200);
    assert_eq!(changed.at("/plan"), "basic");
    assert_eq!(standing(&browser.get("/crm/api/deals").await.expect(200)).0, "5000/4999");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_address_it_names_counts() {
    let server = limited(Config { trusted_proxies: vec!["127.0.0.1/32".parse().unwrap()], ..settings() }).await;
    for client in ["203.0.113.9", "203.0.113.10"] {
        let client = server.anonymous().with("x-forwarded-for", &format!("198.51.100.1, {client}"));
        assert_eq!(standing(&client.get("/crm/api/deals").await.expect(401)).0, "10/9");
    }
}
