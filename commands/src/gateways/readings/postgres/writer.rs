//! The one task of this server that adds readings.

use std::collections::{HashMap, HashSet};

use domain::devices::reading::LOW_LEVEL;
use sqlx::PgConnection;
use sqlx::postgres::PgPool;
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::super::queue::{Job, answer, batch};
use super::super::rows::{ReadingRow, bigint, number, place, stored};
use super::super::{Accepted, ReadingsFault, Report, StoredReading};
use super::listener;

/// Locks the order of arrival until the transaction ends.
const TAKE_ARRIVALS: &str = "UPDATE battery_head SET arrival = arrival + $1 RETURNING arrival - $1";
const INSERT: &str = "WITH given AS (SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::integer[], $4::boolean[], \
     $5::integer[], $6::double precision[], $7::double precision[], $8::bigint[]) WITH ORDINALITY AS \
     given (device, recorded_at, level, charging, power_saving, temperature, voltage, received_at, place)), \
     new AS (INSERT INTO battery_readings (device, recorded_at, arrival, level, charging, power_saving, temperature, \
     voltage, received_at) SELECT device, recorded_at, $9 + place, level, charging, power_saving, temperature, \
     voltage, received_at FROM given ORDER BY place ON CONFLICT (device, recorded_at) DO NOTHING RETURNING *), \
     hours AS (INSERT INTO battery_hours AS kept (device, hour, readings, level_sum, level_min, level_max, low, \
     charging) SELECT device, recorded_at / 3600000000 * 3600000000 AS hour, count(*), sum(level), min(level), \
     max(level), count(*) FILTER (WHERE level < $10), count(*) FILTER (WHERE charging) FROM new \
     GROUP BY device, hour ORDER BY device, hour ON CONFLICT (device, hour) DO UPDATE SET \
     readings = kept.readings + excluded.readings, level_sum = kept.level_sum + excluded.level_sum, \
     level_min = least(kept.level_min, excluded.level_min), level_max = greatest(kept.level_max, excluded.level_max), \
     low = kept.low + excluded.low, charging = kept.charging + excluded.charging), \
     seen AS (INSERT INTO battery_seen AS kept (device, last_seen) SELECT device, max(received_at) FROM given \
     GROUP BY device ORDER BY device ON CONFLICT (device) DO UPDATE SET \
     last_seen = greatest(kept.last_seen, excluded.last_seen)) \
     SELECT arrival FROM new";
const FIRST: &str = "SELECT first.device, first.recorded_at, first.arrival, first.level, first.charging, \
     first.power_saving, first.temperature, first.voltage, first.received_at FROM battery_readings AS first \
     JOIN unnest($1::uuid[], $2::bigint[]) AS given (device, recorded_at) \
     ON first.device = given.device AND first.recorded_at = given.recorded_at";
const NOTIFY: &str = "SELECT pg_notify($1, $2)";

/// Works until nobody can send any more.
pub(super) async fn write(pool: PgPool, mut waiting: mpsc::Receiver<Job>, head: watch::Sender<u64>) {
    while let Some(first) = waiting.recv().await {
        let batch = batch(first, &mut waiting);
        let reports: Vec<&Report> = batch.iter().flat_map(|job| &job.reports).collect();
        let outcome = written(&pool, &reports).await.map(|(kept, last)| {
            head.send_if_modified(|head| std::mem::replace(head, last.max(*head)) < last);
            shared_out(&batch, kept)
        });
        answer(batch, outcome);
    }
}

/// What is kept for each report, whether it is new, and the last arrival, when all of it is committed.
async fn written(pool: &PgPool, reports: &[&Report]) -> Result<(Vec<(StoredReading, bool)>, u64), ReadingsFault> {
    let mut transaction = pool.begin().await?;
    let base: i64 =
        sqlx::query_scalar(TAKE_ARRIVALS).bind(bigint(reports.len() as u64)).fetch_one(&mut *transaction).await?;
    let new = insert(&mut transaction, reports, base).await?;
    let firsts = firsts(&mut transaction, reports, &new, base).await?;
    let last = base + bigint(reports.len() as u64);
    sqlx::query(NOTIFY).bind(listener::CHANNEL).bind(last.to_string()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    let kept = (base + 1..).zip(reports).map(|(arrival, report)| {
        let key = (report.reading.device, report.reading.recorded_at.timestamp_micros());
        match firsts.get(&key) {
            Some(first) => (first.clone(), first.arrival == number(arrival)),
            None => {
                let (received_at, reading) = (report.received_at, report.reading.clone());
                (StoredReading { arrival: number(arrival), received_at, reading }, true)
            }
        }
    });
    Ok((kept.collect(), number(last)))
}

/// Inserts what is new, and answers the arrivals of that.
async fn insert(connection: &mut PgConnection, reports: &[&Report], base: i64) -> sqlx::Result<Vec<i64>> {
    fn column<T>(reports: &[&Report], value: impl Fn(&Report) -> T) -> Vec<T> {
        reports.iter().map(|report| value(report)).collect()
    }
    sqlx::query_scalar(INSERT)
        .bind(column(reports, |report| report.reading.device))
        .bind(column(reports, |report| report.reading.recorded_at.timestamp_micros()))
        .bind(column(reports, |report| i32::from(report.reading.level)))
        .bind(column(reports, |report| report.reading.is_charging))
        .bind(column(reports, |report| place(report.reading.power_saving)))
        .bind(column(reports, |report| report.reading.temperature))
        .bind(column(reports, |report| report.reading.voltage))
        .bind(column(reports, |report| report.received_at.timestamp_micros()))
        .bind(base)
        .bind(i32::from(LOW_LEVEL))
        .fetch_all(connection)
        .await
}

/// The readings that are kept instead of those that are not new, by device and time.
async fn firsts(
    connection: &mut PgConnection,
    reports: &[&Report],
    new: &[i64],
    base: i64,
) -> Result<HashMap<(Uuid, i64), StoredReading>, ReadingsFault> {
    if new.len() == reports.len() {
        return Ok(HashMap::new());
    }
    let new: HashSet<i64> = new.iter().copied().collect();
    let known = (base + 1..).zip(reports).filter(|(arrival, _)| !new.contains(arrival));
    let (devices, times): (Vec<Uuid>, Vec<i64>) =
        known.map(|(_, report)| (report.reading.device, report.reading.recorded_at.timestamp_micros())).unzip();
    let rows: Vec<ReadingRow> = sqlx::query_as(FIRST).bind(devices).bind(times).fetch_all(connection).await?;
    rows.into_iter().map(|row| Ok(((row.0, row.1), stored(row)?))).collect()
}

/// What came of the report of each job.
fn shared_out(batch: &[Job], kept: Vec<(StoredReading, bool)>) -> Vec<Accepted> {
    let mut kept = kept.into_iter();
    let of_job = |job: &Job| {
        let (kept, new): (Vec<_>, Vec<_>) = kept.by_ref().take(job.reports.len()).unzip();
        Accepted { kept, new: new.into_iter().filter(|new| *new).count() }
    };
    batch.iter().map(of_job).collect()
}
