//! Two curtailments that want the same miners.

use api::surface::Surface;
use serde_json::json;
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::TestServer;
use tests::simulators::Antminer;

use super::fleet::{ANTMINER_S19_PRO, ANTMINER_S21, NOBODY, antminer, miner, site};

const EXECUTE: &str = "/hosting/api/curtailment/execute";

#[tokio::test]
async fn of_two_at_once_one_has_the_miners() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    for round in 0..5 {
        let place = site(&admin, &format!("site-{round}")).await;
        miner(&admin, place, &format!("SN-{round}"), ANTMINER_S21, Some(NOBODY)).await;
        let body = json!({ "site_id": place, "target_reduction_pct": 100 });
        let (one, other) = tokio::join!(admin.post(EXECUTE, body.clone()), admin.post(EXECUTE, body));
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 400], "{} {}", one.text, other.text);
    }
}

#[tokio::test]
async fn a_plan_that_finds_its_miners_held_takes_them_from_nobody() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let simulated = antminer(Antminer::obedient()).await;
    let place = site(&admin, "a").await;
    miner(&admin, place, "SN-0", ANTMINER_S19_PRO, Some(simulated.address())).await;
    let body = json!({ "site_id": place, "target_reduction_pct": 100, "execution_mode": "manual" });
    let mut plans = Vec::new();
    for _ in 0..2 {
        let planned = admin.post(EXECUTE, body.clone()).await.expect(201);
        plans.push(planned.at("/plan_id").as_i64().unwrap());
    }
    let path = |plan: i64| format!("/hosting/api/curtailment/history?plan_id={plan}");
    admin.post(EXECUTE, json!({ "plan_id": plans[0] })).await.expect(201);
    server.get_until(&admin, &path(plans[0]), |answer: &Answer| answer.at("/history/0/status") == "active").await;
    admin.post(EXECUTE, json!({ "plan_id": plans[1] })).await.expect(201);
    server.get_until(&admin, &path(plans[1]), |answer: &Answer| answer.at("/history/0/failed_count") == 1).await;
    let listed = admin.get("/hosting/api/miners").await.expect(200);
    assert_eq!(listed.at("/miners/0/curtailment_plan_id"), plans[0], "the first run has it still");
    assert!(!simulated.state().is_mining);
}

#[tokio::test]
async fn a_plan_leaves_out_the_miners_that_another_will_stop_meanwhile() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight);
    let place = site(&admin, "a").await;
    miner(&admin, place, "SN-0", ANTMINER_S21, Some(NOBODY)).await;
    let plan = |starts: &str, ends: &str| {
        let (starts, ends) = (format!("2099-01-01T{starts}Z"), format!("2099-01-01T{ends}Z"));
        json!({ "site_id": place, "target_reduction_pct": 100, "scheduled_start_time": starts, "scheduled_end_time": ends })
    };
    admin.post(EXECUTE, plan("10:00:00", "12:00:00")).await.expect(201);
    let refused = admin.post(EXECUTE, plan("11:00:00", "13:00:00")).await.expect(400);
    assert!(refused.text.contains("active_event"), "{}", refused.text);
    admin.post(EXECUTE, plan("12:00:00", "13:00:00")).await.expect(201);
}

#[tokio::test]
async fn who_repeats_a_request_that_is_under_way_gets_its_answer() {
    let server = TestServer::start(Engine::Sqlite).await;
    let admin = server.admin(Surface::HashInsight).with("Idempotency-Key", "once");
    let place = site(&server.admin(Surface::HashInsight), "a").await;
    miner(&server.admin(Surface::HashInsight), place, "SN-0", ANTMINER_S21, Some(NOBODY)).await;
    let body = json!({ "site_id": place, "target_reduction_pct": 100 });
    let answers = futures::future::join_all((0..5).map(|_| admin.post(EXECUTE, body.clone()))).await;
    for answer in &answers {
        assert_eq!((answer.status, &answer.json), (201, &answers[0].json), "{}", answer.text);
    }
}
