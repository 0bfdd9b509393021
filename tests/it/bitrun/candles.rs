//! The candles of the scenarios: bitcoin in January 2025 where the shared data lie above the workspace, a series of
//! their own elsewhere. And: how candles come in.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use domain::trading::candle::{Candle, Symbol, Timeframe};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use tests::engine::Engine;
use tests::server::TestServer;

pub(super) const SYMBOL: &str = "BTC/USDT:USDT";

pub(super) fn symbol() -> Symbol {
    SYMBOL.parse().unwrap()
}

/// A file of the shared data.
fn shared(name: &str) -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("shared/data").join(name)).find(|file| file.is_file())
}

fn beginning() -> DateTime<Utc> {
    "2025-01-01T00:00:00Z".parse().unwrap()
}

/// Hourly candles of a market that swings by some ten percent.
pub(super) fn hourly() -> Vec<Candle> {
    let own = || (0..320).map(|hour| flat(hour, swing(hour))).collect();
    shared("btcusdt-1h-2025-01.csv").map_or_else(own, |file| {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().skip(1).map(candle).collect()
    })
}

/// Hourly candles at these prices, from the beginning of 2025 on.
pub(super) fn at_prices(prices: &[i64]) -> Vec<Candle> {
    (0..).zip(prices).map(|(hour, price)| flat(hour, Decimal::from(*price))).collect()
}

fn flat(hour: i64, price: Decimal) -> Candle {
    let open_time = beginning() + TimeDelta::hours(hour);
    Candle { open_time, open: price, high: price, low: price, close: price, volume: Decimal::ONE }
}

fn swing(hour: i64) -> Decimal {
    let hour = f64::from(i32::try_from(hour).unwrap());
    Decimal::from_f64(97_000.0 + 5_000.0 * (hour / 11.0).sin() + 900.0 * (hour / 2.3).sin()).unwrap().round_dp(2)
}

fn candle(line: &str) -> Candle {
    let cells: Vec<&str> = line.split(',').collect();
    let number = |n: usize| cells[n].parse::<Decimal>().unwrap();
    Candle {
        open_time: DateTime::from_timestamp_micros(cells[0].parse().unwrap()).unwrap(),
        open: number(1),
        high: number(2),
        low: number(3),
        close: number(4),
        volume: number(5),
    }
}

pub(super) async fn keep(server: &TestServer, candles: &[Candle]) -> u64 {
    server.market().keep(&symbol(), Timeframe::OneHour, candles).await.unwrap()
}

/// A CSV file with these candles and, behind them, `more`.
fn csv(folder: &Path, candles: &[Candle], more: &str) -> PathBuf {
    let line = |c: &Candle| {
        let millis = c.open_time.timestamp_millis();
        format!("{millis},{},{},{},{},{}\n", c.open, c.high, c.low, c.close, c.volume)
    };
    let lines: String = candles.iter().map(line).collect();
    let file = folder.join("candles.csv");
    std::fs::write(&file, format!("open_time,open,high,low,close,volume\n{lines}{more}")).unwrap();
    file
}

#[tokio::test]
async fn candles_are_imported_once_sqlite() {
    candles_are_imported_once(Engine::Sqlite).await;
}
#[tokio::test]
async fn candles_are_imported_once_postgres() {
    candles_are_imported_once(Engine::Postgres).await;
}
async fn candles_are_imported_once(engine: Engine) {
    let server = TestServer::start(engine).await;
    let head = server.head().await;
    let (folder, candles) = (tempfile::tempdir().unwrap(), hourly());
    let import =
        async |file: &Path| api::market::import_candles(server.config(), &symbol(), Timeframe::OneHour, file).await;
    let first = import(&csv(folder.path(), &candles[..100], "")).await.unwrap();
    assert_eq!(first, "100 candles of BTC/USDT:USDT (1h) imported, 0 were there before");
    let second = import(&csv(folder.path(), &candles[50..200], "")).await.unwrap();
    assert_eq!(second, "100 candles of BTC/USDT:USDT (1h) imported, 50 were there before");
    let broken = import(&csv(folder.path(), &candles[200..201], "1735689600001,1,1,1,1,1\n")).await.unwrap_err();
    assert!(
        broken.ends_with("line 3: open_time is not the start of a candle of 1h. Nothing was imported."),
        "{broken}"
    );
    let kept = server.market().candles(&symbol(), Timeframe::OneHour, Utc::now(), 1_000).await.unwrap();
    assert_eq!(kept, candles[..200]);
    let moment = candles[120].closed_at(Timeframe::OneHour);
    let seen = server.market().candles(&symbol(), Timeframe::OneHour, moment, 3).await.unwrap();
    assert_eq!(seen, candles[118..=120], "only what was closed at the moment, the oldest first");
    assert_eq!(server.head().await, head, "candles are no events");
}

#[tokio::test]
async fn the_newest_price_is_of_the_shortest_candle_that_closed_last() {
    let server = TestServer::start(Engine::Sqlite).await;
    let hours = at_prices(&[100, 101]);
    keep(&server, &hours).await;
    let quarter = Candle { open_time: hours[1].open_time + TimeDelta::minutes(45), ..flat(0, 102.into()) };
    server.market().keep(&symbol(), Timeframe::QuarterHour, std::slice::from_ref(&quarter)).await.unwrap();
    let last = server.market().last(&symbol(), Utc::now()).await.unwrap();
    assert_eq!(last, Some((Timeframe::QuarterHour, quarter)));
    let earlier = server.market().last(&symbol(), hours[1].open_time).await.unwrap();
    assert_eq!(earlier, Some((Timeframe::OneHour, hours[0].clone())));
    assert_eq!(server.market().last(&"ETH/USDT".parse().unwrap(), Utc::now()).await.unwrap(), None);
}
