//! Deals: stages, and probabilities that a stage gives or somebody sets.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};

async fn with_customer(engine: Engine) -> (TestServer, Client) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    admin.post("/crm/api/customer", json!({ "name": "Customer A" })).await.expect(200);
    (server, admin)
}

fn contract() -> Value {
    json!({ "title": "Miner Sales Contract", "customer_id": 1, "amount": 50_000.00, "expected_close": "2025-03-15" })
}

async fn create(client: &Client, body: Value) -> String {
    let created = client.post("/crm/api/deal", body).await.expect(200);
    assert_eq!((created.at("/success"), created.at("/message")), (&json!(true), &json!("Deal created successfully")));
    format!("/crm/api/deal/{}", created.at("/deal_id"))
}

async fn newest(client: &Client) -> Answer {
    client.get("/crm/api/deals?per_page=1").await.expect(200)
}

#[tokio::test]
async fn a_deal_goes_through_its_stages_sqlite() {
    a_deal_goes_through_its_stages(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_deal_goes_through_its_stages_postgres() {
    a_deal_goes_through_its_stages(Engine::Postgres).await;
}
async fn a_deal_goes_through_its_stages(engine: Engine) {
    let (_server, admin) = with_customer(engine).await;
    let path = create(&admin, contract()).await;
    let listed = admin.get("/crm/api/deals").await.expect(200);
    let expected = json!({ "id": 1, "title": "Miner Sales Contract", "customer_id": 1, "customer_name": "Customer A",
        "amount": 50_000.0, "stage": "prospecting", "probability": 10, "expected_close": "2025-03-15", "lead_id": null });
    assert_eq!(listed.at("/deals/0"), &expected);
    let pagination = json!({ "page": 1, "per_page": 50, "total": 1, "pages": 1, "has_next": false, "has_prev": false });
    assert_eq!(listed.at("/pagination"), &pagination);

    let body = json!({ "stage": "negotiation", "amount": 60_000.50, "expected_close": "2025-04-01", "customer_id": 1 });
    let changed = admin.put(&path, body).await.expect(200);
    assert_eq!((changed.at("/message"), changed.at("/deal_id")), (&json!("Deal updated successfully"), &json!(1)));
    let seen = newest(&admin).await;
    assert_eq!((seen.at("/deals/0/stage"), seen.at("/deals/0/probability")), (&json!("negotiation"), &json!(70)));
    assert_eq!(
        (seen.at("/deals/0/amount"), seen.at("/deals/0/expected_close")),
        (&json!(60_000.5), &json!("2025-04-01"))
    );

    admin.put(&path, json!({ "stage": "won" })).await.expect(200);
    assert_eq!(newest(&admin).await.at("/deals/0/probability"), 100);
    let refused = admin.put(&path, json!({ "stage": "proposal" })).await.expect(400);
    assert_eq!(refused.at("/message"), "the deal is won and no longer changes");
    assert_eq!(newest(&admin).await.at("/deals/0/stage"), "won");
}

#[tokio::test]
async fn a_probability_set_by_hand_stays() {
    let (_server, admin) = with_customer(Engine::Sqlite).await;
    let path = create(&admin, contract()).await;
    let mut seen = Vec::new();
    let bodies = [
        json!({ "probability": 33 }),
        json!({ "stage": "proposal" }),
        json!({ "probability": null }),
        json!({ "stage": "negotiation", "probability": 5 }),
        json!({ "stage": "lost" }),
    ];
    for body in bodies {
        admin.put(&path, body).await.expect(200);
        seen.push(newest(&admin).await.at("/deals/0/probability").clone());
    }
    assert_eq!(seen, [33, 33, 50, 5, 5]);
}

#[tokio::test]
async fn bad_input_is_refused_in_the_products_form_and_nothing_is_appended() {
    let (server, admin) = with_customer(Engine::Sqlite).await;
    let path = create(&admin, contract()).await;
    let head = server.head().await;
    let with = |field: &str, value: Value| {
        let mut body = contract();
        body[field] = value;
        body
    };
    let bodies = [
        json!({}),
        json!({ "title": "T", "customer_id": 1 }),
        with("title", json!("")),
        with("amount", json!(-1)),
        with("amount", json!(1e13)),
        with("amount", json!(0.001)),
        with("amount", json!(true)),
        with("customer_id", json!("one")),
        with("stage", json!("odd")),
        with("stage", json!("won")),
        with("probability", json!(101)),
        with("probability", json!(-1)),
        with("probability", json!(300)),
        with("probability", json!(70.5)),
        with("expected_close", json!("March")),
        with("expected_close", json!("2025-02-30")),
    ];
    for body in bodies {
        let refused = admin.post("/crm/api/deal", body).await.expect(400);
        assert_eq!((refused.at("/success"), refused.at("/error")), (&json!(false), &json!("invalid_request")));
    }
    let unknown = admin.post("/crm/api/deal", with("customer_id", json!(99))).await.expect(404);
    assert_eq!(unknown.at("/error"), "resource_not_found");
    for body in
        [json!({ "probability": 256 }), json!({ "stage": "odd" }), json!({ "amount": -5 }), json!({ "customer_id": 2 })]
    {
        admin.put(&path, body).await.expect(400);
    }
    admin.put("/crm/api/deal/99", json!({ "stage": "won" })).await.expect(404);
    admin.put("/crm/api/deal/x", json!({ "stage": "won" })).await.expect(404);
    admin.send(Method::PUT, &path, Some("{".into())).await.expect(400);
    admin.get("/crm/api/deals?stage=odd").await.expect(400);
    admin.get("/crm/api/deals?customer_id=x").await.expect(400);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn tenants_and_roles_are_kept_apart() {
    let (server, admin) = with_customer(Engine::Sqlite).await;
    let path = create(&admin, contract()).await;
    let head = server.head().await;
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    assert_eq!(stranger.get("/crm/api/deals").await.expect(200).at("/pagination/total"), 0);
    stranger.put(&path, json!({ "stage": "won" })).await.expect(404);
    stranger.post("/crm/api/deal", contract()).await.expect(404);
    let client = server.signed_in(Surface::HashInsight, Role::Client, TenantId::DEFAULT);
    assert_eq!(client.get("/crm/api/deals").await.expect(200).at("/pagination/total"), 0);
    let refused = client.post("/crm/api/deal", contract()).await.expect(403);
    assert_eq!((refused.at("/required_access"), refused.at("/actual_access")), (&json!("full"), &json!("read")));
    client.put(&path, json!({ "stage": "won" })).await.expect(403);
    server.user(Surface::HashInsight).get("/crm/api/deals").await.expect(403);
    server.anonymous().get("/crm/api/deals").await.expect(401);
    server.anonymous().put(&path, json!({ "stage": "won" })).await.expect(401);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn the_list_is_filtered_paged_and_answers_as_of_a_past_position() {
    let (server, admin) = with_customer(Engine::Sqlite).await;
    let first = create(&admin, contract()).await;
    create(&admin, contract()).await;
    let before = server.head().await;
    admin.put(&first, json!({ "stage": "proposal" })).await.expect(200);
    let proposals = admin.get("/crm/api/deals?stage=proposal&customer_id=1").await.expect(200);
    assert_eq!((proposals.at("/pagination/total"), proposals.at("/deals/0/id")), (&json!(1), &json!(1)));
    assert_eq!(admin.get("/crm/api/deals?customer_id=2").await.expect(200).at("/pagination/total"), 0);
    let then = admin.get(&format!("/crm/api/deals?stage=proposal&as_of={before}")).await.expect(200);
    assert_eq!(then.at("/pagination/total"), 0);
    let page = admin.get(&format!("/crm/api/deals?as_of={before}&per_page=1&page=2")).await.expect(200);
    assert_eq!((page.at("/deals/0/id"), page.at("/deals/0/customer_name")), (&json!(1), &json!("Customer A")));
    let pagination = json!({ "page": 2, "per_page": 1, "total": 2, "pages": 2, "has_next": false, "has_prev": true });
    assert_eq!(page.at("/pagination"), &pagination);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_moves_nothing() {
    let (server, admin) = with_customer(Engine::Sqlite).await;
    let once = admin.with("Idempotency-Key", "create");
    let first = once.post("/crm/api/deal", contract()).await.expect(200);
    let again = once.post("/crm/api/deal", contract()).await.expect(200);
    assert_eq!((&first.json, again.header("idempotency-replayed")), (&again.json, "true"));
    let once = admin.with("Idempotency-Key", "win");
    once.put("/crm/api/deal/1", json!({ "stage": "won" })).await.expect(200);
    let head = server.head().await;
    let again = once.put("/crm/api/deal/1", json!({ "stage": "won" })).await.expect(200);
    assert_eq!(again.header("idempotency-replayed"), "true");
    once.put("/crm/api/deal/1", json!({ "stage": "lost" })).await.expect(422);
    assert_eq!(server.head().await, head);
}
