//! One cycle on demand: what is decided, what comes of it, and how it is listed.

use api::surface::Surface;
use domain::metadata::TenantId;
use reqwest::Method;
use serde_json::{Value, json};
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::{Client, TestServer};
use uuid::Uuid;

use super::candles::{at_prices, keep};
use super::quant_strategies::{active, paper_account};

/// A user with a paper account and an active DCA strategy that buys for 100 at every candle.
struct Saver {
    user: Client,
    account: String,
    strategy: String,
}

async fn saver(server: &TestServer, initial_balance: i64) -> Saver {
    let user = server.user(Surface::Bitrun);
    let account = paper_account(&user, initial_balance).await;
    let config = json!({ "order_amount": 100, "interval_minutes": 60, "take_profit_percent": 10 });
    let strategy = active(&user, "dca", &config, &account).await["id"].as_str().unwrap().to_owned();
    Saver { user, account, strategy }
}

impl Saver {
    async fn trigger(&self) -> Answer {
        // As real clients do: no body at all.
        self.user.send(Method::POST, &format!("/api/v1/workers/{}/trigger", self.strategy), None).await
    }

    async fn decisions(&self, query: &str) -> Answer {
        self.user.get(&format!("/api/v1/decisions/strategy/{}{query}", self.strategy)).await
    }

    async fn shown(&self) -> Value {
        self.user.get(&format!("/api/v1/quant-strategies/{}", self.strategy)).await.expect(200).json
    }

    async fn balance(&self) -> Value {
        self.user.get(&format!("/api/v1/accounts/{}/balance", self.account)).await.expect(200).json
    }
}

#[tokio::test]
async fn one_cycle_reads_decides_records_and_fills_sqlite() {
    one_cycle_reads_decides_records_and_fills(Engine::Sqlite).await;
}
#[tokio::test]
async fn one_cycle_reads_decides_records_and_fills_postgres() {
    one_cycle_reads_decides_records_and_fills(Engine::Postgres).await;
}
async fn one_cycle_reads_decides_records_and_fills(engine: Engine) {
    let server = TestServer::start(engine).await;
    let saver = saver(&server, 10_000).await;
    keep(&server, &at_prices(&[100_000])).await;
    let triggered = saver.trigger().await.expect(200);
    assert_eq!(triggered.at("/success"), true);
    assert_eq!(triggered.at("/message"), "open_long: order filled");
    let recent = saver.user.get("/api/v1/decisions/recent?limit=5").await.expect(200);
    let decision = recent.at("/0");
    assert_eq!(&decision["id"], triggered.at("/decision_id"));
    assert_eq!(decision["strategy_id"], json!(saver.strategy));
    assert_eq!((&decision["executed"], &decision["ai_model"]), (&json!(true), &json!("quant:dca")));
    assert_eq!(decision["chain_of_thought"], "Purchase 1 of this round: 100 at 100000.");
    assert_eq!(decision["overall_confidence"], 1.0);
    assert_eq!(decision["tokens_used"], 0);
    assert_eq!(decision["decisions"][0]["action"], "open_long");
    assert_eq!(decision["decisions"][0]["position_size_usd"], 100.0);
    assert_eq!(decision["market_snapshot"]["price"], 100_000.0);
    assert_eq!(decision["market_snapshot"]["closed_at"], "2025-01-01T01:00:00.000000+00:00");
    assert_eq!(decision["account_snapshot"]["equity"], 10_000.0);
    let result = &decision["execution_results"][0];
    assert_eq!(result["order_result"]["order_id"], decision["id"]);
    assert_eq!(result["order_result"]["status"], "filled");
    // Two basis points of slippage, five of fee; quantities are cut off at eight decimals.
    assert_eq!(result["order_result"]["filled_price"], 100_020.0);
    assert_eq!(result["order_result"]["filled_size"], 0.000_999_8);
    assert_eq!((&result["actual_size_usd"], &result["fee"]), (&json!(99.999_996), &json!(0.05)));
    let balance = saver.balance().await;
    assert_eq!(balance["available_balance"], 9_899.950_004);
    assert_eq!(
        (&balance["positions"][0]["size"], &balance["positions"][0]["side"]),
        (&json!(0.000_999_8), &json!("long"))
    );
    let strategy = saver.shown().await;
    assert_eq!(strategy["runtime_state"]["orders_placed"], 1);
    assert_eq!(strategy["runtime_state"]["avg_cost"], 100_020.0);
    assert_eq!(strategy["runtime_state"]["last_order_time"], "2025-01-01T01:00:00.000000+00:00");
    assert_eq!(strategy["total_pnl"], -0.05);
    assert!(strategy["last_run_at"].is_string());
    let id = decision["id"].as_str().unwrap();
    assert_eq!(&saver.user.get(&format!("/api/v1/decisions/{id}")).await.expect(200).json, decision);
}

#[tokio::test]
async fn a_repeated_trigger_trades_once() {
    let server = TestServer::start(Engine::Sqlite).await;
    let saver = saver(&server, 10_000).await;
    keep(&server, &at_prices(&[100_000])).await;
    let keyed = saver.user.with("Idempotency-Key", "cycle-1");
    let path = format!("/api/v1/workers/{}/trigger", saver.strategy);
    let first = keyed.post(&path, json!({})).await.expect(200);
    keep(&server, &at_prices(&[100_000, 90_000])).await;
    let again = keyed.post(&path, json!({})).await.expect(200);
    assert_eq!((first.json, again.header("idempotency-replayed")), (again.json.clone(), "true"));
    assert_eq!(saver.decisions("").await.expect(200).at("/total"), 1);
    assert_eq!(saver.shown().await["runtime_state"]["orders_placed"], 1);
}

#[tokio::test]
async fn triggers_at_the_same_time_trade_once_sqlite() {
    triggers_at_the_same_time_trade_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn triggers_at_the_same_time_trade_once_postgres() {
    triggers_at_the_same_time_trade_once(Engine::Postgres).await;
}
async fn triggers_at_the_same_time_trade_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let saver = saver(&server, 10_000).await;
    keep(&server, &at_prices(&[100_000])).await;
    let answers = futures::future::join_all((0..16).map(|_| saver.trigger())).await;
    for answer in answers {
        // Either the cycle of another trigger was running, or it was over and there was nothing to do.
        if answer.status != 200 {
            assert_eq!(answer.expect(400).at("/detail"), "A cycle of this strategy is still running");
        }
    }
    assert_eq!(saver.shown().await["runtime_state"]["orders_placed"], 1);
    assert_eq!(saver.decisions("?execution_filter=executed").await.expect(200).at("/total"), 1);
    assert_eq!(saver.balance().await["available_balance"], 9_899.950_004);
}

#[tokio::test]
async fn a_strategy_that_cannot_trade_says_why_and_nothing_is_appended() {
    let server = TestServer::start(Engine::Sqlite).await;
    let saver = saver(&server, 10_000).await;
    let head = server.head().await;
    let answer = saver.trigger().await.expect(400);
    assert_eq!(answer.at("/detail"), "There are no closed candles of BTC/USDT:USDT to decide on");
    assert_eq!(server.head().await, head);
    keep(&server, &at_prices(&[100_000])).await;
    let status = format!("/api/v1/quant-strategies/{}/status", saver.strategy);
    for to in ["paused", "stopped"] {
        saver.user.post(&status, json!({ "status": to })).await.expect(200);
        let answer = saver.trigger().await.expect(400);
        assert_eq!(answer.at("/detail"), &json!(format!("Strategy is not active (status '{to}')")));
    }
    assert_eq!(saver.decisions("").await.expect(200).at("/total"), 0);
    for path in ["/api/v1/workers/no-uuid/trigger".to_owned(), format!("/api/v1/workers/{}/trigger", Uuid::nil())] {
        saver.user.post(&path, json!({})).await.expect(404);
    }
}

#[tokio::test]
async fn a_refused_order_is_shown_and_warns() {
    let server = TestServer::start(Engine::Sqlite).await;
    let saver = saver(&server, 150).await;
    keep(&server, &at_prices(&[100_000])).await;
    saver.trigger().await.expect(200);
    keep(&server, &at_prices(&[100_000, 100_000])).await;
    let refused = saver.trigger().await.expect(200);
    assert_eq!(refused.at("/success"), false);
    let reason = "Insufficient balance: the order needs 100.049996, 49.950004 is available";
    assert_eq!(refused.at("/message"), &json!(format!("open_long: order refused: {reason}")));
    let strategy = saver.shown().await;
    assert_eq!((&strategy["status"], &strategy["error_message"]), (&json!("warning"), &json!(reason)));
    let skipped = saver.decisions("?execution_filter=skipped").await.expect(200);
    let result = skipped.at("/items/0/execution_results/0");
    assert_eq!((&result["executed"], &result["reason"]), (&json!(false), &json!(reason)));
    assert_eq!(result["order_result"]["status"], "rejected");
    // A sale goes through and the strategy is well again.
    keep(&server, &at_prices(&[100_000, 100_000, 120_000])).await;
    assert_eq!(saver.trigger().await.expect(200).at("/message"), "close_long: order filled");
    let strategy = saver.shown().await;
    assert_eq!((&strategy["status"], &strategy["error_message"]), (&json!("active"), &Value::Null));
    assert_eq!((&strategy["total_trades"], &strategy["win_rate"]), (&json!(1), &json!(1.0)));
}

#[tokio::test]
async fn strategies_on_one_account_earn_what_they_themselves_bought() {
    let server = TestServer::start(Engine::Sqlite).await;
    let first = saver(&server, 10_000).await;
    keep(&server, &at_prices(&[100_000])).await;
    first.trigger().await.expect(200);
    let config = json!({ "order_amount": 100, "interval_minutes": 60, "take_profit_percent": 10 });
    let strategy = active(&first.user, "dca", &config, &first.account).await["id"].as_str().unwrap().to_owned();
    let second = Saver { user: first.user.clone(), account: first.account.clone(), strategy };
    keep(&server, &at_prices(&[100_000, 50_000])).await;
    second.trigger().await.expect(200);
    // Less than the average of both purchases, more than what the second paid.
    keep(&server, &at_prices(&[100_000, 50_000, 60_000])).await;
    assert_eq!(second.trigger().await.expect(200).at("/message"), "close_long: order filled");
    let shown = second.shown().await;
    assert_eq!((&shown["winning_trades"], &shown["losing_trades"]), (&json!(1), &json!(0)));
    let earned = shown["total_pnl"].as_f64().unwrap();
    assert!((19.0..20.0).contains(&earned), "{earned}");
}

#[tokio::test]
async fn decisions_are_paged_filtered_and_as_of_sqlite() {
    decisions_are_paged_filtered_and_as_of(Engine::Sqlite).await;
}
#[tokio::test]
async fn decisions_are_paged_filtered_and_as_of_postgres() {
    decisions_are_paged_filtered_and_as_of(Engine::Postgres).await;
}
async fn decisions_are_paged_filtered_and_as_of(engine: Engine) {
    let server = TestServer::start(engine).await;
    let saver = saver(&server, 10_000).await;
    keep(&server, &at_prices(&[100_000])).await;
    saver.trigger().await.expect(200);
    let before = server.head().await;
    saver.trigger().await.expect(200);
    keep(&server, &at_prices(&[100_000, 99_000])).await;
    saver.trigger().await.expect(200);
    let page = saver.decisions("?limit=2&offset=1").await.expect(200);
    assert_eq!((page.at("/total"), page.at("/limit"), page.at("/offset")), (&json!(3), &json!(2), &json!(1)));
    assert_eq!(page.at("/items").as_array().unwrap().len(), 2);
    assert_eq!(page.at("/items/0/decisions/0/action"), "hold", "the newest first");
    assert_eq!(page.at("/items/0/execution_results"), &json!([]));
    let total = async |query: &str| saver.decisions(query).await.expect(200).at("/total").clone();
    assert_eq!(total("?execution_filter=executed").await, 2);
    assert_eq!(total("?execution_filter=all&action=hold").await, 1);
    assert_eq!(total(&format!("?as_of={before}")).await, 1);
    let then = saver.user.get(&format!("/api/v1/decisions/recent?as_of={before}")).await.expect(200);
    assert_eq!(then.json.as_array().unwrap().len(), 1);
    for query in ["?limit=0", "?limit=101", "?action=odd", "?execution_filter=odd", "?as_of=soon"] {
        saver.decisions(query).await.expect(422);
    }
    let other = server.user(Surface::Bitrun);
    assert_eq!(other.get("/api/v1/decisions/recent").await.expect(200).json, json!([]));
    let path = format!("/api/v1/decisions/{}", page.at("/items/0/id").as_str().unwrap());
    assert_eq!(other.get(&path).await.expect(404).at("/detail"), "Decision not found");
    let stranger = server.signed_in(Surface::Bitrun, domain::identity::role::Role::Owner, TenantId(Uuid::from_u128(7)));
    assert_eq!(stranger.get("/api/v1/decisions/recent").await.expect(200).json, json!([]));
    server.anonymous().get("/api/v1/decisions/recent").await.expect(401);
}
