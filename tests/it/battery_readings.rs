//! What both engines of the battery readings promise.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, TimeZone, Utc};
use commands::gateways::readings::{
    BatteryReadings, BucketWidth, PostgresReadings, Report, SqliteReadings, StoredReading, Stretch,
};
use domain::devices::reading::{BatteryReading, PowerSaving};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tests::engine::Engine;
use tests::postgres::Database;
use uuid::Uuid;

/// Where readings are kept; dropped with this value.
struct Place {
    directory: TempDir,
    database: Option<Database>,
}

impl Place {
    async fn new(engine: Engine) -> Self {
        let database = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Database::create().await),
        };
        Self { directory: TempDir::new().unwrap(), database }
    }

    async fn open(&self) -> Arc<dyn BatteryReadings> {
        match &self.database {
            Some(database) => Arc::new(PostgresReadings::connect(&database.url()).await.unwrap()),
            None => Arc::new(SqliteReadings::open(&self.directory.path().join("battery.db")).await.unwrap()),
        }
    }
}

macro_rules! holds_for_both {
    ($($case:ident: $sqlite:ident, $postgres:ident;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $sqlite() {
                $case(Place::new(Engine::Sqlite).await).await;
            }
            #[tokio::test(flavor = "multi_thread")]
            async fn $postgres() {
                $case(Place::new(Engine::Postgres).await).await;
            }
        )+
    };
}
holds_for_both! {
    the_first_reading_stays: the_first_reading_stays_sqlite, the_first_reading_stays_postgres;
    late_readings_find_their_place: late_readings_find_their_place_sqlite, late_readings_find_their_place_postgres;
    a_follower_sees_everything_once: a_follower_sees_everything_once_sqlite, a_follower_sees_everything_once_postgres;
    sums_agree_with_the_readings: sums_agree_with_the_readings_sqlite, sums_agree_with_the_readings_postgres;
    charging_counts_within_the_stretch: charging_counts_within_the_stretch_sqlite,
        charging_counts_within_the_stretch_postgres;
    old_readings_go_and_their_sums_stay: old_readings_go_and_their_sums_stay_sqlite,
        old_readings_go_and_their_sums_stay_postgres;
    a_forgotten_device_leaves_nothing: a_forgotten_device_leaves_nothing_sqlite,
        a_forgotten_device_leaves_nothing_postgres;
}

fn device(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn at(minutes: i64) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 10, 0, 0, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn report(device: Uuid, minutes: i64, level: u8) -> Report {
    let reading = BatteryReading {
        device,
        recorded_at: at(minutes),
        level,
        is_charging: false,
        power_saving: PowerSaving::Medium,
        temperature: Some(21.25),
        voltage: None,
    };
    Report { reading, received_at: at(minutes) + TimeDelta::seconds(1) }
}

fn stretch(from: i64, until: i64) -> Stretch {
    Stretch { device: device(1), from: at(from), until: at(until) }
}

async fn the_first_reading_stays(place: Place) {
    let readings = place.open().await;
    let first = report(device(1), 0, 80);
    let accepted = readings.append(vec![first.clone()]).await.unwrap();
    assert_eq!((accepted.new, &accepted.kept[0].reading), (1, &first.reading));
    let again = Report { received_at: at(9), ..report(device(1), 0, 3) };
    let repeated = readings.append(vec![again.clone(), report(device(1), 1, 79), again]).await.unwrap();
    assert_eq!(repeated.new, 1);
    assert_eq!([&repeated.kept[0], &repeated.kept[2]], [&accepted.kept[0], &accepted.kept[0]]);
    let twice = readings.append(vec![report(device(1), 2, 78), report(device(1), 2, 11)]).await.unwrap();
    assert_eq!((twice.new, twice.kept[0].reading.level, twice.kept[1].reading.level), (1, 78, 78));
    // Somebody who repeats himself is heard all the same.
    assert_eq!(readings.last_seen(&[device(1), device(2)]).await.unwrap(), [(device(1), at(9))].into());
    let history = readings.history(stretch(0, 10), 10, 0).await.unwrap();
    assert_eq!(history.iter().map(|kept| kept.reading.level).collect::<Vec<_>>(), [78, 79, 80]);
    let sum = readings.summary(stretch(0, 60), TimeDelta::minutes(2)).await.unwrap().unwrap();
    assert_eq!((sum.levels.readings, sum.levels.min, sum.levels.max), (3, 78, 80));
    // And after a restart.
    drop(readings);
    let readings = place.open().await;
    assert_eq!(readings.latest(device(1)).await.unwrap().as_ref(), Some(&twice.kept[0]));
    assert!(readings.append(Vec::new()).await.unwrap().kept.is_empty());
}

async fn late_readings_find_their_place(place: Place) {
    let readings = place.open().await;
    readings.append(vec![report(device(1), 100, 50), report(device(2), 7, 9)]).await.unwrap();
    let late = Report { received_at: at(101), ..report(device(1), 40, 70) };
    assert_eq!(readings.append(vec![late]).await.unwrap().new, 1);
    assert_eq!(readings.latest(device(1)).await.unwrap().unwrap().reading.level, 50);
    assert_eq!(readings.last_seen(&[device(1)]).await.unwrap()[&device(1)], at(101));
    let hours = readings.aggregated(stretch(0, 120), BucketWidth::Hour).await.unwrap();
    assert_eq!(hours.iter().map(|hour| (hour.start, hour.levels.sum)).collect::<Vec<_>>(), [(at(60), 50), (at(0), 70)]);
    assert_eq!(readings.history(stretch(0, 120), 1, 1).await.unwrap()[0].reading.recorded_at, at(40));
    assert_eq!(readings.latest(device(3)).await.unwrap(), None);
    let recent = async |minutes, limit| {
        let recent = readings.recent(device(1), TimeDelta::minutes(minutes), limit).await.unwrap();
        recent.iter().map(|kept| kept.reading.recorded_at).collect::<Vec<_>>()
    };
    assert_eq!((recent(60, 9).await, recent(59, 9).await), (vec![at(100), at(40)], vec![at(100)]));
    assert_eq!(
        (recent(60, 1).await, readings.recent(device(3), TimeDelta::days(1), 9).await.unwrap()),
        (vec![at(100)], vec![])
    );
    assert_eq!(readings.summary(stretch(0, 40), TimeDelta::minutes(2)).await.unwrap(), None);
}

async fn a_follower_sees_everything_once(place: Place) {
    const WRITERS: u128 = 8;
    const READINGS: i64 = 200;
    let readings = place.open().await;
    // On PostgreSQL half of the writers are another server.
    let other = if place.database.is_some() { place.open().await } else { Arc::clone(&readings) };
    let writers = (0..WRITERS).map(|writer| {
        let readings = Arc::clone(if writer % 2 == 0 { &readings } else { &other });
        tokio::spawn(async move {
            for minute in 0..READINGS {
                readings.append(vec![report(device(writer), minute, 50)]).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let (mut seen, mut last) = (Vec::<StoredReading>::new(), 0);
    let all = usize::try_from(WRITERS).unwrap() * usize::try_from(READINGS).unwrap();
    let following = async {
        while seen.len() < all {
            readings.grown(last).await;
            let page = readings.arrived_after(last, 37).await.unwrap();
            assert!(page.len() <= 37);
            last = page.last().map_or(last, |reading| reading.arrival);
            seen.extend(page);
        }
    };
    tokio::time::timeout(Duration::from_secs(60), following).await.expect("a reading was passed over");
    for writer in writers {
        writer.await.unwrap();
    }
    assert!(seen.is_sorted_by(|one, next| one.arrival < next.arrival));
    let of_one = |writer: u128| seen.iter().filter(move |kept| kept.reading.device == device(writer));
    assert!((0..WRITERS).all(
        |writer| of_one(writer).count() == 200 && of_one(writer).is_sorted_by_key(|kept| kept.reading.recorded_at)
    ));
    assert!(readings.last_arrival().await.unwrap() >= last && last >= all as u64);
    assert!(readings.arrived_after(last, 10).await.unwrap().is_empty());
}

/// What the sums should be, from the readings themselves.
fn expected(reports: &[Report], stretch: Stretch, width: i64) -> BTreeMap<i64, (u64, u64, u8, u8)> {
    let mut buckets = BTreeMap::new();
    for Report { reading, .. } in reports {
        if reading.recorded_at < stretch.from || reading.recorded_at >= stretch.until {
            continue;
        }
        let start = reading.recorded_at.timestamp() / width * width;
        let bucket = buckets.entry(start).or_insert((0, 0, u8::MAX, 0));
        let (readings, sum, min, max) = *bucket;
        *bucket = (readings + 1, sum + u64::from(reading.level), reading.level.min(min), reading.level.max(max));
    }
    buckets
}

async fn sums_agree_with_the_readings(place: Place) {
    let mut random = StdRng::seed_from_u64(7);
    let mut reports: Vec<Report> =
        (0..3_000).map(|minute| report(device(1), minute, random.random_range(0..=100))).collect();
    for report in &mut reports {
        report.reading.is_charging = random.random_bool(0.3);
    }
    let readings = place.open().await;
    let mut shuffled = reports.clone();
    for place in (1..shuffled.len()).rev() {
        shuffled.swap(place, random.random_range(0..=place));
    }
    for some in shuffled.chunks(97) {
        readings.append(some.to_vec()).await.unwrap();
        readings.append(some[..5].to_vec()).await.unwrap();
    }
    for (from, until) in [(0, 3_000), (7, 2_987), (60, 180), (61, 119), (50, 70), (1_440, 2_880), (2_999, 9_000)] {
        let stretch = stretch(from, until);
        for (width, seconds) in [(BucketWidth::Minute, 60), (BucketWidth::Hour, 3_600), (BucketWidth::Day, 86_400)] {
            let buckets = readings.aggregated(stretch, width).await.unwrap();
            assert!(buckets.is_sorted_by(|one, next| one.start > next.start));
            let found: BTreeMap<_, _> = buckets
                .iter()
                .map(|bucket| {
                    (
                        bucket.start.timestamp(),
                        (bucket.levels.readings, bucket.levels.sum, bucket.levels.min, bucket.levels.max),
                    )
                })
                .collect();
            assert_eq!(found, expected(&reports, stretch, seconds), "{from} to {until}, {width:?}");
        }
        let within =
            |report: &&Report| report.reading.recorded_at >= stretch.from && report.reading.recorded_at < stretch.until;
        let sum = readings.summary(stretch, TimeDelta::seconds(40)).await.unwrap().unwrap();
        let low = reports.iter().filter(within).filter(|report| report.reading.level < 20).count();
        // Each minute that says it was charging counts 40 seconds, but the very last reading has no next one.
        let charging = reports[..2_999].iter().filter(within).filter(|report| report.reading.is_charging).count();
        assert_eq!((sum.low, sum.charging), (low as u64, TimeDelta::seconds(40 * i64::try_from(charging).unwrap())));
    }
}

/// No hour has more than sixty minutes, and what one stretch leaves to its neighbour the neighbour counts.
async fn charging_counts_within_the_stretch(place: Place) {
    let readings = place.open().await;
    let mut reports: Vec<Report> = [0, 50, 100, 150, 200].map(|minutes| report(device(1), minutes, 60)).into();
    reports.iter_mut().for_each(|report| report.reading.is_charging = true);
    readings.append(reports).await.unwrap();
    for (from, until, minutes) in [(0, 201, 200), (0, 60, 60), (60, 120, 60), (120, 180, 60), (95, 105, 10)] {
        let sum = readings.summary(stretch(from, until), TimeDelta::minutes(100)).await.unwrap().unwrap();
        assert_eq!(sum.charging, TimeDelta::minutes(minutes), "{from} to {until}");
    }
    // Nobody knows what it did after twenty minutes of silence.
    let sum = readings.summary(stretch(60, 120), TimeDelta::minutes(20)).await.unwrap().unwrap();
    assert_eq!(sum.charging, TimeDelta::minutes(10 + 20));
}

async fn old_readings_go_and_their_sums_stay(place: Place) {
    let readings = place.open().await;
    let mut reports: Vec<Report> = (0..3_000).map(|minute| report(device(1), minute, 60)).collect();
    reports.iter_mut().for_each(|report| report.reading.is_charging = report.reading.recorded_at < at(600));
    readings.append(reports).await.unwrap();
    readings.append(vec![report(device(2), 0, 10)]).await.unwrap();
    let before = readings.aggregated(stretch(0, 3_000), BucketWidth::Hour).await.unwrap();
    assert_eq!(readings.drop_before(at(1_230)).await.unwrap(), 1_200);
    assert_eq!(readings.drop_before(at(1_230)).await.unwrap(), 0);
    assert_eq!(readings.history(stretch(0, 1_200), 10, 0).await.unwrap(), []);
    assert_eq!(readings.aggregated(stretch(0, 3_000), BucketWidth::Hour).await.unwrap(), before);
    // Half an hour of dropped readings is not known: the hour counts as a whole.
    assert_eq!(readings.aggregated(stretch(30, 90), BucketWidth::Hour).await.unwrap(), before[48..]);
    let sum = readings.summary(stretch(0, 3_000), TimeDelta::minutes(2)).await.unwrap().unwrap();
    assert_eq!((sum.levels.readings, sum.charging), (3_000, TimeDelta::minutes(600)));
    // The latest of a device stays, however old.
    assert_eq!(readings.latest(device(2)).await.unwrap().unwrap().reading.level, 10);
}

async fn a_forgotten_device_leaves_nothing(place: Place) {
    let readings = place.open().await;
    readings.append(vec![report(device(1), 0, 60), report(device(2), 0, 60)]).await.unwrap();
    let last = readings.last_arrival().await.unwrap();
    readings.forget(device(1)).await.unwrap();
    assert_eq!(readings.latest(device(1)).await.unwrap(), None);
    assert_eq!(readings.aggregated(stretch(0, 60), BucketWidth::Day).await.unwrap(), []);
    assert!(readings.last_seen(&[device(1)]).await.unwrap().is_empty());
    readings.forget(device(2)).await.unwrap();
    drop(readings);
    // The order of arrival goes on where it was.
    let readings = place.open().await;
    let accepted = readings.append(vec![report(device(1), 0, 60)]).await.unwrap();
    assert!(accepted.kept[0].arrival > last);
}
