//! Moments of the log, as people name them.

use chrono::{DateTime, Utc};
use domain::log::{Log, LogError};

/// A moment in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Position(u64),
    Time(DateTime<Utc>),
}

/// A text that names no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a position or a time like 2026-01-31T12:00:00Z")]
pub struct NoMoment;

impl std::str::FromStr for Moment {
    type Err = NoMoment;

    fn from_str(text: &str) -> Result<Self, NoMoment> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        // A `+` that was not escaped in a URL arrives as a blank.
        let time = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
        time.map(|time| Self::Time(time.to_utc())).map_err(|_| NoMoment)
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Position(position) => write!(out, "position {position}"),
            Self::Time(time) => write!(out, "{}", time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)),
        }
    }
}

impl Moment {
    /// Whether it is later than `other`. A position and a time are not compared.
    pub fn is_after(self, other: Self) -> bool {
        match (self, other) {
            (Self::Position(this), Self::Position(other)) => this > other,
            (Self::Time(this), Self::Time(other)) => this > other,
            (Self::Position(_), Self::Time(_)) | (Self::Time(_), Self::Position(_)) => false,
        }
    }

    /// The last position that belongs to this moment, where a part of the log up to this moment ends.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn position(self, log: &dyn Log) -> Result<u64, LogError> {
        let head = log.head().await?;
        match self {
            Self::Position(position) => Ok(position.min(head)),
            Self::Time(time) => last_while(log, head, |at| at <= time).await,
        }
    }

    /// The position before the first one that is at this moment or after it, where a part of the log from this moment
    /// on begins.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn before(self, log: &dyn Log) -> Result<u64, LogError> {
        let head = log.head().await?;
        match self {
            Self::Position(position) => Ok(position.saturating_sub(1).min(head)),
            Self::Time(time) => last_while(log, head, |at| at < time).await,
        }
    }
}

/// The last position recorded at a time that `belongs`: times never go backwards along the log, so bisection finds it.
async fn last_while(log: &dyn Log, head: u64, belongs: impl Fn(DateTime<Utc>) -> bool) -> Result<u64, LogError> {
    let (mut low, mut high) = (0, head);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        let page = log.read_all(middle - 1, &[], 1).await?;
        match page.events.first() {
            Some(event) if belongs(event.recorded_at) => low = middle,
            _ => high = middle - 1,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use commands::log::MemoryLog;
    use domain::log::{Append, NewEvent};
    use domain::metadata::TenantId;
    use uuid::Uuid;

    use super::*;

    async fn log_of(events: u64) -> (MemoryLog, Vec<DateTime<Utc>>) {
        let log = MemoryLog::new();
        for sequence in 0..events {
            let event = NewEvent {
                event_id: Uuid::nil(),
                event_type: "thing.changed",
                event_version: 1,
                payload: "{}".to_owned(),
            };
            let append = Append {
                aggregate_type: "thing",
                aggregate_id: "1".to_owned(),
                expected_sequence: sequence,
                events: vec![event],
                tenant: TenantId::DEFAULT,
                metadata: "{}".to_owned(),
                key: None,
            };
            log.append(append).await.unwrap();
        }
        let page = log.read_all(0, &[], 100).await.unwrap();
        (log, page.events.iter().map(|event| event.recorded_at).collect())
    }

    #[test]
    fn words_are_positions_or_times() {
        assert_eq!("12".parse(), Ok(Moment::Position(12)));
        let noon = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!("2023-11-14T22:13:20Z".parse(), Ok(Moment::Time(noon)));
        assert_eq!("2023-11-15T00:13:20 02:00".parse(), Ok(Moment::Time(noon)));
        assert!("yesterday".parse::<Moment>().is_err());
        assert!("-1".parse::<Moment>().is_err());
    }

    #[tokio::test]
    async fn times_are_found_along_the_log() {
        let (log, times) = log_of(7).await;
        for time in &times {
            let (last, first) =
                (times.iter().filter(|at| *at <= time).count(), times.iter().filter(|at| *at < time).count());
            assert_eq!(Moment::Time(*time).position(&log).await.unwrap(), last as u64);
            assert_eq!(Moment::Time(*time).before(&log).await.unwrap(), first as u64);
        }
        assert_eq!(Moment::Time(DateTime::UNIX_EPOCH).position(&log).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn positions_stay_within_the_log() {
        let (log, _) = log_of(3).await;
        assert_eq!(Moment::Position(9).position(&log).await.unwrap(), 3);
        assert_eq!(Moment::Position(0).before(&log).await.unwrap(), 0);
        assert_eq!(Moment::Position(2).before(&log).await.unwrap(), 1);
    }
}
