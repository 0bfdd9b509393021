//! Whole numbers for the documents that show integer ids: one stream a kind (`customer`, `miner`), each number given
//! out once. A number that a later command does not use stays unused.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

/// Most numbers of one allocation.
pub const COUNT_MAX: u32 = 10_000;
/// Largest number ever given out: what JSON clients can hold without loss (2⁵³ − 1).
pub const NUMBER_MAX: i64 = (1 << 53) - 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberSeriesEvent {
    /// The numbers `first..first + count` belong to the command that asked.
    Allocated { first: i64, count: u32 },
}

event_names!(NumberSeriesEvent {
    Allocated => "number_series.allocated" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberSeriesError {
    #[error("between 1 and {COUNT_MAX} numbers are given out at a time")]
    CountOutOfRange,
    #[error("the series has no numbers left below {NUMBER_MAX}")]
    Exhausted,
}

impl Refusal for NumberSeriesError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::CountOutOfRange => RefusalKind::Invalid,
            Self::Exhausted => RefusalKind::LimitExceeded,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::CountOutOfRange => "number_series.count_out_of_range",
            Self::Exhausted => "number_series.exhausted",
        }
    }
}

#[derive(Debug, Clone)]
pub enum NumberSeriesCommand {
    /// Takes the next `count` numbers.
    Allocate { count: u32 },
}

/// Where the series stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberSeries {
    /// The next number that nobody has.
    pub next: i64,
}

impl Default for NumberSeries {
    fn default() -> Self {
        Self { next: 1 }
    }
}

impl Decider for NumberSeries {
    fn decide(
        &self,
        command: NumberSeriesCommand,
        _now: DateTime<Utc>,
    ) -> Result<Vec<NumberSeriesEvent>, NumberSeriesError> {
        match command {
            NumberSeriesCommand::Allocate { count } => {
                if count == 0 || count > COUNT_MAX {
                    return Err(NumberSeriesError::CountOutOfRange);
                }
                if self.next > NUMBER_MAX - i64::from(count) {
                    return Err(NumberSeriesError::Exhausted);
                }
                Ok(vec![NumberSeriesEvent::Allocated { first: self.next, count }])
            }
        }
    }
}

impl cqrs_es::Aggregate for NumberSeries {
    const TYPE: &'static str = "number_series";
    type Command = NumberSeriesCommand;
    type Event = NumberSeriesEvent;
    type Error = NumberSeriesError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: NumberSeriesEvent) {
        match event {
            NumberSeriesEvent::Allocated { first, count } => self.next = first + i64::from(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn allocate(count: u32) -> NumberSeriesCommand {
        NumberSeriesCommand::Allocate { count }
    }
    fn allocated(first: i64, count: u32) -> NumberSeriesEvent {
        NumberSeriesEvent::Allocated { first, count }
    }
    fn given(events: Vec<NumberSeriesEvent>) -> cqrs_es::test::AggregateTestExecutor<NumberSeries> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn numbers_start_at_one_and_never_repeat() {
        given(vec![]).when(allocate(1)).then_expect_events(vec![allocated(1, 1)]);
        given(vec![allocated(1, 1), allocated(2, 500)]).when(allocate(3)).then_expect_events(vec![allocated(502, 3)]);
    }

    #[test]
    fn none_and_too_many_are_refused() {
        given(vec![]).when(allocate(0)).then_expect_error(NumberSeriesError::CountOutOfRange);
        given(vec![]).when(allocate(COUNT_MAX)).then_expect_events(vec![allocated(1, COUNT_MAX)]);
        given(vec![]).when(allocate(COUNT_MAX + 1)).then_expect_error(NumberSeriesError::CountOutOfRange);
        given(vec![allocated(NUMBER_MAX - 1, 1)]).when(allocate(1)).then_expect_error(NumberSeriesError::Exhausted);
    }
}
