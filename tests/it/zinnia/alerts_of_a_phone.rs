//! The readings of a phone over 38 days, as fast as they go, and the alerts that follow from them: computed here once
//! more, from the readings alone, rule by rule.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tests::engine::Engine;

use super::alerts::{Scene, noon};

const COOLDOWN: TimeDelta = TimeDelta::minutes(30);
const OFFLINE_AFTER: TimeDelta = TimeDelta::hours(1);
const TYPES: [&str; 5] = ["low_battery", "critical_battery", "high_temperature", "device_offline", "rapid_drain"];
/// Degrees, hundredths.
const HOT: i32 = 3_500;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: DateTime<Utc>,
    level: u8,
    charging: bool,
    /// Hundredths of a degree.
    temperature: i32,
}

/// A raised alert: when, and of which type.
type Raised = (DateTime<Utc>, &'static str);

fn shared(name: &str) -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("shared/data").join(name)).find(|file| file.is_file())
}

/// The readings of the phone where they lie above the workspace, a series of their own elsewhere.
fn samples() -> Vec<Sample> {
    shared("phone-battery-2026.csv").map_or_else(own, |file| {
        let mut reader = csv::Reader::from_path(file).unwrap();
        let names = reader.headers().unwrap().clone();
        let column = |name: &str| names.iter().position(|found| found == name).unwrap();
        let columns = ["timestamp", "StateOfCharge", "IsCharging", "Temperature"].map(column);
        let sample = |record: csv::StringRecord| {
            let [at, level, charging, temperature] = columns.map(|column| record[column].to_owned());
            Sample {
                at: of_seconds(&at),
                level: level.parse().unwrap(),
                charging: charging == "1",
                temperature: temperature.parse().unwrap(),
            }
        };
        reader.records().map(|record| sample(record.unwrap())).collect()
    })
}

/// `1766708276.821166`, in microseconds, without a float in between.
fn of_seconds(text: &str) -> DateTime<Utc> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let micros = format!("{fraction:0<6}");
    DateTime::from_timestamp_micros(seconds.parse::<i64>().unwrap() * 1_000_000 + micros[..6].parse::<i64>().unwrap())
        .unwrap()
}

/// Ten days of draining by day, charging by night, some heat and some silence.
fn own() -> Vec<Sample> {
    let sample = |minute: i64| {
        let in_day = minute % 1_440;
        let level = if in_day < 1_000 { 100 - in_day / 10 } else { (in_day - 1_000) / 4 };
        let steep = if (300..360).contains(&in_day) { (in_day - 300) / 3 } else { 0 };
        Sample {
            at: noon() + TimeDelta::minutes(minute),
            level: u8::try_from((level - steep).clamp(1, 100)).unwrap(),
            charging: in_day >= 1_000,
            temperature: 3_000 + i32::try_from(in_day % 700).unwrap(),
        }
    };
    (0..1_440).map(|n| n * 10).filter(|minute| minute % 1_440 < 700 || minute % 1_440 > 850).map(sample).collect()
}

/// What rules of all types raise. Thresholds: 20 %, 10 %, 35 °C, an hour of silence, 20 points an hour.
fn predicted(samples: &[Sample]) -> Vec<Raised> {
    let mut raised = [charges(samples), heat(samples), silence(samples), drains(samples)].concat();
    raised.sort_unstable();
    raised
}

fn cool(last: Option<DateTime<Utc>>, at: DateTime<Utc>) -> bool {
    last.is_none_or(|last| at - last >= COOLDOWN)
}

/// Low and critical, of which the worse one is told.
fn charges(samples: &[Sample]) -> Vec<Raised> {
    let (mut raised, mut low, mut critical) = (Vec::new(), false, false);
    let last = |raised: &[Raised], of: &str| raised.iter().rev().find(|(_, kind)| *kind == of).map(|(at, _)| *at);
    for sample in samples {
        let Sample { at, level, charging, .. } = *sample;
        if charging || level >= 15 {
            critical = false;
        }
        if charging || level >= 25 {
            low = false;
        }
        if charging {
            continue;
        }
        if level < 10 && !critical && cool(last(&raised, "critical_battery"), at) {
            critical = true;
            raised.push((at, "critical_battery"));
        }
        if critical || level < 10 {
            low = false;
        } else if level < 20 && !low && cool(last(&raised, "low_battery"), at) {
            low = true;
            raised.push((at, "low_battery"));
        }
    }
    raised
}

/// Above 35 °C until it is 33 °C or less.
fn heat(samples: &[Sample]) -> Vec<Raised> {
    let (mut raised, mut hot) = (Vec::<Raised>::new(), false);
    for sample in samples {
        hot &= sample.temperature > HOT - 200;
        if sample.temperature > HOT && !hot && cool(raised.last().map(|(at, _)| *at), sample.at) {
            hot = true;
            raised.push((sample.at, "high_temperature"));
        }
    }
    raised
}

/// Each hour without a reading.
fn silence(samples: &[Sample]) -> Vec<Raised> {
    let gaps = samples.windows(2).filter(|pair| pair[1].at - pair[0].at > OFFLINE_AFTER);
    gaps.map(|pair| (pair[0].at + OFFLINE_AFTER, "device_offline")).collect()
}

/// 20 points within an hour without charging, seen over half an hour at least; until it is 15 or less.
fn drains(samples: &[Sample]) -> Vec<Raised> {
    let (mut raised, mut draining, mut window) = (Vec::<Raised>::new(), false, VecDeque::<Sample>::new());
    for sample in samples {
        if sample.charging {
            window.clear();
            draining = false;
            continue;
        }
        window.retain(|older| sample.at - older.at <= TimeDelta::hours(1));
        let lost = window.front().filter(|oldest| sample.at - oldest.at >= TimeDelta::minutes(30));
        let lost = lost.map(|oldest| i16::from(oldest.level) - i16::from(sample.level));
        // Readings that crowd do not count twice.
        if window.back().is_none_or(|newest| sample.at - newest.at >= TimeDelta::seconds(30)) {
            window.push_back(*sample);
        }
        let Some(lost) = lost else { continue };
        draining &= lost > 15;
        if lost >= 20 && !draining && cool(raised.last().map(|(at, _)| *at), sample.at) {
            draining = true;
            raised.push((sample.at, "rapid_drain"));
        }
    }
    raised
}

#[tokio::test]
async fn the_readings_of_a_phone_raise_what_was_predicted_sqlite() {
    raise_what_was_predicted(Engine::Sqlite).await;
}
#[tokio::test]
async fn the_readings_of_a_phone_raise_what_was_predicted_postgres() {
    raise_what_was_predicted(Engine::Postgres).await;
}
async fn raise_what_was_predicted(engine: Engine) {
    let (samples, began) = (samples(), std::time::Instant::now());
    let predicted = predicted(&samples);
    let scene = Scene::with_rules_at(engine, &TYPES, samples[0].at).await;
    let settings = json!({
        "high_temperature_threshold": f64::from(HOT) / 100.0, "offline_after_seconds": OFFLINE_AFTER.num_seconds()
    });
    scene.owner.put(&format!("/api/v1/devices/{}/config", scene.id), settings).await.expect(200);
    let (mut silences, mut last) = (0, samples[0].at);
    for sample in &samples {
        if sample.at - last > OFFLINE_AFTER {
            silences += 1;
            scene.time.set(last + OFFLINE_AFTER);
            scene.alerts("alert_type=device_offline&page_size=1", silences).await;
        }
        last = sample.at;
        scene.time.set(last);
        let body = json!({
            "battery_level": sample.level, "is_charging": sample.charging,
            "temperature": f64::from(sample.temperature) / 100.0, "recorded_at": sample.at,
        });
        scene.say(body).await;
    }
    scene.judged().await;
    let raised = raised(&scene, predicted.len() as u64).await;
    for of in TYPES {
        let count = predicted.iter().filter(|(_, kind)| *kind == of).count();
        assert!(count > 0, "{of} is never raised, so nothing is shown about it");
    }
    assert_eq!(raised, predicted);
    let speed = (last - samples[0].at).as_seconds_f64() / began.elapsed().as_secs_f64();
    assert!(speed > 1_000.0, "replayed at {speed:.0} times its speed");
}

/// Every alert that was raised, in order.
async fn raised(scene: &Scene, count: u64) -> Vec<Raised> {
    let mut raised = Vec::new();
    for page in 1..=count.div_ceil(100) {
        let alerts = scene.alerts(&format!("page={page}&page_size=100"), count).await;
        raised.extend(alerts.iter().map(|alert: &Value| {
            let kind = TYPES.into_iter().find(|kind| alert["alert_type"] == *kind).unwrap();
            (alert["triggered_at"].as_str().unwrap().parse().unwrap(), kind)
        }));
    }
    raised.sort_unstable();
    raised
}
