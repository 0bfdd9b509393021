//! The questions to the tables: the same SQL for both engines.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Database, Encode, Executor, FromRow, IntoArguments, Pool, Type};
use uuid::Uuid;

use super::rows::{self, BucketRow, HOUR, ReadingRow, SummaryRow, bigint, number, time};
use super::{Bucket, BucketWidth, ReadingsFault, StoredReading, Stretch, Summary};

/// Devices asked for in one statement.
const DEVICES_PER_STATEMENT: usize = 500;

const LATEST: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE device = $1 ORDER BY recorded_at DESC LIMIT 1";
const HISTORY: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE device = $1 AND recorded_at >= $2 AND recorded_at < $3 \
     ORDER BY recorded_at DESC LIMIT $4 OFFSET $5";
const ARRIVED: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE arrival > $1 ORDER BY arrival LIMIT $2";
const HEAD: &str = "SELECT arrival, kept_from FROM battery_head";
// The whole hours of the stretch come from their sums, what is before and after them from the readings.
const AGGREGATED: &str = "SELECT bucket, CAST(sum(readings) AS bigint), CAST(sum(level_sum) AS bigint), \
     min(level_min), max(level_max) FROM ( \
     SELECT hour / $6 * $6 AS bucket, readings, level_sum, level_min, level_max FROM battery_hours \
     WHERE device = $1 AND hour >= $3 AND hour < $4 \
     UNION ALL SELECT recorded_at / $6 * $6, 1, level, level, level FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $2 AND recorded_at < $3 \
     UNION ALL SELECT recorded_at / $6 * $6, 1, level, level, level FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $4 AND recorded_at < $5) AS parts \
     GROUP BY bucket ORDER BY bucket DESC";
// $6: hours before it have no readings any more; how long they saw the device charging is estimated.
const SUMMARY: &str = "SELECT CAST(sum(readings) AS bigint), CAST(sum(level_sum) AS bigint), min(level_min), \
     max(level_max), CAST(sum(low) AS bigint), CAST(sum(charging) AS bigint) FROM ( \
     SELECT readings, level_sum, level_min, level_max, low, \
     CASE WHEN hour < $6 THEN 3600000000 * charging / readings ELSE 0 END AS charging FROM battery_hours \
     WHERE device = $1 AND hour >= $3 AND hour < $4 \
     UNION ALL SELECT 1, level, level, level, CASE WHEN level < 20 THEN 1 ELSE 0 END, 0 FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $2 AND recorded_at < $3 \
     UNION ALL SELECT 1, level, level, level, CASE WHEN level < 20 THEN 1 ELSE 0 END, 0 FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $4 AND recorded_at < $5) AS parts HAVING count(*) > 0";
const CHARGING: &str = "SELECT CAST(coalesce(sum(CASE WHEN next - recorded_at > $4 THEN $4 ELSE next - recorded_at END), 0) \
     AS bigint) FROM (SELECT recorded_at, (SELECT min(later.recorded_at) FROM battery_readings AS later \
     WHERE later.device = $1 AND later.recorded_at > reading.recorded_at) AS next \
     FROM battery_readings AS reading WHERE device = $1 AND recorded_at >= $2 AND recorded_at < $3 AND charging) \
     AS charged";
const KEEP_FROM: &str = "UPDATE battery_head SET kept_from = $1 WHERE kept_from < $1";
const DEVICES: &str = "SELECT device FROM battery_seen WHERE device > $1 ORDER BY device LIMIT $2";
// At most 1,000 at once, so that nobody waits for long; never the latest.
const DROP: &str = "DELETE FROM battery_readings WHERE device = $1 AND recorded_at < $2 AND recorded_at < \
     (SELECT max(newest.recorded_at) FROM battery_readings AS newest WHERE newest.device = $1) AND recorded_at <= \
     coalesce((SELECT nth.recorded_at FROM battery_readings AS nth WHERE nth.device = $1 \
     ORDER BY nth.recorded_at LIMIT 1 OFFSET 999), $2) RETURNING arrival";
const FORGET: [&str; 3] = [
    "DELETE FROM battery_readings WHERE device = $1",
    "DELETE FROM battery_hours WHERE device = $1",
    "DELETE FROM battery_seen WHERE device = $1",
];

/// The connections for reading.
#[derive(Debug)]
pub(super) struct Reader<DB: Database> {
    pool: Pool<DB>,
}

/// The parts of a stretch: readings in `[from, hours)`, whole hours in `[hours, after)`, readings in `[after, until)`.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    from: i64,
    hours: i64,
    after: i64,
    until: i64,
}

impl Parts {
    /// Hours before `kept_from`, which is one, have lost their readings: they count as a whole or not at all.
    fn of(stretch: &Stretch, kept_from: i64) -> Self {
        let (mut from, mut until) = (stretch.from.timestamp_micros(), stretch.until.timestamp_micros());
        if from < kept_from {
            from = from.div_euclid(HOUR) * HOUR;
        }
        if until < kept_from {
            until = (until + HOUR - 1).div_euclid(HOUR) * HOUR;
        }
        let hours = (from + HOUR - 1).div_euclid(HOUR) * HOUR;
        let after = until.div_euclid(HOUR) * HOUR;
        // Within one hour there is no whole one.
        if hours > after {
            Self { from, hours: until, after: until, until }
        } else {
            Self { from, hours, after, until }
        }
    }
}

impl<DB: Database> Reader<DB>
where
    for<'q> DB::Arguments<'q>: IntoArguments<'q, DB>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'q> i64: Encode<'q, DB> + Type<DB>,
    for<'q> Uuid: Encode<'q, DB> + Type<DB>,
    for<'r> ReadingRow: FromRow<'r, DB::Row>,
    for<'r> BucketRow: FromRow<'r, DB::Row>,
    for<'r> SummaryRow: FromRow<'r, DB::Row>,
    for<'r> (Uuid, i64): FromRow<'r, DB::Row>,
    for<'r> (i64, i64): FromRow<'r, DB::Row>,
    for<'r> (i64,): FromRow<'r, DB::Row>,
    for<'r> (Uuid,): FromRow<'r, DB::Row>,
{
    pub(super) fn new(pool: Pool<DB>) -> Self {
        Self { pool }
    }

    pub(super) async fn latest(&self, device: Uuid) -> Result<Option<StoredReading>, ReadingsFault> {
        let row: Option<ReadingRow> = sqlx::query_as(LATEST).bind(device).fetch_optional(&self.pool).await?;
        row.map(rows::stored).transpose()
    }

    pub(super) async fn last_seen(&self, devices: &[Uuid]) -> Result<HashMap<Uuid, DateTime<Utc>>, ReadingsFault> {
        let mut seen = HashMap::with_capacity(devices.len());
        for some in devices.chunks(DEVICES_PER_STATEMENT) {
            let marks: Vec<_> = (1..=some.len()).map(|place| format!("${place}")).collect();
            let sql = format!("SELECT device, last_seen FROM battery_seen WHERE device IN ({})", marks.join(", "));
            let query = some.iter().fold(sqlx::query_as(&sql), |query, device| query.bind(*device));
            let rows: Vec<(Uuid, i64)> = query.fetch_all(&self.pool).await?;
            for (device, micros) in rows {
                seen.insert(device, time(micros)?);
            }
        }
        Ok(seen)
    }

    pub(super) async fn history(
        &self,
        stretch: Stretch,
        limit: u32,
        offset: u32,
    ) -> Result<Vec<StoredReading>, ReadingsFault> {
        let query = sqlx::query_as(HISTORY)
            .bind(stretch.device)
            .bind(stretch.from.timestamp_micros())
            .bind(stretch.until.timestamp_micros())
            .bind(i64::from(limit))
            .bind(i64::from(offset));
        let found: Vec<ReadingRow> = query.fetch_all(&self.pool).await?;
        found.into_iter().map(rows::stored).collect()
    }

    pub(super) async fn aggregated(&self, stretch: Stretch, width: BucketWidth) -> Result<Vec<Bucket>, ReadingsFault> {
        let (_, kept_from) = self.head().await?;
        let mut parts = Parts::of(&stretch, kept_from);
        if width == BucketWidth::Minute {
            // Sums by hour say nothing of minutes.
            (parts.hours, parts.after) = (parts.until, parts.until);
        }
        let query = sqlx::query_as(AGGREGATED)
            .bind(stretch.device)
            .bind(parts.from)
            .bind(parts.hours)
            .bind(parts.after)
            .bind(parts.until)
            .bind(width.micros());
        let found: Vec<BucketRow> = query.fetch_all(&self.pool).await?;
        found.into_iter().map(rows::bucket).collect()
    }

    pub(super) async fn summary(&self, stretch: Stretch, gap_max: TimeDelta) -> Result<Option<Summary>, ReadingsFault> {
        let (_, kept_from) = self.head().await?;
        let parts = Parts::of(&stretch, kept_from);
        let query = sqlx::query_as(SUMMARY)
            .bind(stretch.device)
            .bind(parts.from)
            .bind(parts.hours)
            .bind(parts.after)
            .bind(parts.until)
            .bind(kept_from);
        let found: Option<SummaryRow> = query.fetch_optional(&self.pool).await?;
        let Some((readings, sum, min, max, low, estimated)) = found else { return Ok(None) };
        let query = sqlx::query_as(CHARGING)
            .bind(stretch.device)
            .bind(parts.from.max(kept_from))
            .bind(parts.until)
            .bind(gap_max.num_microseconds().unwrap_or(i64::MAX));
        let (charging,): (i64,) = query.fetch_one(&self.pool).await?;
        let charging = TimeDelta::microseconds(charging + estimated);
        Ok(Some(Summary { levels: rows::levels(readings, sum, min, max)?, low: number(low), charging }))
    }

    pub(super) async fn arrived_after(&self, arrival: u64, limit: u32) -> Result<Vec<StoredReading>, ReadingsFault> {
        let query = sqlx::query_as(ARRIVED).bind(bigint(arrival)).bind(i64::from(limit));
        let found: Vec<ReadingRow> = query.fetch_all(&self.pool).await?;
        found.into_iter().map(rows::stored).collect()
    }

    /// The last arrival, and since when readings are kept.
    pub(super) async fn head(&self) -> Result<(i64, i64), ReadingsFault> {
        Ok(sqlx::query_as(HEAD).fetch_one(&self.pool).await?)
    }

    /// The devices after `device`, of which there may be more when `limit` are answered.
    pub(super) async fn devices_after(&self, device: Uuid, limit: u32) -> Result<Vec<Uuid>, ReadingsFault> {
        let query = sqlx::query_as(DEVICES).bind(device).bind(i64::from(limit));
        let found: Vec<(Uuid,)> = query.fetch_all(&self.pool).await?;
        Ok(found.into_iter().map(|(device,)| device).collect())
    }

    pub(super) async fn keep_from(&self, hour: i64) -> Result<(), ReadingsFault> {
        sqlx::query(KEEP_FROM).bind(hour).execute(&self.pool).await?;
        Ok(())
    }

    /// Drops some of the readings of `device` from before `moment`, and answers how many; 0 when there are none.
    pub(super) async fn drop_some(&self, device: Uuid, moment: i64) -> Result<u64, ReadingsFault> {
        let dropped: Vec<(i64,)> = sqlx::query_as(DROP).bind(device).bind(moment).fetch_all(&self.pool).await?;
        Ok(dropped.len() as u64)
    }

    pub(super) async fn forget(&self, device: Uuid) -> Result<(), ReadingsFault> {
        for statement in FORGET {
            sqlx::query(statement).bind(device).execute(&self.pool).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(from: i64, until: i64, kept_from: i64) -> (i64, i64, i64, i64) {
        let moment = |minutes: i64| DateTime::from_timestamp(minutes * 60, 0).unwrap();
        let stretch = Stretch { device: Uuid::nil(), from: moment(from), until: moment(until) };
        let parts = Parts::of(&stretch, kept_from * HOUR);
        let minutes = |micros: i64| micros / 60_000_000;
        (minutes(parts.from), minutes(parts.hours), minutes(parts.after), minutes(parts.until))
    }

    #[test]
    fn a_stretch_is_whole_hours_and_what_is_around_them() {
        assert_eq!(parts(30, 200, 0), (30, 60, 180, 200));
        assert_eq!(parts(60, 180, 0), (60, 60, 180, 180));
    }

    #[test]
    fn within_an_hour_there_is_no_whole_one() {
        assert_eq!(parts(10, 50, 0), (10, 50, 50, 50));
        assert_eq!(parts(50, 70, 0), (50, 60, 60, 70));
    }

    #[test]
    fn hours_without_readings_count_as_a_whole() {
        assert_eq!(parts(30, 200, 2), (0, 0, 180, 200));
        assert_eq!(parts(30, 90, 2), (0, 0, 120, 120));
    }
}
