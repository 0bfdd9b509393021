//! Scenarios of Owl Factory.

mod accounts;
mod admin;
mod agent_ends;
mod agent_lines;
mod agents;
mod auth;
mod containers;
mod costs;
mod ledger;
mod logs;
mod many_tasks;
mod queue;
mod real_agents;
mod recharge;
mod refusals;
mod repeats;
mod tasks;

use serde_json::json;
use tests::answer::Answer;
use tests::server::Client;

/// Gives a user money by a recharge code.
async fn top_up(admin: &Client, user: &Client, amount: &str) {
    let codes = admin.post("/api/recharge/codes", json!({ "amount": amount })).await.expect(200);
    let code = codes.at("/data/codes/0/code");
    user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
}

/// What a refusal says of one field.
fn refused_field<'a>(refused: &'a Answer, field: &str) -> &'a str {
    refused.at(&format!("/details/field_errors/{field}/0")).as_str().unwrap_or_default()
}
