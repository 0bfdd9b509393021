//! Curtailment: calculated, executed through simulated miners, cancelled, and looked up afterwards.

use std::net::IpAddr;

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

use super::fleet::{ANTMINER_S19_PRO, ANTMINER_S21, NOBODY, WHATSMINER_M50S, antminer, miner, site, whatsminer};

/// About as long as it takes that every miner has been told.
const SECONDS: f64 = 1.0;

async fn history(client: &Client, plan: i64) -> Answer {
    client.get(&format!("/hosting/api/curtailment/history?plan_id={plan}")).await.expect(200)
}

async fn until_status(server: &TestServer, client: &Client, plan: i64, status: &str) -> Answer {
    let reached = |answer: &Answer| answer.at("/history/0/status") == status;
    server.get_until(client, &format!("/hosting/api/curtailment/history?plan_id={plan}"), reached).await
}

/// The statuses of a run that the log went through, without repetition.
async fn phases(server: &TestServer) -> Vec<String> {
    let page = server.log.read_all(0, &["curtailment_run"], 10_000).await.unwrap();
    let names = page.events.iter().map(|event| event.event_type.trim_start_matches("curtailment_run.").to_owned());
    names.filter(|name| name != "target_moved").collect()
}

struct Fleet {
    site: i64,
    miners: Vec<i64>,
}

async fn fleet(admin: &Client, addresses: &[(i64, IpAddr)]) -> Fleet {
    let place = site(admin, "a").await;
    let mut miners = Vec::new();
    for (index, (model, address)) in addresses.iter().enumerate() {
        miners.push(miner(admin, place, &format!("SN-{index}"), *model, Some(*address)).await);
    }
    Fleet { site: place, miners }
}

#[tokio::test]
async fn a_run_stops_miners_for_a_while_and_completes_sqlite() {
    a_run_stops_miners_for_a_while_and_completes(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_run_stops_miners_for_a_while_and_completes_postgres() {
    a_run_stops_miners_for_a_while_and_completes(Engine::Postgres).await;
}
async fn a_run_stops_miners_for_a_while_and_completes(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let (first, second) = (antminer(Antminer::obedient()).await, whatsminer(WhatsMiner::obedient()).await);
    let fleet = fleet(&admin, &[(ANTMINER_S19_PRO, first.address()), (WHATSMINER_M50S, second.address())]).await;
    let body = json!({ "site_id": fleet.site, "target_reduction_pct": 100, "strategy": "efficiency_first",
        "plan_name": "Evening peak", "execution_mode": "manual" });
    let calculated = admin.post("/hosting/api/curtailment/calculate", body.clone()).await.expect(200);
    let planned = admin.post("/hosting/api/curtailment/execute", body).await.expect(201);
    assert_eq!((planned.at("/status"), planned.at("/plan_status")), (&json!("planned"), &json!("pending")));
    assert_eq!(planned.at("/plan/selected_miners"), calculated.at("/plan/selected_miners"));
    let plan = planned.at("/plan_id").as_i64().unwrap();
    assert!(first.state().is_mining && second.state().is_mining);

    let started = admin.post("/hosting/api/curtailment/execute", json!({ "plan_id": plan })).await.expect(201);
    assert_eq!((started.at("/status"), started.at("/plan_status")), (&json!("executing"), &json!("executing")));
    let active = until_status(&server, &admin, plan, "active").await;
    assert!(!first.state().is_mining && !second.state().is_mining);
    let run = active.at("/history/0");
    assert_eq!((&run["plan_name"], &run["miners_count"]), (&json!("Evening peak"), &json!(2)));
    assert_eq!((&run["confirmed_count"], &run["failed_count"]), (&json!(2), &json!(0)));
    assert_eq!((&run["expected_power_saved_kw"], &run["actual_power_saved_kw"]), (&json!(6.578), &json!(6.578)));
    let both = |list: &Answer| list.at("/pagination/total") == 2;
    let list = server.get_until(&admin, "/hosting/api/miners?status=inactive", both).await;
    assert_eq!(list.at("/miners/0/curtailment_plan_id"), plan);
    let commands = admin.get(&format!("/hosting/api/miners/{}/commands", fleet.miners[0])).await.expect(200);
    assert_eq!(
        (commands.at("/commands/0/plan_id"), commands.at("/commands/0/command")),
        (&json!(plan), &json!("shutdown"))
    );

    let restore =
        admin.post("/hosting/api/curtailment/emergency-restore", json!({ "plan_id": plan })).await.expect(200);
    assert_eq!((restore.at("/status"), restore.at("/plan_status")), (&json!("restoring"), &json!("recovery_pending")));
    let completed = until_status(&server, &admin, plan, "completed").await;
    assert!(first.state().is_mining && second.state().is_mining);
    let states: Vec<_> = completed.at("/history/0/miners").as_array().unwrap().iter().map(|m| &m["status"]).collect();
    assert_eq!(states, ["released", "released"]);
    assert_eq!(phases(&server).await, ["planned", "started", "activated", "restore_started", "completed"]);
    // Another process manager notes that they mine again: until then that, not the cooldown, keeps them out.
    server.get_until(&admin, "/hosting/api/miners?status=active", both).await;
    let again =
        admin.post("/hosting/api/curtailment/calculate", json!({ "site_id": fleet.site, "target_reduction_pct": 50 }));
    assert_eq!(again.await.expect(400).at("/excluded/cooldown"), 2);
}

#[tokio::test]
async fn a_run_ends_by_itself_when_its_time_is_over() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = whatsminer(WhatsMiner::obedient()).await;
    let fleet = fleet(&admin, &[(WHATSMINER_M50S, simulated.address())]).await;
    let body = json!({ "site_id": fleet.site, "target_reduction_kw": 1, "duration_hours": SECONDS / 3_600.0 });
    let started = admin.post("/hosting/api/curtailment/execute", body).await.expect(201);
    assert_eq!(started.at("/status"), "executing");
    let plan = started.at("/plan_id").as_i64().unwrap();
    until_status(&server, &admin, plan, "completed").await;
    assert!(simulated.state().is_mining);
    let page = server.log.read_all(0, &["miner_command"], 100).await.unwrap();
    assert_eq!(page.events.iter().filter(|event| &*event.event_type == "miner_command.confirmed").count(), 2);
}

#[tokio::test]
async fn a_scheduled_run_starts_by_itself() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = whatsminer(WhatsMiner::obedient()).await;
    let fleet = fleet(&admin, &[(WHATSMINER_M50S, simulated.address())]).await;
    let start = chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()) + chrono::TimeDelta::seconds(1);
    let body = json!({ "site_id": fleet.site, "target_power_kw": 0, "scheduled_start_time": start });
    let planned = admin.post("/hosting/api/curtailment/execute", body).await.expect(201);
    assert_eq!((planned.at("/status"), planned.at("/plan_status")), (&json!("planned"), &json!("approved")));
    until_status(&server, &admin, planned.at("/plan_id").as_i64().unwrap(), "active").await;
    assert!(!simulated.state().is_mining);
}

#[tokio::test]
async fn a_cancelled_run_starts_its_miners_again_sqlite() {
    a_cancelled_run_starts_its_miners_again(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_cancelled_run_starts_its_miners_again_postgres() {
    a_cancelled_run_starts_its_miners_again(Engine::Postgres).await;
}
async fn a_cancelled_run_starts_its_miners_again(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let (first, second) = (whatsminer(WhatsMiner::obedient()).await, antminer(Antminer::obedient()).await);
    let fleet = fleet(&admin, &[(WHATSMINER_M50S, first.address()), (ANTMINER_S19_PRO, second.address())]).await;
    let body = json!({ "site_id": fleet.site, "target_reduction_pct": 100 });
    let started = admin.post("/hosting/api/curtailment/execute", body).await.expect(201);
    let plan = started.at("/plan_id").as_i64().unwrap();
    // Cancelled while the orders to stop are on their way.
    let cancel = json!({ "plan_id": plan, "reason": "price fell" });
    let cancelled = admin.post("/hosting/api/curtailment/cancel", cancel.clone()).await.expect(200);
    assert_eq!(cancelled.at("/status"), "restoring");
    let ended = until_status(&server, &admin, plan, "cancelled").await;
    assert_eq!(
        (ended.at("/history/0/cancel_reason"), ended.at("/history/0/failed_count")),
        (&json!("price fell"), &json!(0))
    );
    assert!(first.state().is_mining && second.state().is_mining);
    let head = server.head().await;
    let refused = admin.post("/hosting/api/curtailment/cancel", cancel).await.expect(400);
    assert_eq!(refused.at("/message"), "the curtailment run is cancelled");
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_run_with_miners_that_do_not_obey_completes_with_failures_sqlite() {
    a_run_with_miners_that_do_not_obey_completes_with_failures(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_run_with_miners_that_do_not_obey_completes_with_failures_postgres() {
    a_run_with_miners_that_do_not_obey_completes_with_failures(Engine::Postgres).await;
}
async fn a_run_with_miners_that_do_not_obey_completes_with_failures(engine: Engine) {
    let server = TestServer::start(engine).await;
    let admin = server.admin(Surface::HashInsight);
    let (obedient, deaf) = (antminer(Antminer::obedient()).await, whatsminer(WhatsMiner::deaf()).await);
    let addresses = [(ANTMINER_S19_PRO, obedient.address()), (WHATSMINER_M50S, deaf.address()), (ANTMINER_S21, NOBODY)];
    let fleet = fleet(&admin, &addresses).await;
    let body = json!({ "site_id": fleet.site, "target_reduction_pct": 100, "execution_mode": "semi_auto",
        "btc_price": 45000, "network_difficulty": 75e12 });
    let planned = admin.post("/hosting/api/curtailment/execute", body).await.expect(201);
    let plan = planned.at("/plan_id").as_i64().unwrap();
    admin.post("/hosting/api/curtailment/execute", json!({ "plan_id": plan })).await.expect(201);
    let active = until_status(&server, &admin, plan, "active").await;
    let run = active.at("/history/0");
    assert_eq!((&run["confirmed_count"], &run["failed_count"]), (&json!(1), &json!(2)));
    let start = format!("/hosting/api/miners/{}/start", run["miners"][0]["miner_id"]);
    let held = admin.post(&start, json!({})).await.expect(400);
    assert!(held.at("/message").as_str().unwrap().contains("keeps the miner stopped"), "{}", held.text);
    assert_eq!(run["actual_power_saved_kw"], 3.25);
    let target = |index: usize| (run["miners"][index]["status"].clone(), run["miners"][index]["attempt"].clone());
    assert_eq!(
        (target(0), target(1), target(2)),
        ((json!("confirmed"), json!(1)), (json!("drifted"), json!(2)), (json!("unavailable"), json!(1)))
    );
    assert!(run["miners"][1]["reason"].as_str().unwrap().contains("still"), "{run}");
    assert!(run["miners"][2]["reason"].as_str().unwrap().contains("cannot be reached"), "{run}");

    admin.post("/hosting/api/curtailment/emergency-restore", json!({ "plan_id": plan })).await.expect(200);
    let ended = until_status(&server, &admin, plan, "completed_with_failures").await;
    assert_eq!(
        (ended.at("/history/0/failed_count"), ended.at("/history/0/plan_status")),
        (&json!(2), &json!("completed"))
    );
    // What was saved and what was lost are those of the one that stopped: 110 of 438 TH/s with 3.25 of the power.
    let came = |what: &str| {
        let share = |answer: &Answer| answer.at(&format!("/history/0/{what}")).as_f64().unwrap();
        share(&ended) / share(&active)
    };
    let of_power = 3.25 / run["expected_power_saved_kw"].as_f64().unwrap();
    let expected = (110.0 / 438.0) / of_power;
    assert!((came("btc_lost") / came("power_saved_kwh") - expected).abs() < 1e-6, "{}", ended.text);
    assert!(obedient.state().is_mining);
    // The miner that nobody reached was never told to stop, so nobody tells it to start.
    let commands = admin.get(&format!("/hosting/api/miners/{}/commands", fleet.miners[2])).await.expect(200);
    assert_eq!(commands.at("/pagination/total"), 1);
}

#[tokio::test]
async fn a_calculation_shows_what_it_counts_on() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let customer = admin.post("/crm/api/customer", json!({ "name": "Mira" })).await.expect(200);
    let place = site(&admin, "a").await;
    for (sn, model) in [("OLD", 6), ("NEW", ANTMINER_S21), ("VIP", 6)] {
        let body = json!({ "sn": sn, "model_id": model, "site_id": place, "ip_address": NOBODY,
            "customer_id": customer.at("/customer_id") });
        admin.post("/hosting/api/miners/create", body).await.expect(200);
    }
    miner(&admin, place, "NOWHERE", 6, None).await;
    let head = server.head().await;
    let body = json!({ "site_id": place, "target_power_reduction_kw": 3, "strategy_id": 3, "btc_price": 45_000,
        "network_difficulty": 75e12, "electricity_price": 0.05, "exclude_miner_ids": ["VIP"] });
    let plan = admin.post("/hosting/api/curtailment/calculate", body).await.expect(200);
    assert_eq!(
        (plan.at("/plan/strategy"), plan.at("/plan/total_miners_affected")),
        (&json!("revenue_first"), &json!(1))
    );
    let chosen = json!({ "miner_id": 1, "serial_number": "OLD", "model": "Antminer S19", "power_kw": 3.25,
        "power_w": 3250.0, "power_source": "nameplate", "hashrate_ths": 95.0, "daily_profit_loss": -0.32,
        "strike_price_per_mwh": 45.94, "temperature_max": null, "customer_id": customer.at("/customer_id") });
    for (key, value) in chosen.as_object().unwrap() {
        assert_eq!(&plan.at("/plan/selected_miners/0")[key], value, "{key}");
    }
    assert_eq!(plan.at("/plan/excluded"), &json!({ "protected": 1, "curtail_full_unsupported": 1 }));
    let impact = json!({ "duration_hours": 24.0, "electricity_rate": 0.05, "power_saved_kwh": 78.0,
        "cost_saved_usd": 3.9, "revenue_lost_usd": 3.58, "net_savings_usd": 0.32, "affected_customers_count": 1,
        "miners_shutdown_count": 1 });
    for (key, value) in impact.as_object().unwrap() {
        assert_eq!(&plan.at("/plan/economic_impact")[key], value, "{key}");
    }
    let affected = json!([{ "customer_id": customer.at("/customer_id"), "customer_name": "Mira", "miners_affected": 1,
        "power_reduction_kw": 3.25 }]);
    assert_eq!(plan.at("/plan/affected_customers"), &affected);
    let unknown =
        admin.post("/hosting/api/curtailment/calculate", json!({ "site_id": place, "target_reduction_kw": 1 }));
    let unknown = unknown.await.expect(200);
    assert_eq!(unknown.at("/plan/economic_impact/revenue_lost_usd"), &Value::Null);
    assert_eq!(unknown.at("/plan/economic_impact/cost_saved_usd"), 3.9);
    assert_eq!(server.head().await, head);
}

#[tokio::test]
async fn a_planned_run_is_cancelled_without_telling_anybody() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let fleet = fleet(&admin, &[(ANTMINER_S21, NOBODY)]).await;
    let body = json!({ "site_id": fleet.site, "target_reduction_kw": 1, "execution_mode": "manual" });
    let keyed = admin.with("Idempotency-Key", "once");
    let planned = keyed.post("/hosting/api/curtailment/execute", body.clone()).await.expect(201);
    let again = keyed.post("/hosting/api/curtailment/execute", body).await.expect(201);
    assert_eq!(planned.json, again.json);
    let plan = planned.at("/plan_id").as_i64().unwrap();
    let restore = json!({ "plan_id": plan });
    let refused = admin.post("/hosting/api/curtailment/emergency-restore", restore).await.expect(400);
    assert_eq!(refused.at("/message"), "the curtailment run is planned");
    let cancelled = admin.post("/hosting/api/curtailment/cancel", json!({ "plan_id": plan })).await.expect(200);
    assert_eq!(cancelled.at("/status"), "cancelled");
    let past = history(&admin, plan).await;
    // Nothing was saved, whatever was planned.
    assert_eq!((past.at("/pagination/total"), past.at("/history/0/power_saved_kwh")), (&json!(1), &json!(0.0)));
    assert_eq!(past.at("/history/0/cost_saved_usd").as_f64(), Some(0.0));
    assert_eq!(phases(&server).await, ["planned", "cancelled"]);
    let commands = server.log.read_all(0, &["miner_command"], 10).await.unwrap();
    assert!(commands.events.is_empty());
}

#[tokio::test]
async fn a_run_whose_answer_was_lost_is_found_again() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let fleet = fleet(&admin, &[(ANTMINER_S21, NOBODY)]).await;
    let (keyed, execute) = (admin.with("Idempotency-Key", "once"), "/hosting/api/curtailment/execute");
    let body = json!({ "site_id": fleet.site, "target_reduction_pct": 100 });
    let first = keyed.post(execute, body.clone()).await.expect(201);
    server.lose_answer("once");
    // The run holds the only miner, so another one could not be planned.
    admin.post(execute, body.clone()).await.expect(400);
    let again = keyed.post(execute, body).await.expect(201);
    assert_eq!((again.at("/plan_id"), again.at("/message")), (first.at("/plan_id"), first.at("/message")));
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(admin.get("/hosting/api/curtailment/history").await.expect(200).at("/pagination/total"), 1);
}

#[tokio::test]
async fn history_is_filtered_paged_and_answers_as_of_a_past_position() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let fleet = fleet(&admin, &[(ANTMINER_S21, NOBODY)]).await;
    let body = json!({ "site_id": fleet.site, "target_reduction_kw": 1, "execution_mode": "manual" });
    for _ in 0..3 {
        admin.post("/hosting/api/curtailment/execute", body.clone()).await.expect(201);
    }
    let before = server.head().await;
    admin.post("/hosting/api/curtailment/cancel", json!({ "plan_id": 2 })).await.expect(200);
    let total = async |query: &str| {
        let list = admin.get(&format!("/hosting/api/curtailment/history?{query}")).await.expect(200);
        list.at("/pagination/total").as_u64().unwrap()
    };
    assert_eq!((total("").await, total("status=planned").await, total("site_id=99").await), (3, 2, 0));
    assert_eq!(total(&format!("status=planned&as_of={before}")).await, 3);
    let page = admin.get("/hosting/api/curtailment/history?page=2&per_page=2").await.expect(200);
    assert_eq!((page.at("/history/0/id"), page.at("/history/0/site_name")), (&json!(1), &json!("Mining Farm A")));
    admin.get("/hosting/api/curtailment/history?status=odd").await.expect(400);
}

#[tokio::test]
async fn strategies_are_those_of_the_document() {
    let server = TestServer::start(Engine::Sqlite).await;
    let client = server.signed_in(Surface::HashInsight, Role::Client, TenantId::DEFAULT);
    let answer = client.get("/hosting/api/curtailment/strategies").await.expect(200);
    let ids: Vec<_> = answer.at("/strategies").as_array().unwrap().iter().map(|s| s["id"].clone()).collect();
    assert_eq!(ids, ["efficiency_first", "power_first", "revenue_first", "temperature_first"]);
    assert_eq!(answer.at("/strategies/0/name_zh"), "效率优先");
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let fleet = fleet(&admin, &[(ANTMINER_S21, NOBODY)]).await;
    let head = server.head().await;
    let with = |key: &str, value: Value| {
        let mut body = json!({ "site_id": fleet.site, "target_reduction_kw": 1 });
        body[key] = value;
        body
    };
    let bodies = [
        json!({}),
        json!([]),
        json!({ "site_id": fleet.site }),
        with("site_id", json!("a")),
        with("target_reduction_kw", json!(0)),
        with("target_reduction_kw", json!(1e9)),
        with("target_reduction_kw", json!(100)),
        with("strategy", json!("random")),
        with("strategy", json!(5)),
        with("strategy", json!("revenue_first")),
        with("electricity_rate", json!(-1)),
        with("duration_hours", json!(0)),
        with("duration_hours", json!(745)),
        with("tolerance_kw", json!(2)),
        with("max_miners_to_curtail", json!(0)),
        with("exclude_miner_ids", json!(7)),
        with("exclude_miner_ids", json!([1])),
    ];
    for body in bodies {
        admin.post("/hosting/api/curtailment/calculate", body.clone()).await.expect(400);
        admin.post("/hosting/api/curtailment/execute", body).await.expect(400);
    }
    let short = admin.post("/hosting/api/curtailment/calculate", with("exclude_miner_ids", json!([1]))).await;
    assert_eq!((short.at("/reason"), short.at("/excluded/protected")), (&json!("insufficient_load"), &json!(1)));
    let times = [
        with("execution_mode", json!("later")),
        with("plan_name", json!("x".repeat(201))),
        with("scheduled_start_time", json!("tomorrow")),
        with("scheduled_end_time", json!("2020-01-01T00:00:00Z")),
        with("scheduled_start_time", json!("2020-01-01T00:00:00Z")),
    ];
    for body in times {
        admin.post("/hosting/api/curtailment/execute", body).await.expect(400);
    }
    admin.post("/hosting/api/curtailment/calculate", with("site_id", json!(99))).await.expect(404);
    admin.post("/hosting/api/curtailment/execute", json!({ "plan_id": 99 })).await.expect(404);
    admin.post("/hosting/api/curtailment/cancel", json!({ "plan_id": 99 })).await.expect(404);
    admin.post("/hosting/api/curtailment/cancel", json!({})).await.expect(400);
    admin.send(Method::POST, "/hosting/api/curtailment/execute", Some("{".into())).await.expect(400);
    let stranger = server.signed_in(Surface::HashInsight, Role::Owner, TenantId(fresh_id()));
    stranger.post("/hosting/api/curtailment/calculate", with("strategy", json!("power_first"))).await.expect(404);
    let client = server.signed_in(Surface::HashInsight, Role::Client, TenantId::DEFAULT);
    client.post("/hosting/api/curtailment/execute", with("strategy", json!("power_first"))).await.expect(403);
    assert_eq!(server.head().await, head);
}
