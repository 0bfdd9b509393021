//! How fast a battery drains: the Theil–Sen slope of its recent readings, which one wrong reading does not move.

use chrono::{DateTime, TimeDelta, Utc};

use super::reading::BatteryReading;

/// How far back readings count.
pub const WINDOW: TimeDelta = TimeDelta::minutes(60);
/// Fewer readings say nothing.
const READINGS_MIN: usize = 4;
/// More readings are thinned evenly: each pair of them is looked at.
const READINGS_MAX: usize = 120;

/// What the recent readings say about the time to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drain {
    /// Percentage points an hour; never negative.
    pub per_hour: f64,
    /// Minutes until the battery is empty, if it drains.
    pub minutes_to_empty: Option<f64>,
}

/// The drain at the newest of `readings` (the newest first), from those of the last [`WINDOW`] since it was last
/// charged. `None` while it charges or there are too few.
pub fn drain(readings: &[BatteryReading]) -> Option<Drain> {
    let newest = readings.first()?;
    let since = newest.recorded_at - WINDOW;
    let discharging = readings.iter().take_while(|reading| !reading.is_charging && reading.recorded_at >= since);
    let points: Vec<_> = discharging.map(|reading| (reading.recorded_at, f64::from(reading.level))).collect();
    if points.len() < READINGS_MIN {
        return None;
    }
    let step = points.len().div_ceil(READINGS_MAX);
    let thinned: Vec<_> = points.into_iter().step_by(step).collect();
    let per_hour = (-median_slope(&thinned)?).max(0.0);
    let minutes_to_empty = (per_hour > 0.0).then(|| f64::from(newest.level) / per_hour * 60.0);
    Some(Drain { per_hour, minutes_to_empty })
}

/// The median of the slopes through each pair of points, in percentage points an hour.
fn median_slope(points: &[(DateTime<Utc>, f64)]) -> Option<f64> {
    let mut slopes = Vec::with_capacity(points.len() * points.len() / 2);
    for (place, (later, level)) in points.iter().enumerate() {
        for (earlier, before) in &points[place + 1..] {
            let hours = (*later - *earlier).as_seconds_f64() / 3_600.0;
            if hours > 0.0 {
                slopes.push((level - before) / hours);
            }
        }
    }
    median(&mut slopes)
}

/// The median, without sorting: thousands of pairs are looked at for each question.
fn median(numbers: &mut [f64]) -> Option<f64> {
    if numbers.is_empty() {
        return None;
    }
    let (middle, odd) = (numbers.len() / 2, numbers.len() % 2 == 1);
    let (below, upper, _) = numbers.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| !odd);
    Some(lower.map_or(*upper, |lower| f64::midpoint(lower, *upper)))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;
    use uuid::Uuid;

    use super::*;
    use crate::devices::reading::PowerSaving;

    fn reading(minute: i64, level: u8, is_charging: bool) -> BatteryReading {
        BatteryReading {
            device: Uuid::nil(),
            recorded_at: Utc.timestamp_opt(1_700_000_000 + minute * 60, 0).unwrap(),
            level,
            is_charging,
            power_saving: PowerSaving::Off,
            temperature: None,
            voltage: None,
        }
    }
    fn newest_first(readings: impl DoubleEndedIterator<Item = (i64, u8)>) -> Vec<BatteryReading> {
        readings.rev().map(|(minute, level)| reading(minute, level, false)).collect()
    }

    #[test]
    fn a_straight_line_is_found() {
        let readings = newest_first([(0, 80), (10, 78), (20, 76), (30, 74)].into_iter());
        let drain = drain(&readings).unwrap();
        assert!((drain.per_hour - 12.0).abs() < 1e-9);
        assert!((drain.minutes_to_empty.unwrap() - 370.0).abs() < 1e-9);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        for (mut numbers, middle) in
            [(vec![], None), (vec![3.0, 1.0, 2.0], Some(2.0)), (vec![4.0, 1.0, 3.0, 2.0], Some(2.5))]
        {
            assert_eq!(median(&mut numbers), middle);
        }
    }

    #[test]
    fn one_wrong_reading_moves_nothing() {
        let readings = newest_first([(0, 80), (10, 78), (20, 3), (30, 74), (40, 72), (50, 70)].into_iter());
        assert!((drain(&readings).unwrap().per_hour - 12.0).abs() < 1e-9);
    }

    #[test]
    fn a_level_that_stays_has_no_time_to_empty() {
        let readings = newest_first([(0, 80), (10, 80), (20, 80), (30, 80)].into_iter());
        assert_eq!(drain(&readings), Some(Drain { per_hour: 0.0, minutes_to_empty: None }));
    }

    #[test]
    fn what_was_before_charging_does_not_count() {
        let mut readings = newest_first([(10, 78), (20, 76), (30, 74)].into_iter());
        readings.push(reading(0, 80, true));
        readings.push(reading(-10, 82, false));
        assert_eq!(drain(&readings), None);
        readings.insert(0, reading(40, 80, true));
        assert_eq!(drain(&readings), None);
    }

    #[test]
    fn readings_older_than_the_window_do_not_count() {
        let readings = newest_first([(0, 80), (45, 78), (55, 76), (65, 74)].into_iter());
        assert_eq!(drain(&readings), None);
    }

    #[test]
    fn many_readings_are_thinned() {
        let readings = newest_first((0..3_600).map(|second| (second, 100 - u8::try_from(second / 60).unwrap())));
        let near: Vec<_> = readings
            .into_iter()
            .map(|reading| {
                let seconds = (reading.recorded_at.timestamp() - 1_700_000_000) / 60;
                BatteryReading { recorded_at: Utc.timestamp_opt(1_700_000_000 + seconds, 0).unwrap(), ..reading }
            })
            .collect();
        let per_hour = drain(&near).unwrap().per_hour;
        assert!((per_hour - 60.0).abs() < 1.0, "{per_hour}");
    }
}
