//! Questions to a store of 30 days of readings, one a minute: more readings are more devices.

use std::path::Path;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use commands::Clock;
use commands::gateways::readings::{BatteryReadings, Report, SqliteReadings};
use domain::devices::reading::{BatteryReading, PowerSaving};
use tests::program::Installation;
use uuid::Uuid;

use super::BATCH;
use super::reporting;
use crate::http::connection;
use crate::http::over_http::driven;
use crate::measure::{Load, runtime};
use crate::settings::Settings;
use crate::stores;

const CLIENTS: usize = 4;
const READINGS_OF_ONE: usize = 30 * 24 * 60;

/// A load, and how many readings there were.
pub(super) struct Asked {
    pub(super) readings: f64,
    pub(super) load: Load,
}

/// How many devices there are, in each round.
pub(super) fn sizes(settings: &Settings) -> Vec<usize> {
    if settings.events < 1_000_000 { vec![24] } else { vec![24, 232] }
}

/// What each question takes with `devices` devices.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark stay far below 2^52")]
pub(super) fn loads(settings: &Settings, devices: usize) -> Vec<(&'static str, Asked)> {
    let (preparing, data) = (runtime(), stores::directory());
    let installation = Installation { data_dir: data.path().to_owned(), database_url: None };
    let program = installation.serve();
    let (_, made) = preparing.block_on(reporting::devices(&program, devices));
    assert!(program.terminate().success());
    let ids: Vec<Uuid> = made.iter().map(|(id, _)| id.parse().unwrap()).collect();
    let now = Clock::system().now().trunc_subsecs(0);
    preparing.block_on(fill(&data.path().join("battery.db"), &ids, now));
    let program = installation.serve();
    let owner = preparing.block_on(reporting::owner(&program));
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let range = format!("?start_time={}&end_time={}", time(now - TimeDelta::days(30)), time(now));
    let each = settings.requests / 100;
    let readings = (devices * READINGS_OF_ONE) as f64;
    let questions = [
        ("latest", "latest", ""),
        ("history, 100 of 30 days", "history", &*range),
        ("30 days by hour", "aggregated", &*range),
        ("stats of 30 days", "stats", &*range),
    ];
    let loads = questions.map(|(what, question, query)| {
        let path = |n: usize| format!("/api/v1/battery/{question}/{}{query}", ids[n % ids.len()]);
        let request = |n: usize| connection::get(&path(n), owner.token().unwrap());
        let requests: Vec<Vec<Vec<u8>>> =
            (0..CLIENTS).map(|client| (0..each).map(|n| request(client * each + n)).collect()).collect();
        (what, Asked { readings, load: driven(program.address(), &requests).0 })
    });
    assert!(program.terminate().success());
    loads.into()
}

async fn fill(file: &Path, devices: &[Uuid], now: DateTime<Utc>) {
    let readings = SqliteReadings::open(file).await.unwrap();
    let begin = now - TimeDelta::days(30);
    for first in (0..READINGS_OF_ONE).step_by(BATCH) {
        // As they would come in: all devices, then all devices a little later.
        let reports = devices.iter().map(|device| {
            let last = (first + BATCH).min(READINGS_OF_ONE);
            readings.append((first..last).map(|n| report(*device, begin, n)).collect())
        });
        for outcome in futures::future::join_all(reports).await {
            outcome.unwrap();
        }
    }
}

fn report(device: Uuid, begin: DateTime<Utc>, n: usize) -> Report {
    let recorded_at = begin + TimeDelta::minutes(i64::try_from(n).unwrap());
    let reading = BatteryReading {
        device,
        recorded_at,
        level: u8::try_from(100 - n / 7 % 100).unwrap(),
        is_charging: n % 1_000 < 200,
        power_saving: PowerSaving::Off,
        temperature: Some(25.5),
        voltage: Some(3.85),
    };
    Report { reading, received_at: recorded_at }
}
