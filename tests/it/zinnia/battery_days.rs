//! Thirty-eight days of a real battery (Mark Miller's mcm-battery-2026, CC BY 4.0), where the shared data lie above the
//! workspace; a battery of our own elsewhere. What the server says of them is compared with what is computed here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use api::surface::Surface;
use chrono::{DateTime, TimeDelta, Utc};
use commands::Clock;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::server::{Client, TestServer};

use super::devices::device;

/// One reading of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: DateTime<Utc>,
    pub(super) level: i64,
    pub(super) charging: bool,
    pub(super) temperature: f64,
    pub(super) voltage: f64,
}

impl Sample {
    pub(super) fn report(&self) -> Value {
        json!({ "battery_level": self.level, "is_charging": self.charging, "temperature": self.temperature,
            "voltage": self.voltage, "recorded_at": self.at })
    }
}

/// The readings, the oldest first.
pub(super) fn samples() -> Vec<Sample> {
    let mut samples = shared("phone-battery-2026.csv").map_or_else(own, |file| from_file(&file));
    samples.sort_by_key(|sample| sample.at);
    samples
}

fn shared(name: &str) -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("shared/data").join(name)).find(|file| file.is_file())
}

fn from_file(file: &Path) -> Vec<Sample> {
    let mut reader = csv::Reader::from_path(file).unwrap();
    let rows = reader.deserialize::<BTreeMap<String, String>>();
    let sample = |row: BTreeMap<String, String>| {
        let number = |column: &str| row[column].parse::<f64>().unwrap();
        #[expect(clippy::cast_possible_truncation, reason = "levels and microseconds are whole and small")]
        let whole = |number: f64| number.round() as i64;
        Sample {
            at: DateTime::from_timestamp_micros(whole(number("timestamp") * 1e6)).unwrap(),
            level: whole(number("CurrentCapacity")),
            charging: row["IsCharging"] == "1",
            temperature: number("Temperature") / 100.0,
            voltage: number("Voltage") / 1_000.0,
        }
    };
    rows.map(|row| sample(row.unwrap())).collect()
}

/// A battery that falls by a point every 17 minutes and is charged when it is low.
fn own() -> Vec<Sample> {
    let begin: DateTime<Utc> = "2025-12-26T00:17:56Z".parse().unwrap();
    let (mut level, mut charging) = (80, false);
    let sample = |n: i64| {
        charging = level <= 15 || (charging && level < 95);
        level += if charging { 3 } else { -1 };
        Sample { at: begin + TimeDelta::seconds(n * 1_020 + n % 7), level, charging, temperature: 25.5, voltage: 3.8 }
    };
    (0..3_091).map(sample).collect()
}

#[tokio::test]
async fn a_real_battery_is_seen_as_it_was_sqlite() {
    a_real_battery_is_seen_as_it_was(Engine::Sqlite).await;
}
#[tokio::test]
async fn a_real_battery_is_seen_as_it_was_postgres() {
    a_real_battery_is_seen_as_it_was(Engine::Postgres).await;
}
async fn a_real_battery_is_seen_as_it_was(engine: Engine) {
    let samples = samples();
    let end = samples.last().unwrap().at + TimeDelta::minutes(1);
    let server = TestServer::start_by(engine, Clock::reading(move || end)).await;
    let owner = server.user(Surface::Zinnia);
    let (id, key) = device(&owner, "phone").await;
    let config = json!({ "report_interval_seconds": 600 });
    owner.put(&format!("/api/v1/devices/{id}/config"), config).await.expect(200);
    let reporter = server.anonymous().with("x-api-key", &key);
    let mut inserted = 0;
    // The newest first, so that nearly all of them are late.
    for some in samples.rchunks(1_000) {
        let data: Vec<Value> = some.iter().map(Sample::report).collect();
        let answer = reporter.post("/api/v1/battery/batch-report", json!({ "data": data })).await.expect(200);
        inserted += answer.at("/data/inserted_count").as_u64().unwrap();
    }
    assert_eq!(inserted, samples.len() as u64);
    let latest = owner.get(&format!("/api/v1/battery/latest/{id}")).await.expect(200);
    assert_eq!(latest.at("/data/battery_level"), samples.last().unwrap().level);
    for (from, to) in [(samples[0].at, samples[0].at + TimeDelta::days(30)), (end - TimeDelta::hours(100), end)] {
        let within: Vec<Sample> =
            samples.iter().copied().filter(|sample| sample.at >= from && sample.at <= to).collect();
        let asked = Asked { owner: &owner, id: &id, from, to, samples: &samples, within: &within };
        asked.history_is_right().await;
        asked.sums_are_right().await;
        asked.stats_are_right().await;
    }
}

/// One stretch of time that is asked about.
struct Asked<'a> {
    owner: &'a Client,
    id: &'a str,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    samples: &'a [Sample],
    within: &'a [Sample],
}

impl Asked<'_> {
    fn range(&self) -> String {
        let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        format!("{}?start_time={}&end_time={}", self.id, time(self.from), time(self.to))
    }

    async fn history_is_right(&self) {
        let mut seen = Vec::new();
        loop {
            let path = format!("/api/v1/battery/history/{}&limit=1000&offset={}", self.range(), seen.len());
            let page = self.owner.get(&path).await.expect(200).at("/data").as_array().unwrap().clone();
            if page.is_empty() {
                break;
            }
            seen.extend(page);
        }
        assert_eq!(seen.len(), self.within.len());
        for (shown, sample) in seen.iter().zip(self.within.iter().rev()) {
            let at: DateTime<Utc> = shown["recorded_at"].as_str().unwrap().parse().unwrap();
            assert_eq!((at, &shown["battery_level"]), (sample.at, &json!(sample.level)));
            assert_eq!(
                (&shown["temperature"], &shown["voltage"]),
                (&json!(sample.temperature), &json!(sample.voltage))
            );
        }
    }

    async fn sums_are_right(&self) {
        for (interval, seconds) in [("minute", 60), ("hour", 3_600), ("day", 86_400)] {
            let mut buckets: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
            for sample in self.within {
                buckets.entry(sample.at.timestamp() / seconds * seconds).or_default().push(sample.level);
            }
            let expected: Vec<Value> = buckets.iter().rev().map(|(start, levels)| bucket(*start, levels)).collect();
            let path = format!("/api/v1/battery/aggregated/{}&interval={interval}", self.range());
            assert_eq!(self.owner.get(&path).await.expect(200).at("/data"), &Value::Array(expected), "{interval}");
        }
    }

    async fn stats_are_right(&self) {
        let levels = || self.within.iter().map(|sample| sample.level);
        let next = |sample: &Sample| self.samples.iter().find(|later| later.at > sample.at);
        // The device reports every 600 seconds: nobody knows what it does after twice that long.
        let charged = self.samples.iter().filter(|sample| sample.charging).filter_map(|sample| {
            let until = next(sample)?.at.min(sample.at + TimeDelta::seconds(1_200)).min(self.to);
            Some((until - sample.at.max(self.from)).max(TimeDelta::zero()).as_seconds_f64() / 60.0)
        });
        let minutes: f64 = charged.sum();
        let stats = self.owner.get(&format!("/api/v1/battery/stats/{}", self.range())).await.expect(200);
        let shown = stats.at("/data/charging_duration_minutes").as_f64().unwrap();
        assert!((shown - minutes).abs() <= 0.051, "{shown} minutes, not {minutes}");
        assert_eq!(stats.at("/data/total_records"), self.within.len());
        assert_eq!(stats.at("/data/min_battery_level").as_i64(), levels().min());
        assert_eq!(stats.at("/data/max_battery_level").as_i64(), levels().max());
        assert_eq!(stats.at("/data/low_battery_count"), levels().filter(|level| *level < 20).count());
        assert_eq!(stats.at("/data/avg_battery_level"), mean(&levels().collect::<Vec<_>>()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "levels are small")]
fn mean(levels: &[i64]) -> f64 {
    (levels.iter().sum::<i64>() as f64 / levels.len() as f64 * 100.0).round() / 100.0
}

fn bucket(start: i64, levels: &[i64]) -> Value {
    let start = DateTime::from_timestamp(start, 0).unwrap();
    json!({ "bucket": start, "avg_level": mean(levels), "min_level": levels.iter().min(),
        "max_level": levels.iter().max(), "count": levels.len() })
}
