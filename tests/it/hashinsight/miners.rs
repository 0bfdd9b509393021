//! Miners: registered one by one and in batches, and listed.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::TestServer;

use super::fleet::{ANTMINER_S21, listed, miner, site};

#[tokio::test]
async fn a_miner_is_registered_with_the_figures_of_its_plate_sqlite() {
    a_miner_is_registered_with_the_figures_of_its_plate(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_miner_is_registered_with_the_figures_of_its_plate_postgres() {
    a_miner_is_registered_with_the_figures_of_its_plate(Engine::Postgres).await;
}
async fn a_miner_is_registered_with_the_figures_of_its_plate(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let customer = admin.post("/crm/api/customer", json!({ "name": "Mira" })).await.expect(200);
    let body = json!({ "sn": "MINER-001", "model_id": ANTMINER_S21, "site_id": place, "location_slot": "A1-01",
        "customer_id": customer.at("/customer_id"), "ip_address": "192.168.1.100" });
    let created = admin.post("/hosting/api/miners/create", body).await.expect(200);
    assert_eq!(created.at("/message"), "Miner created successfully");
    let list = admin.get("/hosting/api/miners").await.expect(200);
    assert_eq!(list.at("/miners/0"), created.at("/miner"));
    let expected = json!({ "id": 1, "sn": "MINER-001", "serial_number": "MINER-001", "model": "Antminer S21",
        "model_id": 1, "site_id": place, "site_name": "Mining Farm A", "customer_id": customer.at("/customer_id"),
        "status": "active", "ip_address": "192.168.1.100", "location_slot": "A1-01", "actual_hashrate": 200.0,
        "hashrate_source": "nameplate", "power_consumption": 3500.0, "actual_power": 3500.0,
        "power_source": "nameplate", "efficiency_jth": 17.5, "temperature_max": null, "last_seen": null,
        "last_command": null, "curtailment_plan_id": null,
        "alerts": { "has_alerts": false, "count": 0, "alerts": [] } });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&list.at("/miners/0")[key], value, "{key}");
    }
    let counts = json!({ "total": 1, "active": 1, "inactive": 0, "maintenance": 0, "pending": 0 });
    assert_eq!(list.at("/counts"), &counts);
}

#[tokio::test]
async fn older_clients_names_and_own_figures_are_read() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let body = json!({ "serial_number": "MINER-001", "miner_model_id": 1, "site_id": place,
        "actual_hashrate": 195.5, "actual_power": 3520 });
    let created = admin.post("/hosting/api/miners/create", body).await.expect(200);
    let miner = created.at("/miner");
    assert_eq!((&miner["actual_hashrate"], &miner["hashrate_source"]), (&json!(195.5), &json!("override")));
    assert_eq!((&miner["power_consumption"], &miner["power_source"]), (&json!(3520.0), &json!("override")));
}

#[tokio::test]
async fn a_batch_registers_what_is_right_and_lists_what_is_wrong_sqlite() {
    a_batch_registers_what_is_right_and_lists_what_is_wrong(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_batch_registers_what_is_right_and_lists_what_is_wrong_postgres() {
    a_batch_registers_what_is_right_and_lists_what_is_wrong(Engine::Postgres).await;
}
async fn a_batch_registers_what_is_right_and_lists_what_is_wrong(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    miner(&admin, place, "MINER-000", ANTMINER_S21, None).await;
    let row = |sn: &str, model: i64, site: i64| json!({ "sn": sn, "model_id": model, "site_id": site });
    let miners = json!([
        row("MINER-001", 1, place),
        row("miner-000", 1, place),
        row("MINER-002", 1, place),
        row("MINER-002", 1, place),
        row("MINER-003", 999, place),
        row("MINER-004", 1, 999),
        { "sn": "MINER-005" },
        7,
    ]);
    let answer = admin.post("/hosting/api/miners/batch", json!({ "miners": miners })).await.expect(200);
    assert_eq!((answer.at("/created_count"), answer.at("/error_count")), (&json!(2), &json!(6)));
    let created: Vec<_> = answer.at("/created").as_array().unwrap().iter().map(|row| row["sn"].clone()).collect();
    assert_eq!(created, ["MINER-001", "MINER-002"]);
    let errors = answer.at("/errors").as_array().unwrap();
    let indexes: Vec<_> = errors.iter().map(|error| error["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, [1, 3, 4, 5, 6, 7]);
    assert!(errors.iter().all(|error| error["message"].is_string()), "{errors:?}");
    assert_eq!(admin.get("/hosting/api/miners").await.expect(200).at("/pagination/total"), 3);
    let head = server.head().await;
    let refused = admin.post("/hosting/api/miners/batch", json!({ "miners": [7] })).await.expect(400);
    assert_eq!((refused.at("/error"), refused.at("/error_count")), (&json!("invalid_request"), &json!(1)));
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_repeated_batch_registers_nothing_twice() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let rows = (0..200).map(|n| json!({ "sn": format!("SN-{n}"), "model_id": 1, "site_id": place }));
    let body = json!({ "miners": rows.collect::<Vec<_>>() });
    let admin = admin.with("Idempotency-Key", "batch");
    let first = admin.post("/hosting/api/miners/batch", body.clone()).await.expect(200);
    assert_eq!(first.at("/created_count"), 200);
    let head = server.head().await;
    let again = admin.post("/hosting/api/miners/batch", body).await.expect(200);
    assert_eq!((again.json, server.head().await), (first.json, head));
}

#[tokio::test]
async fn the_list_is_filtered_and_paged_sqlite() {
    the_list_is_filtered_and_paged(Engine::Sqlite).await;
}
#[tokio::test]
async fn the_list_is_filtered_and_paged_postgres() {
    the_list_is_filtered_and_paged(Engine::Postgres).await;
}
async fn the_list_is_filtered_and_paged(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let (first, second) = (site(&admin, "a").await, site(&admin, "b").await);
    for n in 0..5 {
        miner(&admin, first, &format!("A-{n}"), 1 + n % 2, None).await;
    }
    let last = miner(&admin, second, "B-0", 1, None).await;
    let total = async |query: &str| {
        let answer = admin.get(&format!("/hosting/api/miners?{query}")).await.expect(200);
        answer.at("/pagination/total").as_u64().unwrap()
    };
    assert_eq!((total("").await, total(&format!("site_id={first}")).await), (6, 5));
    assert_eq!((total("model_id=2").await, total("customer_id=7").await), (2, 0));
    assert_eq!((total("status=active").await, total("status=inactive").await), (6, 0));
    let page = admin.get("/hosting/api/miners?page=2&per_page=5").await.expect(200);
    assert_eq!(page.at("/miners").as_array().unwrap().len(), 1);
    assert_eq!(listed(page.at("/miners"), last)["sn"], "B-0");
    let pagination = json!({ "page": 2, "per_page": 5, "total": 6, "pages": 2, "has_next": false, "has_prev": true });
    assert_eq!(page.at("/pagination"), &pagination);
    for query in ["status=asleep", "page=x", "site_id=x", "as_of=soon"] {
        admin.get(&format!("/hosting/api/miners?{query}")).await.expect(400);
    }
}

#[tokio::test]
async fn the_list_answers_as_of_a_past_position() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    miner(&admin, place, "A-1", ANTMINER_S21, None).await;
    let before = server.head().await;
    miner(&admin, place, "A-2", ANTMINER_S21, None).await;
    let then = admin.get(&format!("/hosting/api/miners?as_of={before}")).await.expect(200);
    assert_eq!((then.at("/pagination/total"), then.at("/miners/0/site_name")), (&json!(1), &json!("Mining Farm A")));
}

#[tokio::test]
async fn serial_numbers_are_unique_within_a_tenant() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    miner(&admin, place, "MINER-001", ANTMINER_S21, None).await;
    let head = server.head().await;
    let body = |sn: &str, site: i64| json!({ "sn": sn, "model_id": 1, "site_id": site });
    let refused = admin.post("/hosting/api/miners/create", body("miner-001", place)).await.expect(400);
    assert_eq!(refused.at("/message"), "a miner with this serial number exists already");
    assert_eq!(server.head().await, head);
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    stranger.post("/hosting/api/miners/create", body("MINER-001", place)).await.expect(400);
    let elsewhere = site(&stranger, "a").await;
    stranger.post("/hosting/api/miners/create", body("MINER-001", elsewhere)).await.expect(200);
    assert_eq!(stranger.get("/hosting/api/miners").await.expect(200).at("/pagination/total"), 1);
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let head = server.head().await;
    let with = |key: &str, value: Value| {
        let mut body = json!({ "sn": "MINER-001", "model_id": 1, "site_id": place });
        body[key] = value;
        body
    };
    let bodies = [
        json!({}),
        json!("x"),
        with("sn", json!("")),
        with("sn", json!("x".repeat(65))),
        with("sn", json!(7)),
        with("model_id", json!(0)),
        with("model_id", json!("S21")),
        with("site_id", json!(999)),
        with("customer_id", json!(999)),
        with("ip_address", json!("not an address")),
        with("ip_address", json!("0.0.0.0")),
        with("location_slot", json!("x".repeat(65))),
        with("actual_power", json!(-1)),
        with("actual_hashrate", json!(1e9)),
    ];
    for body in bodies {
        let refused = admin.post("/hosting/api/miners/create", body).await.expect(400);
        assert_eq!(refused.at("/error"), "invalid_request");
    }
    admin.send(Method::POST, "/hosting/api/miners/create", Some("{\"sn\":".into())).await.expect(400);
    let too_many = json!({ "miners": vec![with("sn", json!("x")); 1_001] });
    for body in [json!({}), json!({ "miners": [] }), json!({ "miners": "all" }), too_many] {
        admin.post("/hosting/api/miners/batch", body).await.expect(400);
    }
    let user = server.user(Surface::HashInsight);
    user.post("/hosting/api/miners/create", with("sn", json!("SN"))).await.expect(403);
    user.post("/hosting/api/miners/batch", json!({ "miners": [] })).await.expect(403);
    user.get("/hosting/api/miners").await.expect(403);
    server.anonymous().get("/hosting/api/miners").await.expect(401);
    assert_eq!(server.head().await, head);
}
