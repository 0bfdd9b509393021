//! The own account and its entries.

use api::surface::Surface;
use serde_json::json;
use tests::engine::Engine;
use tests::server::TestServer;

#[tokio::test]
async fn a_credit_is_an_entry_of_the_own_ledger() {
    let server = TestServer::start(Engine::Sqlite).await;
    let (admin, user) = (server.admin(Surface::Owl), server.user(Surface::Owl));
    let nothing = user.get("/api/recharge/balance").await.expect(200);
    assert_eq!(nothing.at("/data"), &json!({ "balance": 0.0, "held": 0.0, "available": 0.0, "spent": 0.0 }));
    super::top_up(&admin, &user, "12.5").await;
    let balance = user.get("/api/recharge/balance").await.expect(200);
    assert_eq!((balance.at("/data/balance"), balance.at("/data/available")), (&json!(12.5), &json!(12.5)));
    let entries = user.get("/api/recharge/ledger").await.expect(200);
    assert_eq!((entries.at("/total"), entries.at("/items/0/kind")), (&json!(1), &json!("credit")));
    assert_eq!(entries.at("/data/items/0/balance_after"), 12.5);
    assert_eq!(server.user(Surface::Owl).get("/api/recharge/ledger").await.expect(200).at("/total"), 0);
    server.anonymous().get("/api/recharge/ledger").await.expect(401);
    server.anonymous().get("/api/recharge/balance").await.expect(401);
}
