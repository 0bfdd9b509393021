//! Strategies walked along a history, one cycle a candle.

use api::surface::Surface;
use domain::trading::candle::Candle;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};

use super::candles::{hourly, keep};
use super::quant_strategies::{active, paper_account};

/// Candles that are there before the first cycle.
const KNOWN: usize = 30;
/// Cycles of one walk.
const CYCLES: usize = 160;

/// What a walk came to.
struct Walked {
    /// The action of each cycle, in order.
    actions: Vec<String>,
    decisions: Vec<Value>,
    strategy: Value,
    balance: Value,
}

/// Runs a strategy of `kind` along the history.
async fn walk(engine: Engine, kind: &str, config: &Value) -> Walked {
    let server = TestServer::start(engine).await;
    let user = server.user(Surface::Bitrun);
    let account = paper_account(&user, 10_000).await;
    let id = active(&user, kind, config, &account).await["id"].as_str().unwrap().to_owned();
    let candles = hourly();
    keep(&server, &candles[..KNOWN]).await;
    for candle in &candles[KNOWN..KNOWN + CYCLES] {
        assert_eq!(keep(&server, std::slice::from_ref(candle)).await, 1);
        let answer = user.send(reqwest::Method::POST, &format!("/api/v1/workers/{id}/trigger"), None).await.expect(200);
        assert_eq!(answer.at("/success"), true, "{}", answer.text);
    }
    let decisions = decisions(&user, &id).await;
    let action = |decision: &Value| decision["decisions"][0]["action"].as_str().unwrap().to_owned();
    let walked = Walked {
        actions: decisions.iter().map(action).collect(),
        decisions,
        strategy: user.get(&format!("/api/v1/quant-strategies/{id}")).await.expect(200).json,
        balance: user.get(&format!("/api/v1/accounts/{account}/balance")).await.expect(200).json,
    };
    walked.adds_up();
    walked
}

/// All decisions, the oldest first.
async fn decisions(user: &Client, strategy: &str) -> Vec<Value> {
    let mut all = Vec::new();
    while all.len() < CYCLES {
        let path = format!("/api/v1/decisions/strategy/{strategy}?limit=100&offset={}", all.len());
        let page = user.get(&path).await.expect(200);
        assert_eq!(page.at("/total"), CYCLES);
        all.extend(page.at("/items").as_array().unwrap().clone());
    }
    all.reverse();
    all
}

impl Walked {
    fn count(&self, action: &str) -> usize {
        self.actions.iter().filter(|taken| *taken == action).count()
    }

    /// Every order was carried out once, and the money is where the strategy says it is.
    fn adds_up(&self) {
        for decision in &self.decisions {
            let ordered = ["open_long", "close_long"].contains(&decision["decisions"][0]["action"].as_str().unwrap());
            assert_eq!(
                (&decision["executed"], decision["execution_results"].as_array().unwrap().len()),
                (&json!(ordered), usize::from(ordered))
            );
        }
        let number = |value: &Value| value.as_f64().unwrap();
        // The account keeps what is held at an average price, the strategy at what it paid.
        let (held, memory) = (&self.balance["positions"][0], &self.strategy["runtime_state"]);
        let at_average = held["size"].as_f64().unwrap_or(0.0) * held["entry_price"].as_f64().unwrap_or(0.0);
        let cells = memory["filled_buys"].as_array().map_or(&[][..], Vec::as_slice);
        let of_cells: f64 = cells.iter().map(|cell| number(&cell["quantity"]) * number(&cell["price"])).sum();
        let of_rest = if cells.is_empty() { at_average } else { 0.0 };
        let money = number(&self.balance["available_balance"]) + number(&self.balance["total_margin_used"])
            - at_average
            + of_cells
            + of_rest;
        let expected = 10_000.0 + number(&self.strategy["total_pnl"]);
        assert!((money - expected).abs() < 1e-6, "{money} instead of {expected}");
        assert_eq!(self.strategy["status"], "active");
        assert_eq!(self.strategy["total_trades"], self.count("close_long"));
        assert!((0.0..0.2).contains(&number(&self.strategy["max_drawdown"])), "{}", self.strategy);
    }
}

fn closes(candles: &[Candle]) -> Vec<f64> {
    candles.iter().map(|candle| candle.close.to_f64().unwrap()).collect()
}

/// RSI after Wilder, written down a second time to compare with: one value for each close from `period` on.
fn rsi(closes: &[f64], period: u32) -> Vec<f64> {
    let changes: Vec<f64> = closes.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (length, mut values) = (f64::from(period), Vec::new());
    let period = usize::try_from(period).unwrap();
    let mean = |side: fn(f64) -> f64| changes[..period].iter().map(|change| side(*change)).sum::<f64>() / length;
    let (mut gain, mut loss) = (mean(|change| change.max(0.0)), mean(|change| (-change).max(0.0)));
    for (n, change) in changes.iter().enumerate().skip(period - 1) {
        if n >= period {
            gain = (gain * (length - 1.0) + change.max(0.0)) / length;
            loss = (loss * (length - 1.0) + (-change).max(0.0)) / length;
        }
        values.push(100.0 * gain / (gain + loss));
    }
    values
}

#[tokio::test]
async fn rsi_trades_at_each_crossing_sqlite() {
    rsi_trades_at_each_crossing(Engine::Sqlite).await;
}
#[tokio::test]
async fn rsi_trades_at_each_crossing_postgres() {
    rsi_trades_at_each_crossing(Engine::Postgres).await;
}
async fn rsi_trades_at_each_crossing(engine: Engine) {
    let config = json!({ "order_amount": 2_000, "rsi_period": 7, "overbought": 65, "oversold": 35, "leverage": 2 });
    let walked = walk(engine, "rsi", &config).await;
    let values = rsi(&closes(&hourly()[..KNOWN + CYCLES]), 7);
    let mut holds = false;
    let mut expected = Vec::new();
    for pair in values[values.len() - CYCLES - 1..].windows(2) {
        let (fell, rose) = (pair[0] > 35.0 && pair[1] <= 35.0, pair[0] < 65.0 && pair[1] >= 65.0);
        let action = match (holds, fell, rose) {
            (false, true, _) => "open_long",
            (true, _, true) => "close_long",
            (true, ..) => "hold",
            (false, ..) => "wait",
        };
        holds = action == "open_long" || action == "hold";
        expected.push(action);
    }
    assert_eq!(walked.actions, expected);
    assert!(walked.count("open_long") >= 2 && walked.count("close_long") >= 1, "too quiet a history to prove anything");
    let last = walked.decisions.last().unwrap()["market_snapshot"]["rsi"].as_f64().unwrap();
    assert!((last - values.last().unwrap()).abs() < 1e-6);
    assert_eq!(walked.strategy["runtime_state"]["has_position"], holds);
    let bought = walked.decisions.iter().find(|decision| decision["decisions"][0]["action"] == "open_long").unwrap();
    assert_eq!(bought["decisions"][0]["risk_usd"], 1_000.0);
}

#[tokio::test]
async fn a_grid_buys_falls_and_sells_rises_sqlite() {
    a_grid_buys_falls_and_sells_rises(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_grid_buys_falls_and_sells_rises_postgres() {
    a_grid_buys_falls_and_sells_rises(Engine::Postgres).await;
}
async fn a_grid_buys_falls_and_sells_rises(engine: Engine) {
    let history = closes(&hourly()[KNOWN..KNOWN + CYCLES]);
    let (low, high) =
        history.iter().fold((f64::MAX, 0.0_f64), |(low, high), close| (low.min(*close), high.max(*close)));
    let config = json!({
        "upper_price": high.ceil(), "lower_price": low.floor(), "grid_count": 20, "total_investment": 5_000,
    });
    let walked = walk(engine, "grid", &config).await;
    assert_eq!(walked.actions[0], "wait");
    let step = (high.ceil() - low.floor()) / 20.0;
    let level = |cell: usize| low.floor() + step * f64::from(u32::try_from(cell).unwrap());
    let (mut held, mut expected) = (vec![false; 20], vec!["wait"]);
    let mut last = history[0];
    for price in &history[1..] {
        let ripe: Vec<usize> = (0..20).filter(|cell| held[*cell] && *price >= level(cell + 1)).collect();
        let fallen: Vec<usize> =
            (0..20).filter(|cell| !held[*cell] && *price <= level(*cell) && level(*cell) < last).collect();
        if ripe.is_empty() {
            last = *price;
            fallen.iter().for_each(|cell| held[*cell] = true);
        } else {
            last = last.max(*price);
            ripe.iter().for_each(|cell| held[*cell] = false);
        }
        let any = held.contains(&true);
        expected.push(match (ripe.is_empty(), fallen.is_empty()) {
            (false, _) => "close_long",
            (true, false) => "open_long",
            (true, true) if any => "hold",
            (true, true) => "wait",
        });
    }
    assert_eq!(walked.actions, expected);
    assert!(walked.count("open_long") > 5 && walked.count("close_long") > 5, "too quiet a history to prove anything");
    let cells = walked.strategy["runtime_state"]["filled_buys"].as_array().unwrap();
    assert_eq!(cells.len(), held.iter().filter(|held| **held).count());
    let owned: f64 = cells.iter().map(|cell| cell["quantity"].as_f64().unwrap()).sum();
    let size = walked.balance["positions"][0]["size"].as_f64().unwrap_or(0.0);
    assert!((owned - size).abs() < 1e-9, "the cells hold {owned}, the account {size}");
}

#[tokio::test]
async fn dca_buys_at_every_interval_and_takes_profit_sqlite() {
    dca_buys_at_every_interval_and_takes_profit(Engine::Sqlite).await;
}
#[tokio::test]
async fn dca_buys_at_every_interval_and_takes_profit_postgres() {
    dca_buys_at_every_interval_and_takes_profit(Engine::Postgres).await;
}
async fn dca_buys_at_every_interval_and_takes_profit(engine: Engine) {
    let config = json!({
        "order_amount": 100, "interval_minutes": 240, "take_profit_percent": 2, "total_budget": 0, "max_orders": 30,
    });
    let walked = walk(engine, "dca", &config).await;
    assert_eq!(walked.actions[0], "open_long");
    assert!(walked.count("close_long") >= 1, "too quiet a history to prove anything");
    let (mut quantity, mut cost, mut last_purchase) = (Decimal::ZERO, Decimal::ZERO, None);
    for (n, decision) in walked.decisions.iter().enumerate() {
        let result = &decision["execution_results"][0];
        let number = |value: &Value| value.to_string().parse::<Decimal>().unwrap();
        match walked.actions[n].as_str() {
            "open_long" => {
                assert!(last_purchase.is_none_or(|last| n - last >= 4), "cycle {n} buys too early");
                quantity += number(&result["order_result"]["filled_size"]);
                cost += number(&result["actual_size_usd"]);
                last_purchase = Some(n);
            }
            "close_long" => {
                let target = cost / quantity * Decimal::new(102, 2);
                assert!(number(&decision["market_snapshot"]["price"]) >= target, "cycle {n} sells too early");
                assert_eq!(number(&result["order_result"]["filled_size"]), quantity);
                assert!(result["realized_pnl"].as_f64().unwrap() > 0.0);
                (quantity, cost) = (Decimal::ZERO, Decimal::ZERO);
            }
            _ => assert_eq!(result, &Value::Null),
        }
    }
    assert_eq!(walked.strategy["winning_trades"], walked.strategy["total_trades"]);
}
