//! Orders to miners, given through the real gateway to simulated miners on loopback addresses.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::fresh_id;
use tests::server::{Client, TestServer};
use tests::simulators::{Antminer, WhatsMiner};

use super::fleet::{ANTMINER_S19_PRO, AVALON_Q, NOBODY, WHATSMINER_M50S, antminer, listed, miner, site, whatsminer};

/// Waits until the newest order to a miner has come to an end.
async fn settled(server: &TestServer, admin: &Client, miner: i64) -> Answer {
    let ended = |answer: &Answer| {
        let status = answer.at("/commands/0/status").as_str().unwrap_or_default();
        ["confirmed", "drifted", "failed"].contains(&status)
    };
    server.get_until(admin, &format!("/hosting/api/miners/{miner}/commands"), ended).await
}

#[tokio::test]
async fn a_miner_obeys_and_a_later_reading_confirms_it_sqlite() {
    a_miner_obeys_and_a_later_reading_confirms_it(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_miner_obeys_and_a_later_reading_confirms_it_postgres() {
    a_miner_obeys_and_a_later_reading_confirms_it(Engine::Postgres).await;
}
async fn a_miner_obeys_and_a_later_reading_confirms_it(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = antminer(Antminer::obedient()).await;
    let place = site(&admin, "a").await;
    let miner = miner(&admin, place, "A-1", ANTMINER_S19_PRO, Some(simulated.address())).await;

    let asked = admin.post(&format!("/hosting/api/miners/{miner}/shutdown"), json!({})).await.expect(200);
    assert_eq!((asked.at("/status"), asked.at("/command")), (&json!("requested"), &json!("shutdown")));
    assert_eq!((asked.at("/mode"), asked.at("/serial_number")), (&json!("sleep"), &json!("A-1")));
    let commands = settled(&server, &admin, miner).await;
    let command = commands.at("/commands/0");
    assert_eq!((&command["command_id"], &command["status"]), (asked.at("/command_id"), &json!("confirmed")));
    assert_eq!((&command["acknowledged"], &command["tries"]), (&json!(true), &json!(1)));
    assert!(command["dispatched_at"].is_string() && command["settled_at"].is_string());
    assert!(!simulated.state().is_mining);

    let off = |answer: &Answer| answer.at("/miners/0/status") == "inactive";
    let list = server.get_until(&admin, "/hosting/api/miners", off).await;
    let shown = listed(list.at("/miners"), miner);
    assert_eq!((&shown["actual_hashrate"], &shown["hashrate_source"]), (&json!(0.0), &json!("firmware")));
    assert_eq!((&shown["power_consumption"], &shown["power_source"]), (&Value::Null, &Value::Null));
    assert!(shown["last_seen"].is_string() && shown["temperature_max"].is_number());
    let sites = admin.get("/hosting/api/sites").await.expect(200);
    assert_eq!((sites.at("/sites/0/active_devices"), sites.at("/sites/0/used_capacity_mw")), (&json!(0), &json!(0.0)));

    let refused = admin.post(&format!("/hosting/api/miners/{miner}/shutdown"), json!({})).await.expect(400);
    assert_eq!(refused.at("/message"), "the miner is already shut down");
    admin.send(Method::POST, &format!("/hosting/api/miners/{miner}/start"), None).await.expect(200);
    assert_eq!(settled(&server, &admin, miner).await.at("/commands/0/status"), "confirmed");
    assert!(simulated.state().is_mining);
    admin.post(&format!("/hosting/api/miners/{miner}/restart"), json!({})).await.expect(200);
    assert_eq!(settled(&server, &admin, miner).await.at("/commands/0/status"), "confirmed");
    assert_eq!(simulated.state().reboots, 1);
}

#[tokio::test]
async fn pools_and_fans_are_set() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = antminer(Antminer::obedient()).await;
    let place = site(&admin, "a").await;
    let miner = miner(&admin, place, "A-1", ANTMINER_S19_PRO, Some(simulated.address())).await;
    let pools = json!([{ "url": "stratum+tcp://other.example:3333", "worker": "operator.rig7" }]);
    let bodies = [
        json!({ "command": "set_pool", "params": { "pools": pools } }),
        json!({ "command_type": "set_fan", "parameters": { "speed_percent": 65 }, "confirmed": true }),
    ];
    for body in bodies {
        admin.post(&format!("/hosting/api/miners/{miner}/command"), body).await.expect(200);
        assert_eq!(settled(&server, &admin, miner).await.at("/commands/0/status"), "confirmed");
    }
    let state = simulated.state();
    assert_eq!((state.fan_percent, state.pools.len()), (Some(65), 1));
    assert_eq!(state.pools[0].worker, "operator.rig7");
    let commands = admin.get(&format!("/hosting/api/miners/{miner}/commands?status=confirmed")).await.expect(200);
    assert_eq!(commands.at("/pagination/total"), 2);
    assert_eq!(commands.at("/commands/0/params"), &json!({ "speed_percent": 65 }));
    assert_eq!(commands.at("/commands/1/params/pools"), &pools);
}

#[tokio::test]
async fn a_miner_that_acknowledges_and_does_not_obey_has_drifted_sqlite() {
    a_miner_that_acknowledges_and_does_not_obey_has_drifted(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_miner_that_acknowledges_and_does_not_obey_has_drifted_postgres() {
    a_miner_that_acknowledges_and_does_not_obey_has_drifted(Engine::Postgres).await;
}
async fn a_miner_that_acknowledges_and_does_not_obey_has_drifted(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = whatsminer(WhatsMiner::deaf()).await;
    let place = site(&admin, "a").await;
    let miner = miner(&admin, place, "W-1", WHATSMINER_M50S, Some(simulated.address())).await;
    admin.post(&format!("/hosting/api/miners/{miner}/shutdown"), json!({})).await.expect(200);
    let commands = settled(&server, &admin, miner).await;
    let command = commands.at("/commands/0");
    assert_eq!((&command["status"], &command["acknowledged"]), (&json!("drifted"), &json!(true)));
    assert!(command["error"].as_str().unwrap().contains("still"), "{command}");
    let list = admin.get("/hosting/api/miners").await.expect(200);
    assert_eq!(list.at("/miners/0/status"), "active");
    assert_eq!(list.at("/miners/0/power_source"), "firmware");
    assert_eq!(
        (list.at("/miners/0/alerts/count"), list.at("/miners/0/alerts/alerts/0/type")),
        (&json!(1), &json!("command_drifted"))
    );
}

#[tokio::test]
async fn an_order_to_nobody_fails_with_the_reason_sqlite() {
    an_order_to_nobody_fails_with_the_reason(Engine::Sqlite).await;
}
#[tokio::test]
async fn an_order_to_nobody_fails_with_the_reason_postgres() {
    an_order_to_nobody_fails_with_the_reason(Engine::Postgres).await;
}
async fn an_order_to_nobody_fails_with_the_reason(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let miner = miner(&admin, place, "A-1", ANTMINER_S19_PRO, Some(NOBODY)).await;
    admin.post(&format!("/hosting/api/miners/{miner}/restart"), json!({})).await.expect(200);
    let commands = settled(&server, &admin, miner).await;
    let command = commands.at("/commands/0");
    assert_eq!((&command["status"], &command["reason"]), (&json!("failed"), &json!("unreachable")));
    assert!(command["error"].as_str().unwrap().starts_with("the miner cannot be reached"), "{command}");
    assert_eq!((&command["dispatched_at"], &command["tries"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn orders_to_one_miner_are_carried_out_in_the_order_in_which_they_were_given() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = whatsminer(WhatsMiner::obedient()).await;
    let place = site(&admin, "a").await;
    let miner = miner(&admin, place, "W-1", WHATSMINER_M50S, Some(simulated.address())).await;
    for word in ["shutdown", "start", "shutdown", "start", "shutdown"] {
        let body = json!({ "command": word, "force": true });
        admin.post(&format!("/hosting/api/miners/{miner}/command"), body).await.expect(200);
    }
    let commands = settled(&server, &admin, miner).await;
    let statuses: Vec<_> = commands.at("/commands").as_array().unwrap().iter().map(|c| c["status"].clone()).collect();
    assert_eq!(statuses, ["confirmed"; 5]);
    assert!(!simulated.state().is_mining);
}

#[tokio::test]
async fn what_a_miner_does_not_take_is_refused() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let whatsminer = miner(&admin, place, "W-1", WHATSMINER_M50S, Some(NOBODY)).await;
    let avalon = miner(&admin, place, "V-1", AVALON_Q, Some(NOBODY)).await;
    let nowhere = miner(&admin, place, "A-1", ANTMINER_S19_PRO, None).await;
    let head = server.head().await;
    let fan = json!({ "command": "set_fan", "params": { "speed_percent": 80 } });
    for (miner, body) in
        [(whatsminer, fan), (avalon, json!({ "command": "restart" })), (whatsminer, json!({ "command": "overclock" }))]
    {
        let refused = admin.post(&format!("/hosting/api/miners/{miner}/command"), body).await.expect(422);
        assert_eq!(refused.at("/error"), "unsupported_command");
    }
    let refused = admin.post(&format!("/hosting/api/miners/{nowhere}/start"), json!({ "force": true })).await;
    assert_eq!(refused.expect(400).at("/message"), "the miner has no address at which it could be told");
    let running = admin.post(&format!("/hosting/api/miners/{whatsminer}/start"), json!({})).await.expect(400);
    assert_eq!(running.at("/message"), "the miner is already running");
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    let miner = miner(&admin, place, "A-1", ANTMINER_S19_PRO, Some(NOBODY)).await;
    let head = server.head().await;
    let pool = |url: &str| json!({ "command": "set_pool", "params": { "url": url, "worker": "w" } });
    let bodies = [
        json!({}),
        json!([]),
        json!({ "command": "dance" }),
        json!({ "command": 7 }),
        json!({ "command": "restart", "params": "now" }),
        json!({ "command": "set_pool" }),
        json!({ "command": "set_pool", "params": { "pools": vec![json!({ "url": "stratum+tcp://a:1", "worker": "w" }); 4] } }),
        pool("http://pool.example"),
        pool(&format!("stratum+tcp://{}:1", "x".repeat(300))),
        json!({ "command": "set_fan", "params": { "speed_percent": 101 } }),
        json!({ "command": "set_fan", "params": { "speed_percent": "fast" } }),
    ];
    for body in bodies {
        let refused = admin.post(&format!("/hosting/api/miners/{miner}/command"), body).await.expect(400);
        assert_eq!(refused.at("/error"), "invalid_request");
    }
    for id in ["99", "x"] {
        admin.post(&format!("/hosting/api/miners/{id}/restart"), json!({})).await.expect(404);
        admin.get(&format!("/hosting/api/miners/{id}/commands")).await.expect(404);
    }
    admin.get(&format!("/hosting/api/miners/{miner}/commands?status=odd")).await.expect(400);
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    stranger.post(&format!("/hosting/api/miners/{miner}/restart"), json!({})).await.expect(404);
    stranger.get(&format!("/hosting/api/miners/{miner}/commands")).await.expect(404);
    server
        .user(Surface::HashInsight)
        .post(&format!("/hosting/api/miners/{miner}/restart"), json!({}))
        .await
        .expect(403);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_repeated_request_is_one_order() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = antminer(Antminer::obedient()).await;
    let place = site(&admin, "a").await;
    let miner = miner(&admin, place, "A-1", ANTMINER_S19_PRO, Some(simulated.address())).await;
    let keyed = admin.with("Idempotency-Key", "once");
    let first = keyed.post(&format!("/hosting/api/miners/{miner}/restart"), json!({})).await.expect(200);
    let again = keyed.post(&format!("/hosting/api/miners/{miner}/restart"), json!({})).await.expect(200);
    assert_eq!(first.at("/command_id"), again.at("/command_id"));
    settled(&server, &admin, miner).await;
    let commands = admin.get(&format!("/hosting/api/miners/{miner}/commands")).await.expect(200);
    assert_eq!((commands.at("/pagination/total"), simulated.state().reboots), (&json!(1), 1));
}
