//! People who have no business here: those who are not signed in, and the owners of other tenants.

use api::surface::Surface;
use domain::identity::role::Role;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::json;
use tests::engine::Engine;
use tests::server::TestServer;
use uuid::Uuid;

use crate::operations::{Operation, has_its_form, operations};
use crate::tree::{none_of, read};

/// Stands in everything that the first tenant has.
const MARK: &str = "Zzmark";

#[tokio::test]
async fn only_listed_operations_are_open_to_everybody() {
    let server = TestServer::start(Engine::Sqlite).await;
    let listed = read("tests/fixtures/operations/public.txt");
    let is_public = |operation: &Operation| {
        let shown = format!("{} {}", operation.method, operation.path);
        listed.lines().any(|line| line == shown)
    };
    let mut findings = Vec::new();
    for operation in operations().iter().filter(|operation| !is_public(operation)) {
        let (head, path) = (server.head().await, operation.at("1"));
        let body = operation.fields.as_ref().map(|_| "{}".to_owned());
        let answer = server.anonymous().send(operation.method.clone(), &path, body).await;
        let shut_out = answer.status == 401 && has_its_form(operation.surface, &answer);
        if !shut_out || server.head().await != head {
            findings.push(format!("{} {}: {}", operation.method, operation.path, answer.status));
        }
    }
    none_of(&findings, "operations that strangers reach, and that tests/fixtures/operations/public.txt does not list");
}

/// Something of every flow, all of it marked. Answers the ids.
async fn furnish(server: &TestServer) -> Vec<String> {
    let admin = server.admin(Surface::HashInsight);
    let site =
        json!({ "name": MARK, "slug": "zzmark", "location": MARK, "capacity_mw": 5.0, "electricity_rate": 0.05 });
    admin.post("/hosting/api/sites", site).await.expect(201);
    let miner = json!({ "sn": MARK, "model_id": 1, "site_id": 1, "ip_address": "127.0.0.253", "location_slot": MARK });
    admin.post("/hosting/api/miners/create", miner).await.expect(200);
    admin.post("/crm/api/lead", json!({ "name": MARK, "email": "zzmark@example.com" })).await.expect(200);
    admin.post("/crm/api/customer", json!({ "name": MARK })).await.expect(200);
    let deal = json!({ "title": MARK, "customer_id": 1, "amount": 100 });
    admin.post("/crm/api/deal", deal).await.expect(200);
    let plan = json!({ "site_id": 1, "target_reduction_pct": 100, "execution_mode": "manual", "plan_name": MARK });
    admin.post("/hosting/api/curtailment/execute", plan).await.expect(201);
    let code = json!({ "amount": 1, "description": MARK });
    server.admin(Surface::Owl).post("/api/recharge/codes", code).await.expect(200);
    let trader = server.admin(Surface::Bitrun);
    let account = trader.post("/api/v1/accounts", json!({ "name": MARK, "exchange": "paper" })).await.expect(200);
    let strategy = json!({ "name": MARK, "strategy_type": "dca", "symbol": "BTC", "account_id": account.at("/id"),
        "config": { "order_amount": 100, "interval_minutes": 60 } });
    let strategy = trader.post("/api/v1/quant-strategies", strategy).await.expect(201);
    let uuids = [account.at("/id"), strategy.at("/id")].map(|id| id.as_str().unwrap().to_owned());
    ["1".to_owned()].into_iter().chain(uuids).collect()
}

#[tokio::test]
async fn another_tenants_owner_neither_sees_nor_changes_anything_sqlite() {
    another_tenants_owner_neither_sees_nor_changes_anything(Engine::Sqlite).await;
}
#[tokio::test]
async fn another_tenants_owner_neither_sees_nor_changes_anything_postgres() {
    another_tenants_owner_neither_sees_nor_changes_anything(Engine::Postgres).await;
}
async fn another_tenants_owner_neither_sees_nor_changes_anything(engine: Engine) {
    let server = TestServer::start(engine).await;
    let ids = furnish(&server).await;
    let far = TenantId(Uuid::from_u128(7));
    let mut findings = Vec::new();
    for operation in operations() {
        let stranger = server.signed_in(operation.surface, Role::Owner, far);
        for id in &ids {
            let (path, head) = (operation.at(id), server.head().await);
            let body = operation.fields.as_ref().map(|_| "{}".to_owned());
            let answer = stranger.send(operation.method.clone(), &path, body).await;
            let what = format!("{} {path}: {}", operation.method, answer.status);
            if answer.status >= 500 || answer.text.contains(MARK) {
                findings.push(what);
            } else if operation.method != Method::GET && operation.is_of_paths_with_ids() && server.head().await != head
            {
                findings.push(format!("{what}, and something was appended"));
            }
            if !operation.is_of_paths_with_ids() {
                break;
            }
        }
    }
    none_of(&findings, "what the owner of another tenant sees or does");
}
