//! Leads: created, changed, moved on, and converted when they are won.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};

async fn create(client: &Client, body: Value) -> i64 {
    let answer = client.post("/crm/api/lead", body).await.expect(200);
    assert_eq!((answer.at("/success"), answer.at("/message")), (&json!(true), &json!("Lead created successfully")));
    answer.at("/lead_id").as_i64().unwrap()
}

async fn move_to(client: &Client, lead: i64, status: &str) -> Answer {
    client.post(&format!("/crm/api/lead/{lead}/status"), json!({ "status": status })).await
}

fn mira() -> Value {
    json!({
        "name": "Mira", "email": "mira@example.com", "phone": "+1-555-0000-0000", "company": "Northern Hash",
        "source": "website", "next_follow_up": "2025-02-01", "estimated_value": 100_000.00, "interest_level": "high",
    })
}

#[tokio::test]
async fn a_won_lead_becomes_customer_and_deal_sqlite() {
    a_won_lead_becomes_customer_and_deal(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_won_lead_becomes_customer_and_deal_postgres() {
    a_won_lead_becomes_customer_and_deal(Engine::Postgres).await;
}
async fn a_won_lead_becomes_customer_and_deal(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let lead = create(&admin, mira()).await;
    let listed = admin.get("/crm/api/leads?status=NEW").await.expect(200);
    assert_eq!(listed.at("/leads"), listed.at("/data"));
    assert_eq!((listed.at("/total"), listed.at("/leads/0/id")), (&json!(1), &json!(lead)));
    for (key, value) in mira().as_object().unwrap() {
        assert_eq!(&listed.at("/leads/0")[key], value, "{key}");
    }
    assert_eq!(listed.at("/leads/0/next_followup"), "2025-02-01");

    for status in ["CONTACTED", "QUALIFIED", "NEGOTIATION"] {
        let moved = move_to(&admin, lead, status).await.expect(200);
        assert_eq!((moved.at("/status"), moved.at("/customer_id")), (&json!(status), &Value::Null));
    }
    let won = move_to(&admin, lead, "WON").await.expect(200);
    let (customer, deal) = (won.at("/customer_id"), won.at("/deal_id"));

    let customers = admin.get("/crm/api/customers").await.expect(200);
    let expected = json!({ "name": "Mira", "email": "mira@example.com", "company": "Northern Hash",
        "phone": "+1-555-0000-0000", "status": "active", "total_revenue": 0.0, "lead_id": lead, "id": customer });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&customers.at("/data/0")[key], value, "{key}");
    }
    let deals = admin.get("/crm/api/deals").await.expect(200);
    let expected = json!({ "id": deal, "title": "Northern Hash", "customer_id": customer, "customer_name": "Mira",
        "amount": 100_000.0, "stage": "negotiation", "probability": 70, "expected_close": null, "lead_id": lead });
    assert_eq!(deals.at("/deals/0"), &expected);
    assert_eq!(admin.get("/crm/api/leads?status=won").await.expect(200).at("/leads/0/status"), "WON");
    assert_eq!(admin.get("/crm/api/leads?status=NEW").await.expect(200).at("/total"), 0);
}

#[tokio::test]
async fn an_illegal_step_names_the_state_and_appends_nothing_sqlite() {
    an_illegal_step_names_the_state_and_appends_nothing(Engine::Sqlite).await;
}
#[tokio::test]
async fn an_illegal_step_names_the_state_and_appends_nothing_postgres() {
    an_illegal_step_names_the_state_and_appends_nothing(Engine::Postgres).await;
}
async fn an_illegal_step_names_the_state_and_appends_nothing(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let lead = create(&admin, mira()).await;
    move_to(&admin, lead, "QUALIFIED").await.expect(200);
    let head = server.head().await;
    for status in ["NEW", "CONTACTED", "QUALIFIED", "WON"] {
        let refused = move_to(&admin, lead, status).await.expect(400);
        let sentence = format!("the lead is QUALIFIED and cannot become {status}");
        assert_eq!(refused.json, json!({ "success": false, "error": "invalid_request", "message": sentence }));
    }
    assert_eq!(server.head().await, head);

    let reason = json!({ "status": "LOST", "lost_reason": "too expensive" });
    admin.post(&format!("/crm/api/lead/{lead}/status"), reason).await.expect(200);
    let refused = admin.put(&format!("/crm/api/lead/{lead}"), json!({ "name": "Mira B." })).await.expect(400);
    assert_eq!(refused.at("/message"), "the lead is LOST and no longer changes");
    let lost = admin.get("/crm/api/leads?status=LOST").await.expect(200);
    assert_eq!(lost.at("/leads/0/lost_reason"), "too expensive");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let lead = create(&admin, mira()).await;
    let path = format!("/crm/api/lead/{lead}");
    let body = json!({ "source": "fair", "phone": null, "email": "", "next_followup": "2025-03-01", "status": "new" });
    let changed = admin.put(&path, body).await.expect(200);
    assert_eq!((changed.at("/message"), changed.header("etag")), (&json!("Lead updated successfully"), "\"2\""));
    let listed = admin.get("/crm/api/leads").await.expect(200);
    let seen = listed.at("/leads/0");
    assert_eq!((&seen["source"], &seen["phone"], &seen["email"]), (&json!("fair"), &Value::Null, &Value::Null));
    assert_eq!((&seen["next_follow_up"], &seen["company"]), (&json!("2025-03-01"), &json!("Northern Hash")));

    let refused = admin.put(&path, json!({ "status": "WON" })).await.expect(400);
    assert!(refused.at("/message").as_str().unwrap().contains("the lead is NEW"), "{}", refused.text);
    let head = server.head().await;
    admin.put(&path, json!({ "source": "fair" })).await.expect(200);
    admin.with("If-Match", "\"1\"").put(&path, json!({ "source": "x" })).await.expect(412);
    assert_eq!(server.head().await, head);
    admin.with("If-Match", "\"2\"").put(&path, json!({ "source": "x" })).await.expect(200);
}

#[tokio::test]
async fn bad_input_is_refused_in_the_products_form_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let head = server.head().await;
    let admin = server.admin(Surface::HashInsight);
    let bodies = [
        json!({}),
        json!([]),
        json!({ "name": "" }),
        json!({ "name": 5 }),
        json!({ "name": "x".repeat(201) }),
        json!({ "name": "a\u{0}b" }),
        json!({ "name": "Mira", "email": "nobody" }),
        json!({ "name": "Mira", "next_follow_up": "soon" }),
        json!({ "name": "Mira", "next_follow_up": "1850-01-01" }),
        json!({ "name": "Mira", "estimated_value": -1 }),
        json!({ "name": "Mira", "estimated_value": 0.001 }),
        json!({ "name": "Mira", "estimated_value": "much" }),
        json!({ "name": "Mira", "estimated_value": 1e30 }),
        json!({ "name": "Mira", "notes": "x".repeat(5_001) }),
        json!({ "name": "Mira", "status": "WON" }),
    ];
    for body in bodies {
        let refused = admin.post("/crm/api/lead", body).await.expect(400);
        assert_eq!((refused.at("/success"), refused.at("/error")), (&json!(false), &json!("invalid_request")));
        assert!(refused.at("/message").is_string(), "{}", refused.text);
    }
    admin.send(Method::POST, "/crm/api/lead", Some("{".into())).await.expect(400);
    admin.send(Method::POST, "/crm/api/lead", None).await.expect(400);
    admin.send(Method::POST, "/crm/api/lead", Some("x".repeat(1_100_000))).await.expect(413);
    admin.send(Method::DELETE, "/crm/api/lead", None).await.expect(405);
    admin.get("/crm/api/leads?status=ODD").await.expect(400);
    admin.get("/crm/api/leads?page=x").await.expect(400);
    admin.get("/crm/api/leads?as_of=soon").await.expect(400);
    for lead in ["99", "0", "-1", "x", "99999999999999999999"] {
        let unknown = admin.put(&format!("/crm/api/lead/{lead}"), json!({ "name": "x" })).await.expect(404);
        assert_eq!(unknown.at("/error"), "resource_not_found");
        admin.post(&format!("/crm/api/lead/{lead}/status"), json!({ "status": "LOST" })).await.expect(404);
    }
    assert_eq!(server.head().await, head);

    let lead = create(&admin, mira()).await;
    let head = server.head().await;
    for body in [json!({}), json!({ "status": 1 }), json!({ "status": "ODD" }), json!({ "status": "NEW" })] {
        admin.post(&format!("/crm/api/lead/{lead}/status"), body).await.expect(400);
    }
    let reason = json!({ "status": "CONTACTED", "lost_reason": "too expensive" });
    admin.post(&format!("/crm/api/lead/{lead}/status"), reason).await.expect(400);
    admin.put(&format!("/crm/api/lead/{lead}"), json!({ "email": "nobody" })).await.expect(400);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn tenants_and_roles_are_kept_apart() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    let lead = create(&admin, mira()).await;
    let head = server.head().await;
    assert_eq!(stranger.get("/crm/api/leads").await.expect(200).at("/total"), 0);
    stranger.put(&format!("/crm/api/lead/{lead}"), json!({ "name": "Mine" })).await.expect(404);
    move_to(&stranger, lead, "CONTACTED").await.expect(404);
    for role in [Role::User, Role::Client, Role::Customer, Role::Guest, Role::Readonly] {
        let user = server.signed_in(Surface::HashInsight, role, TenantId::DEFAULT);
        let refused = user.post("/crm/api/lead", mira()).await.expect(403);
        assert_eq!(refused.at("/error"), "permission_denied");
        assert_eq!((refused.at("/required_access"), refused.at("/actual_access")), (&json!("full"), &json!("none")));
        move_to(&user, lead, "CONTACTED").await.expect(403);
        assert_eq!(user.get("/crm/api/leads").await.expect(200).at("/total"), 0);
    }
    let refused = server.anonymous().get("/crm/api/leads").await.expect(401);
    assert_eq!(refused.at("/error"), "authentication_required");
    server.anonymous().post("/crm/api/lead", mira()).await.expect(401);
    assert_eq!(server.head().await, head);
    // Numbers are those of the installation: another tenant's lead has another one.
    assert_ne!(create(&stranger, mira()).await, lead);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_creates_nothing() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight).with("Idempotency-Key", "once");
    // What is refused keeps no key.
    admin.post("/crm/api/lead", json!({ "name": "" })).await.expect(400);
    let first = admin.post("/crm/api/lead", mira()).await.expect(200);
    let head = server.head().await;
    let again = admin.post("/crm/api/lead", mira()).await.expect(200);
    assert_eq!((again.json, again.headers["idempotency-replayed"].to_str().unwrap()), (first.json, "true"));
    admin.post("/crm/api/lead", json!({ "name": "Other" })).await.expect(422);
    assert_eq!(server.head().await, head);
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    create(&stranger.with("Idempotency-Key", "once"), mira()).await;
    // Keys that look like those of the commands of another request are others.
    for key in ["other#1", "other", "other%231"] {
        create(&server.admin(Surface::HashInsight).with("Idempotency-Key", key), json!({ "name": key })).await;
    }
}

#[tokio::test]
async fn the_list_answers_as_of_a_past_position_and_page_by_page() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let lead = create(&admin, mira()).await;
    let before = server.head().await;
    move_to(&admin, lead, "CONTACTED").await.expect(200);
    let newer = create(&admin, json!({ "name": "Newer" })).await;
    let then = admin.get(&format!("/crm/api/leads?as_of={before}")).await.expect(200);
    assert_eq!((then.at("/total"), then.at("/leads/0/status")), (&json!(1), &json!("NEW")));
    let page = |number| format!("/crm/api/leads?per_page=1&page={number}");
    let (first, second) = (admin.get(&page(1)).await.expect(200), admin.get(&page(2)).await.expect(200));
    assert_eq!((first.at("/leads/0/id"), second.at("/leads/0/id")), (&json!(newer), &json!(lead)));
    assert_eq!((first.at("/total"), second.at("/leads/0/status")), (&json!(2), &json!("CONTACTED")));
}
