//! Hosting sites: created, listed, changed.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::TestServer;

use super::fleet::{ANTMINER_S21, miner, site};

fn wyoming() -> Value {
    json!({ "name": "New Mining Farm", "slug": "new-site", "location": "Wyoming", "capacity_mw": 10.0,
        "electricity_rate": 0.04, "operator_name": "Operator Name", "contact_email": "operator@example.com" })
}

#[tokio::test]
async fn a_site_is_created_listed_and_changed_sqlite() {
    a_site_is_created_listed_and_changed(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_site_is_created_listed_and_changed_postgres() {
    a_site_is_created_listed_and_changed(Engine::Postgres).await;
}
async fn a_site_is_created_listed_and_changed(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let created = admin.post("/hosting/api/sites", wyoming()).await.expect(201);
    assert_eq!(created.json, json!({ "success": true, "site_id": 1, "message": "Site created successfully" }));

    let list = admin.get("/hosting/api/sites").await.expect(200);
    for (key, value) in wyoming().as_object().unwrap() {
        assert_eq!(&list.at("/sites/0")[key], value, "{key}");
    }
    let computed = json!({ "id": 1, "status": "offline", "used_capacity_mw": 0.0, "available_capacity_mw": 10.0,
        "utilization_rate": 0.0, "device_count": 0, "active_devices": 0 });
    for (key, value) in computed.as_object().unwrap() {
        assert_eq!(&list.at("/sites/0")[key], value, "{key}");
    }

    let site = admin.get("/hosting/api/sites/1").await.expect(200);
    assert_eq!(site.header("etag"), created.header("etag"));
    let change = json!({ "capacity_mw": 12.0, "status": "online" });
    let changed = admin.with("If-Match", site.header("etag")).put("/hosting/api/sites/1", change).await.expect(200);
    admin.with("If-Match", site.header("etag")).put("/hosting/api/sites/1", wyoming()).await.expect(412);
    let site = admin.get("/hosting/api/sites/1").await.expect(200);
    assert_eq!(site.header("etag"), changed.header("etag"));
    // The version is that of what is shown, be it past.
    let then = format!("/hosting/api/sites/1?as_of={}", created.header("corelog-position"));
    assert_eq!(admin.get(&then).await.expect(200).header("etag"), created.header("etag"));
    assert_eq!((site.at("/site/capacity_mw"), site.at("/site/status")), (&json!(12.0), &json!("online")));
    assert_eq!((site.at("/site/name"), site.at("/site/electricity_rate")), (&json!("New Mining Farm"), &json!(0.04)));
}

#[tokio::test]
async fn two_who_change_different_things_of_a_site_both_succeed() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    admin.post("/hosting/api/sites", wyoming()).await.expect(201);
    let path = "/hosting/api/sites/1";
    for round in 1..=20_i64 {
        let (name, location) = (format!("name {round}"), format!("place {round}"));
        let (one, other) =
            tokio::join!(admin.put(path, json!({ "name": name })), admin.put(path, json!({ "location": location })),);
        one.expect(200);
        other.expect(200);
        let site = admin.get(path).await.expect(200);
        assert_eq!((site.at("/site/name"), site.at("/site/location")), (&json!(name), &json!(location)));
    }
}

#[tokio::test]
async fn a_site_sums_up_its_miners() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let (first, second) = (site(&admin, "a").await, site(&admin, "b").await);
    for (place, sn) in [(first, "SN-1"), (first, "SN-2"), (second, "SN-3")] {
        miner(&admin, place, sn, ANTMINER_S21, None).await;
    }
    let list = admin.get("/hosting/api/sites").await.expect(200);
    let sums = |index: usize| {
        let site = &list.at("/sites")[index];
        (site["device_count"].clone(), site["active_devices"].clone(), site["used_capacity_mw"].clone())
    };
    assert_eq!(sums(0), (json!(2), json!(2), json!(0.007)));
    assert_eq!(sums(1), (json!(1), json!(1), json!(0.0035)));
    assert_eq!(list.at("/sites/0/utilization_rate"), 0.14);
    let stats = admin.get(&format!("/hosting/api/sites/{first}")).await.expect(200);
    assert_eq!(stats.at("/site/miners_stats/0"), &json!({ "status": "active", "count": 2 }));
}

#[tokio::test]
async fn slugs_are_unique_within_a_tenant() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    admin.post("/hosting/api/sites", wyoming()).await.expect(201);
    let head = server.head().await;
    let refused = admin.post("/hosting/api/sites", wyoming()).await.expect(400);
    assert_eq!(refused.at("/message"), "a site with this slug exists already");
    assert_eq!(server.head().await, head);
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    let other = stranger.post("/hosting/api/sites", wyoming()).await.expect(201);
    assert_eq!(stranger.get("/hosting/api/sites").await.expect(200).at("/sites/0/id"), other.at("/site_id"));
    stranger.get("/hosting/api/sites/1").await.expect(404);
    stranger.put("/hosting/api/sites/1", json!({ "name": "Mine now" })).await.expect(404);
}

#[tokio::test]
async fn sixteen_clients_create_one_slug_and_one_wins() {
    let server = TestServer::start(Engine::Sqlite).await;
    let attempts: Vec<_> = (0..16)
        .map(|_| {
            let admin = server.admin(Surface::HashInsight);
            tokio::spawn(async move { admin.post("/hosting/api/sites", wyoming()).await.status })
        })
        .collect();
    let mut statuses = Vec::new();
    for attempt in attempts {
        statuses.push(attempt.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], statuses[1]), (201, 400));
    let list = server.admin(Surface::HashInsight).get("/hosting/api/sites").await.expect(200);
    assert_eq!(list.at("/sites").as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_repeated_request_creates_one_site() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight).with("Idempotency-Key", "once");
    let first = admin.post("/hosting/api/sites", wyoming()).await.expect(201);
    let head = server.head().await;
    let again = admin.post("/hosting/api/sites", wyoming()).await.expect(201);
    assert_eq!((again.json, server.head().await), (first.json, head));
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let before = server.head().await;
    let with = |key: &str, value: Value| {
        let mut body = wyoming();
        body[key] = value;
        body
    };
    let bodies = [
        json!({}),
        json!([]),
        with("name", json!("")),
        with("name", json!("x".repeat(201))),
        with("slug", json!("Not A Slug")),
        with("location", Value::Null),
        with("capacity_mw", json!("ten")),
        with("capacity_mw", json!(0)),
        with("capacity_mw", json!(1e9)),
        with("electricity_rate", json!(-0.01)),
        with("contact_email", json!("nobody")),
    ];
    for body in bodies {
        let refused = admin.post("/hosting/api/sites", body).await.expect(400);
        assert_eq!((refused.at("/success"), refused.at("/error")), (&json!(false), &json!("invalid_request")));
        assert!(refused.at("/message").is_string());
    }
    admin.send(Method::POST, "/hosting/api/sites", Some("{".into())).await.expect(400);
    admin.send(Method::POST, "/hosting/api/sites", None).await.expect(400);
    admin.send(Method::POST, "/hosting/api/sites", Some("x".repeat(1_100_000))).await.expect(413);
    admin.send(Method::DELETE, "/hosting/api/sites", None).await.expect(405);
    for id in ["7", "x", "99999999999999999999"] {
        admin.get(&format!("/hosting/api/sites/{id}")).await.expect(404);
        admin.put(&format!("/hosting/api/sites/{id}"), json!({ "name": "x" })).await.expect(404);
    }
    assert_eq!(server.head().await, before);
    admin.post("/hosting/api/sites", wyoming()).await.expect(201);
    let head = server.head().await;
    admin.put("/hosting/api/sites/1", json!({ "status": "sleeping" })).await.expect(400);
    admin.put("/hosting/api/sites/1", json!({ "slug": "other" })).await.expect(400);
    admin.put("/hosting/api/sites/1", json!({ "capacity_mw": -1 })).await.expect(400);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn only_those_who_run_sites_see_and_change_them() {
    let server = TestServer::start(Engine::Sqlite).await;
    for role in [Role::User, Role::Client, Role::Guest] {
        let user = server.signed_in(Surface::HashInsight, role, TenantId::DEFAULT);
        let refused = user.post("/hosting/api/sites", wyoming()).await.expect(403);
        assert_eq!(refused.at("/error"), "permission_denied");
        user.get("/hosting/api/sites").await.expect(403);
    }
    server.anonymous().get("/hosting/api/sites").await.expect(401);
    let owner = server.signed_in(Surface::HashInsight, Role::MiningSiteOwner, TenantId::DEFAULT);
    owner.post("/hosting/api/sites", wyoming()).await.expect(201);
}

#[tokio::test]
async fn the_list_answers_as_of_a_past_position() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let before = server.head().await;
    miner(&admin, place, "SN-1", ANTMINER_S21, None).await;
    let then = admin.get(&format!("/hosting/api/sites?as_of={before}")).await.expect(200);
    let now = admin.get("/hosting/api/sites").await.expect(200);
    assert_eq!((then.at("/sites/0/device_count"), now.at("/sites/0/device_count")), (&json!(0), &json!(1)));
}
