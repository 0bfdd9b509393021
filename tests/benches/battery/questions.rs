//! Questions to a store of 30 days of readings, one a minute: more readings are more devices.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use commands::Clock;
use commands::gateways::readings::{BatteryReadings, Report, SqliteReadings};
use commands::log::ReadOnlySqliteLog;
use domain::devices::reading::{BatteryReading, PowerSaving};
use domain::log::Log as _;
use tempfile::TempDir;
use tests::program::Installation;
use uuid::Uuid;

use super::BATCH;
use super::reporting;
use crate::http::connection;
use crate::http::over_http::driven;
use crate::measure::runtime;
use crate::settings::Settings;
use crate::stores;
use crate::table::{Table, milliseconds, whole};

const READINGS_OF_ONE: usize = 30 * 24 * 60;
const CLIENTS: [usize; 2] = [1, 4];
/// A million and ten million readings.
const SIZES: [(&str, usize); 2] = [("battery.questions.million", 24), ("battery.questions.ten_million", 232)];
/// The longest that p99 may be, where there is such an aim.
const LATEST_MAX: Duration = Duration::from_millis(5);
const HOURS_MAX: Duration = Duration::from_millis(20);

/// What each question takes, with more and more readings; and how fast the watch over alerts gets through them.
pub(super) fn tables(settings: &Settings) -> String {
    let columns = ["what", "readings in all", "clients", "requests/s", "p50", "p99"];
    let mut asked = Table::new("Questions about one battery over HTTP, SQLite", &columns);
    let mut watch = Table::new("Readings judged by the watch over alerts, SQLite", &["readings", "judged/s"]);
    for (_, devices) in SIZES.into_iter().filter(|(name, _)| settings.wants(name)) {
        let filled = Filled::with(devices);
        watch.row(&[whole(filled.readings()), whole(filled.judged_per_second())]);
        filled.ask(settings, &mut asked);
    }
    asked.into_text() + "\n" + &watch.into_text()
}

/// An installation full of readings.
struct Filled {
    data: TempDir,
    devices: Vec<Uuid>,
    now: DateTime<Utc>,
}

impl Filled {
    fn with(devices: usize) -> Self {
        let (preparing, data) = (runtime(), stores::directory());
        let program = installation(&data).serve();
        let (_, made) = preparing.block_on(reporting::devices(&program, devices));
        assert!(program.terminate().success());
        let devices: Vec<Uuid> = made.iter().map(|(id, _)| id.parse().unwrap()).collect();
        let now = Clock::system().now().trunc_subsecs(0);
        preparing.block_on(fill(&data.path().join("battery.db"), &devices, now));
        Self { data, devices, now }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark stay far below 2^52")]
    fn readings(&self) -> f64 {
        (self.devices.len() * READINGS_OF_ONE) as f64
    }

    /// The watch has never seen the readings: it judges all of them, and nobody asks meanwhile.
    fn judged_per_second(&self) -> f64 {
        let program = installation(&self.data).serve();
        let begun = Instant::now();
        let log = ReadOnlySqliteLog::open(&self.data.path().join("log.db")).unwrap();
        let all = (self.devices.len() * READINGS_OF_ONE) as u64;
        runtime().block_on(async {
            while log.reader_position("gateway:alert_watch").await.unwrap() < all {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let took = begun.elapsed();
        assert!(program.terminate().success());
        self.readings() / took.as_secs_f64()
    }

    fn ask(&self, settings: &Settings, table: &mut Table) {
        let program = installation(&self.data).serve();
        let owner = runtime().block_on(reporting::owner(&program));
        let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
        let range = format!("?start_time={}&end_time={}", time(self.now - TimeDelta::days(30)), time(self.now));
        let questions = [
            ("latest", "latest", "", Some(LATEST_MAX)),
            ("history, 100 of 30 days", "history", &*range, None),
            ("30 days by hour", "aggregated", &*range, Some(HOURS_MAX)),
            ("stats of 30 days", "stats", &*range, None),
        ];
        for (what, question, query, aim) in questions {
            for clients in CLIENTS {
                let path = |n| format!("/api/v1/battery/{question}/{}{query}", self.devices[n % self.devices.len()]);
                let request = |n| connection::get(&path(n), owner.token().unwrap());
                let each = settings.requests / 40;
                let requests: Vec<Vec<Vec<u8>>> =
                    (0..clients).map(|client| (0..each).map(|n| request(client * each + n)).collect()).collect();
                let load = driven(program.address(), &requests).0;
                let (readings, milli) = (whole(self.readings()), |time: Duration| time.as_secs_f64() * 1_000.0);
                if let Some(aim) = aim {
                    let what = format!("{what}, p99, {readings} readings, clients: {clients}");
                    settings.aims.under(what, milli(aim), milli(load.p99), " ms");
                }
                let (clients, per_second) = (clients.to_string(), whole(load.per_second));
                let times = [milliseconds(load.p50), milliseconds(load.p99)];
                table.row(&[[what.to_owned(), readings, clients, per_second].as_slice(), &times].concat());
            }
        }
        assert!(program.terminate().success());
    }
}

fn installation(data: &TempDir) -> Installation {
    Installation { data_dir: data.path().to_owned(), database_url: None }
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
