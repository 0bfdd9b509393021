//! History: rebuilds, proofs, what was, exports and imports, audits.

mod audit;
mod command_line;
mod complaints;
mod many_rows;
mod moments;
mod rebuild;
mod registry;
mod terminal;
mod transfer;
mod verify;

use api::surface::Surface;
use replay::projections_named;
use replay::verify::{Verification, Verified};
use serde_json::json;
use tests::server::{Client, TestServer};

/// Fresh codes of one amount, each good for one redemption.
async fn issue(server: &TestServer, codes: usize) -> Vec<String> {
    let body = json!({ "amount": 10, "batch_size": codes });
    let answer = server.admin(Surface::Owl).post("/api/recharge/codes", body).await.expect(200);
    let codes = answer.at("/data/codes").as_array().unwrap();
    codes.iter().map(|code| code["code"].as_str().unwrap().to_owned()).collect()
}

async fn redeem(user: &Client, code: &str) {
    user.post("/api/recharge/redeem", json!({ "code": code })).await.expect(200);
}

/// Returns when the read models show everything that is in the log.
async fn caught_up(server: &TestServer) {
    let head = server.head().await.to_string();
    let admin = server.admin(Surface::Platform).with("Corelog-Min-Position", &head);
    admin.get("/platform/v1/projections").await.expect(200);
}

/// All read models as they are when they have caught up.
async fn verified(server: &TestServer) -> Verification {
    caught_up(server).await;
    replay::verify::verify(&server.log, &server.models, projections_named(None).unwrap(), 10, &()).await.unwrap()
}

#[track_caller]
fn of<'a>(verification: &'a Verification, projection: &str) -> &'a Verified {
    verification.projections.iter().find(|verified| verified.projection == projection).unwrap()
}

/// Changes the live tables behind the back of everybody.
async fn tamper(server: &TestServer, sql: &str) {
    use sea_orm::ConnectionTrait;
    caught_up(server).await;
    server.models.write.execute_unprepared(sql).await.unwrap();
}
