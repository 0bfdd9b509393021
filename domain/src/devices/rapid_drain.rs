//! How many points a battery lost within the last hour, without charging.

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// How far back readings count.
pub const WINDOW: TimeDelta = TimeDelta::minutes(60);
/// Readings that lie closer together say nothing of an hour.
pub const WINDOW_MIN: TimeDelta = TimeDelta::minutes(30);
/// A reading that follows another sooner is looked at, but not kept.
const APART_MIN: TimeDelta = TimeDelta::seconds(30);

/// The readings of the last hour since the battery was last charged, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct DrainWindow(VecDeque<(DateTime<Utc>, u8)>);

impl DrainWindow {
    /// Takes in a reading that is newer than those before. Answers the points that were lost since the oldest reading
    /// of the window; `None` while it charges, or while the window is too short to tell.
    pub fn push(&mut self, at: DateTime<Utc>, level: u8, is_charging: bool) -> Option<u8> {
        if is_charging {
            self.0.clear();
            return None;
        }
        while self.0.front().is_some_and(|(oldest, _)| *oldest < at - WINDOW) {
            self.0.pop_front();
        }
        let lost = self.0.front().filter(|(oldest, _)| at - *oldest >= WINDOW_MIN).map(|(_, before)| *before);
        if self.0.back().is_none_or(|(newest, _)| at - *newest >= APART_MIN) {
            self.0.push_back((at, level));
        }
        lost.map(|before| before.saturating_sub(level))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(readings: &[(i64, u8, bool)]) -> Option<u8> {
        let mut window = DrainWindow::default();
        let at = |minute| DateTime::from_timestamp(1_700_000_000 + minute * 60, 0).unwrap();
        readings.iter().map(|(minute, level, charging)| window.push(at(*minute), *level, *charging)).last().flatten()
    }

    #[test]
    fn the_loss_is_counted_from_the_oldest_reading_of_the_hour() {
        assert_eq!(lost(&[(0, 90, false), (60, 70, false)]), Some(20));
        assert_eq!(lost(&[(0, 99, false), (1, 90, false), (61, 70, false)]), Some(20));
        assert_eq!(lost(&[(0, 50, false), (30, 60, false)]), Some(0));
    }

    #[test]
    fn less_than_half_an_hour_says_nothing() {
        assert_eq!(lost(&[(0, 90, false)]), None);
        assert_eq!(lost(&[(0, 90, false), (29, 10, false)]), None);
        assert_eq!(lost(&[(0, 90, false), (90, 10, false)]), None);
    }

    #[test]
    fn charging_begins_a_new_window() {
        assert_eq!(lost(&[(0, 90, false), (40, 60, true)]), None);
        assert_eq!(lost(&[(0, 90, false), (10, 91, true), (40, 60, false)]), None);
        assert_eq!(lost(&[(0, 90, false), (10, 91, true), (15, 90, false), (45, 60, false)]), Some(30));
    }

    #[test]
    fn many_readings_are_not_all_kept() {
        let mut window = DrainWindow::default();
        let at = |second| DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap();
        let last =
            (0..7_200_i64).map(|second| window.push(at(second), 100 - u8::try_from(second / 120).unwrap(), false));
        // The oldest that was kept is a second too young.
        assert_eq!(last.last().flatten(), Some(29));
        assert!(window.0.len() <= 121);
    }
}
