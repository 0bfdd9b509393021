//! The questions to the tables: the same SQL for both engines, which differ in how they are asked.

use super::rows::HOUR;
use super::{BucketWidth, Stretch};

pub(super) const LATEST: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE device = $1 ORDER BY recorded_at DESC LIMIT 1";
// What came before the latest reading by $2 at most.
pub(super) const RECENT: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE device = $1 AND recorded_at >= \
     (SELECT max(recorded_at) FROM battery_readings WHERE device = $1) - $2 ORDER BY recorded_at DESC LIMIT $3";
pub(super) const HISTORY: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE device = $1 AND recorded_at >= $2 AND recorded_at < $3 \
     ORDER BY recorded_at DESC LIMIT $4 OFFSET $5";
pub(super) const ARRIVED: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE arrival > $1 ORDER BY arrival LIMIT $2";
pub(super) const HEAD: &str = "SELECT arrival, kept_from FROM battery_head";
// The whole hours of the stretch come from their sums, what is before and after them from the readings.
pub(super) const AGGREGATED: &str = "SELECT bucket, CAST(sum(readings) AS bigint), CAST(sum(level_sum) AS bigint), \
     min(level_min), max(level_max) FROM ( \
     SELECT hour / $6 * $6 AS bucket, readings, level_sum, level_min, level_max FROM battery_hours \
     WHERE device = $1 AND hour >= $3 AND hour < $4 \
     UNION ALL SELECT recorded_at / $6 * $6, 1, level, level, level FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $2 AND recorded_at < $3 \
     UNION ALL SELECT recorded_at / $6 * $6, 1, level, level, level FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $4 AND recorded_at < $5) AS parts \
     GROUP BY bucket ORDER BY bucket DESC";
// $6: hours before it have no readings any more; how long they saw the device charging is estimated.
pub(super) const SUMMARY: &str = "SELECT CAST(sum(readings) AS bigint), CAST(sum(level_sum) AS bigint), min(level_min), \
     max(level_max), CAST(sum(low) AS bigint), CAST(sum(charging) AS bigint) FROM ( \
     SELECT readings, level_sum, level_min, level_max, low, \
     CASE WHEN hour < $6 THEN 3600000000 * charging / readings ELSE 0 END AS charging FROM battery_hours \
     WHERE device = $1 AND hour >= $3 AND hour < $4 \
     UNION ALL SELECT 1, level, level, level, CASE WHEN level < 20 THEN 1 ELSE 0 END, 0 FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $2 AND recorded_at < $3 \
     UNION ALL SELECT 1, level, level, level, CASE WHEN level < 20 THEN 1 ELSE 0 END, 0 FROM battery_readings \
     WHERE device = $1 AND recorded_at >= $4 AND recorded_at < $5) AS parts HAVING count(*) > 0";
// A reading counts until the next one, but for $4 at most, and only what of that lies within $2 and $3.
pub(super) const CHARGING: &str = "SELECT CAST(coalesce(sum(CASE WHEN ended > began THEN ended - began ELSE 0 END), 0) AS bigint) \
     FROM (SELECT CASE WHEN recorded_at < $2 THEN $2 ELSE recorded_at END AS began, \
     CASE WHEN next > recorded_at + $4 AND recorded_at + $4 < $3 THEN recorded_at + $4 \
     WHEN next > $3 THEN $3 ELSE next END AS ended \
     FROM (SELECT recorded_at, (SELECT min(later.recorded_at) FROM battery_readings AS later \
     WHERE later.device = $1 AND later.recorded_at > reading.recorded_at) AS next \
     FROM battery_readings AS reading WHERE device = $1 AND recorded_at >= $2 - $4 AND recorded_at < $3 AND charging) \
     AS charged) AS stretches";
pub(super) const KEEP_FROM: &str = "UPDATE battery_head SET kept_from = $1 WHERE kept_from < $1";
pub(super) const DEVICES: &str = "SELECT device FROM battery_seen WHERE device > $1 ORDER BY device LIMIT $2";
// At most 1,000 at once, so that nobody waits for long; never the latest.
pub(super) const DROP: &str = "DELETE FROM battery_readings WHERE device = $1 AND recorded_at < $2 AND recorded_at < \
     (SELECT max(newest.recorded_at) FROM battery_readings AS newest WHERE newest.device = $1) AND recorded_at <= \
     coalesce((SELECT nth.recorded_at FROM battery_readings AS nth WHERE nth.device = $1 \
     ORDER BY nth.recorded_at LIMIT 1 OFFSET 999), $2) RETURNING arrival";
pub(super) const FORGET: [&str; 3] = [
    "DELETE FROM battery_readings WHERE device = $1",
    "DELETE FROM battery_hours WHERE device = $1",
    "DELETE FROM battery_seen WHERE device = $1",
];

/// The parts of a stretch: readings in `[from, hours)`, whole hours in `[hours, after)`, readings in `[after, until)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) from: i64,
    pub(super) hours: i64,
    pub(super) after: i64,
    pub(super) until: i64,
}

impl Parts {
    /// Hours before `kept_from`, which is one, have lost their readings: they count as a whole or not at all.
    pub(super) fn of(stretch: &Stretch, kept_from: i64) -> Self {
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

    /// The same for buckets of `width`: sums by hour say nothing of minutes.
    pub(super) fn in_buckets(stretch: &Stretch, width: BucketWidth, kept_from: i64) -> Self {
        let parts = Self::of(stretch, kept_from);
        match width {
            BucketWidth::Minute => Self { hours: parts.until, after: parts.until, ..parts },
            BucketWidth::Hour | BucketWidth::Day => parts,
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

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
