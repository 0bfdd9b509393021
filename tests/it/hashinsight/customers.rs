//! Customers: created by hand, and listed with what they brought.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::TestServer;

use super::fleet::{ANTMINER_S21, site};

fn body() -> Value {
    json!({ "name": "New Customer", "email": "new@example.com", "phone": "+1-555-0000-0000", "company": "New Company" })
}

#[tokio::test]
async fn a_customer_is_created_and_listed_sqlite() {
    a_customer_is_created_and_listed(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_customer_is_created_and_listed_postgres() {
    a_customer_is_created_and_listed(Engine::Postgres).await;
}
async fn a_customer_is_created_and_listed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let created = admin.post("/crm/api/customer", body()).await.expect(200);
    let expected = json!({ "success": true, "customer_id": 1, "message": "Customer created successfully" });
    assert_eq!(created.json, expected);
    let facts =
        json!({ "name": "Second", "customer_type": "enterprise", "mining_capacity": 10.5, "electricity_cost": 0.05 });
    admin.post("/crm/api/customer", facts).await.expect(200);

    let listed = admin.get("/crm/api/customers").await.expect(200);
    assert_eq!((listed.at("/total"), listed.at("/page"), listed.at("/per_page")), (&json!(2), &json!(1), &json!(50)));
    let second = listed.at("/data/0");
    assert_eq!((&second["customer_type"], &second["mining_capacity"]), (&json!("enterprise"), &json!(10.5)));
    assert_eq!(second["electricity_cost"], 0.05);
    let first = listed.at("/data/1");
    for (key, value) in body().as_object().unwrap() {
        assert_eq!(&first[key], value, "{key}");
    }
    assert_eq!((&first["status"], &first["total_revenue"]), (&json!("active"), &json!(0.0)));
    // Nobody said, so nobody knows.
    assert_eq!((&first["mining_capacity"], &first["miners_count"]), (&Value::Null, &json!(0)));
    assert_eq!(first["join_date"].as_str().map(str::len), Some("2025-01-15".len()));
}

#[tokio::test]
async fn miners_count_for_the_customer_they_belong_to_sqlite() {
    miners_count_for_the_customer_they_belong_to(Engine::Sqlite).await;
}
#[tokio::test]
async fn miners_count_for_the_customer_they_belong_to_postgres() {
    miners_count_for_the_customer_they_belong_to(Engine::Postgres).await;
}
async fn miners_count_for_the_customer_they_belong_to(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    for _ in 0..2 {
        admin.post("/crm/api/customer", body()).await.expect(200);
    }
    let place = site(&admin, "a").await;
    let before = server.head().await;
    for sn in ["SN-1", "SN-2"] {
        let miner = json!({ "sn": sn, "model_id": ANTMINER_S21, "site_id": place, "customer_id": 1 });
        admin.post("/hosting/api/miners/create", miner).await.expect(200);
    }
    let counts = async |query: &str| {
        let listed = admin.get(&format!("/crm/api/customers{query}")).await.expect(200);
        [0, 1].map(|row| listed.at(&format!("/data/{row}/miners_count")).as_i64().unwrap())
    };
    assert_eq!(counts("").await, [0, 2]);
    assert_eq!(counts(&format!("?as_of={before}")).await, [0, 0]);
}

#[tokio::test]
async fn won_deals_add_up_to_the_revenue_sqlite() {
    won_deals_add_up_to_the_revenue(Engine::Sqlite).await;
}
#[tokio::test]
async fn won_deals_add_up_to_the_revenue_postgres() {
    won_deals_add_up_to_the_revenue(Engine::Postgres).await;
}
async fn won_deals_add_up_to_the_revenue(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    for _ in 0..2 {
        admin.post("/crm/api/customer", body()).await.expect(200);
    }
    let deals = [(1, 0.1, "won"), (1, 0.2, "won"), (1, 5.0, "lost"), (1, 7.0, "proposal"), (2, 50_000.0, "won")];
    for (customer, amount, stage) in deals {
        let deal = json!({ "title": "Contract", "customer_id": customer, "amount": amount });
        let created = admin.post("/crm/api/deal", deal).await.expect(200);
        let path = format!("/crm/api/deal/{}", created.at("/deal_id"));
        admin.put(&path, json!({ "stage": stage })).await.expect(200);
    }
    let listed = admin.get("/crm/api/customers").await.expect(200);
    assert_eq!((listed.at("/data/0/id"), listed.at("/data/0/total_revenue")), (&json!(2), &json!(50_000.0)));
    assert_eq!((listed.at("/data/1/id"), listed.at("/data/1/total_revenue")), (&json!(1), &json!(0.3)));
}

#[tokio::test]
async fn pages_are_bounded_and_stable() {
    let server = TestServer::start(Engine::Sqlite).await;
    let head = server.head().await;
    let admin = server.admin(Surface::HashInsight);
    for _ in 0..3 {
        admin.post("/crm/api/customer", body()).await.expect(200);
    }
    let second = admin.get("/crm/api/customers?page=2&per_page=2").await.expect(200);
    assert_eq!((second.at("/data").as_array().unwrap().len(), second.at("/data/0/id")), (1, &json!(1)));
    assert_eq!(admin.get("/crm/api/customers?per_page=1000").await.expect(200).at("/per_page"), 100);
    assert_eq!(admin.get("/crm/api/customers?page=9").await.expect(200).at("/data"), &json!([]));
    let then = admin.get(&format!("/crm/api/customers?as_of={}", head + 2)).await.expect(200);
    assert_eq!((then.at("/total"), then.at("/data/0/id")), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn bad_input_is_refused_in_the_products_form_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let head = server.head().await;
    let admin = server.admin(Surface::HashInsight);
    let bodies = [
        json!({}),
        json!("New Customer"),
        json!({ "name": null }),
        json!({ "name": "  " }),
        json!({ "name": "N", "email": "new@example" }),
        json!({ "name": "N", "phone": "1".repeat(51) }),
        json!({ "name": "N", "mining_capacity": -1 }),
        json!({ "name": "N", "mining_capacity": "big" }),
        json!({ "name": "N", "electricity_cost": 11 }),
        json!({ "name": "N", "electricity_cost": 0.000_000_1 }),
    ];
    for body in bodies {
        let refused = admin.post("/crm/api/customer", body).await.expect(400);
        assert_eq!((refused.at("/success"), refused.at("/error")), (&json!(false), &json!("invalid_request")));
    }
    admin.send(Method::POST, "/crm/api/customer", Some("{\"name\":".into())).await.expect(400);
    admin.get("/crm/api/customers?page=-1").await.expect(400);
    admin.get("/crm/api/customers?as_of=yesterday").await.expect(400);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn tenants_and_roles_are_kept_apart() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    admin.post("/crm/api/customer", body()).await.expect(200);
    let head = server.head().await;
    for role in [Role::User, Role::Client, Role::Customer] {
        let user = server.signed_in(Surface::HashInsight, role, TenantId::DEFAULT);
        let refused = user.post("/crm/api/customer", body()).await.expect(403);
        assert_eq!((refused.at("/error"), refused.at("/success")), (&json!("permission_denied"), &json!(false)));
        assert_eq!(user.get("/crm/api/customers").await.expect(200).at("/total"), 0);
    }
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    assert_eq!(stranger.get("/crm/api/customers").await.expect(200).at("/total"), 0);
    let colleague = server.signed_in(Surface::HashInsight, Role::MiningSiteOwner, TenantId::DEFAULT);
    assert_eq!(colleague.get("/crm/api/customers").await.expect(200).at("/total"), 1);
    server.anonymous().get("/crm/api/customers").await.expect(401);
    server.anonymous().post("/crm/api/customer", body()).await.expect(401);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_repeated_request_creates_one_customer() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight).with("Idempotency-Key", "once");
    let first = admin.post("/crm/api/customer", body()).await.expect(200);
    let again = admin.post("/crm/api/customer", body()).await.expect(200);
    assert_eq!((&first.json, again.header("idempotency-replayed")), (&again.json, "true"));
    admin.post("/crm/api/customer", json!({ "name": "Other" })).await.expect(422);
    assert_eq!(server.admin(Surface::HashInsight).get("/crm/api/customers").await.expect(200).at("/total"), 1);
}
