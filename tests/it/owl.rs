//! Scenarios of Owl Factory.

mod accounts;
mod admin;
mod agent_ends;
mod agent_lines;
mod agents;
mod auth;
mod containers;
mod ledger;
mod logs;
mod many_tasks;
mod queue;
mod real_agents;
mod recharge;
mod tasks;

use serde_json::json;
use tests::server::Client;

/// Gives a user money by a recharge code.
async fn top_up(admin: &Client, user: &Client, amount: &str) {
    let codes = admin.post("/api/recharge/codes", json!({ "amount": amount })).await.expect(200);
    let code = codes.at("/data/codes/0/code");
    user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
}
