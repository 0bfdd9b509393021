//! A curtailment run: miners of a site stop for a while and start again.
//!
//! Planned, executing (orders to stop go out), active (every order has come to an end), restoring (orders to start go
//! out), then completed, completed with failures, or cancelled. The orders are commands of their own; this aggregate
//! learns what became of them.

pub mod plan;
pub mod run;
pub mod target;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use self::plan::{ATTEMPTS_MAX, DURATION_MAX, Plan, TARGETS_MAX, TEXT_CHARS_MAX};
use self::run::Run;
use self::target::{TargetOutcome, TargetState};
use super::miner_command::RunStep;
use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

/// Why miners are started again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestoreCause {
    /// The run has lasted as long as it should.
    Ended,
    /// Somebody stopped the run.
    Cancelled { reason: Option<String> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CurtailmentRunEvent {
    Planned {
        id: i64,
        plan: Box<Plan>,
    },
    /// These miners are to stop.
    Started {
        miner_ids: Vec<i64>,
    },
    /// A target went to another state; `pending` with a higher attempt means that it is to be told again.
    TargetMoved {
        miner_id: i64,
        step: RunStep,
        state: TargetState,
        attempt: u32,
        why: Option<String>,
    },
    /// Every order to stop has come to an end.
    Activated {
        /// What the confirmed targets drew.
        reduction_kw: f64,
        /// What the confirmed targets mined; runs of earlier versions do not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hashrate_ths: Option<f64>,
        confirmed: u32,
        failed: u32,
    },
    /// These miners are to start.
    RestoreStarted {
        cause: RestoreCause,
        miner_ids: Vec<i64>,
    },
    Completed,
    CompletedWithFailures {
        /// Targets that did not stop, or did not start again.
        failures: u32,
    },
    Cancelled {
        reason: Option<String>,
        /// Targets that did not start again.
        failures: u32,
    },
}

event_names!(CurtailmentRunEvent {
    Planned => "curtailment_run.planned" 1,
    Started => "curtailment_run.started" 1,
    TargetMoved => "curtailment_run.target_moved" 1,
    Activated => "curtailment_run.activated" 1,
    RestoreStarted => "curtailment_run.restore_started" 1,
    Completed => "curtailment_run.completed" 1,
    CompletedWithFailures => "curtailment_run.completed_with_failures" 1,
    Cancelled => "curtailment_run.cancelled" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CurtailmentRunError {
    #[error("there is no such curtailment plan")]
    NotFound,
    #[error("this curtailment has been planned before")]
    AlreadyPlanned,
    #[error("a run has 1 to {TARGETS_MAX} miners, each one once")]
    TargetsOutOfRange,
    #[error("a text has at most {TEXT_CHARS_MAX} characters, none of them a control character")]
    TextTooLong,
    #[error("a run ends after its start, in the future, and lasts at most {} days", DURATION_MAX.num_days())]
    TimesOutOfRange,
    #[error("a target is told at least once and at most {ATTEMPTS_MAX} times")]
    AttemptsOutOfRange,
    #[error("the time of this run has passed")]
    Over,
    #[error("the curtailment run is {state}")]
    WrongState { state: &'static str },
}

impl Refusal for CurtailmentRunError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyPlanned => RefusalKind::AlreadyExists,
            Self::TargetsOutOfRange | Self::TextTooLong | Self::TimesOutOfRange | Self::AttemptsOutOfRange => {
                RefusalKind::Invalid
            }
            Self::Over => RefusalKind::Expired,
            Self::WrongState { .. } => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "curtailment_run.not_found",
            Self::AlreadyPlanned => "curtailment_run.already_planned",
            Self::TargetsOutOfRange => "curtailment_run.targets_out_of_range",
            Self::TextTooLong => "curtailment_run.text_too_long",
            Self::TimesOutOfRange => "curtailment_run.times_out_of_range",
            Self::AttemptsOutOfRange => "curtailment_run.attempts_out_of_range",
            Self::Over => "curtailment_run.over",
            Self::WrongState { .. } => "curtailment_run.wrong_state",
        }
    }
}

#[derive(Debug, Clone)]
pub enum CurtailmentRunCommand {
    /// Writes the plan down, and with `start` lets the orders to stop go out at once.
    Plan { id: i64, plan: Box<Plan>, start: bool },
    /// Lets the orders to stop go out.
    Start,
    /// What became of the order to one target.
    RecordOutcome { miner_id: i64, step: RunStep, outcome: TargetOutcome },
    /// Ends the curtailment and lets the orders to start go out.
    Restore,
    /// Stops the run; miners that were told to stop are started again.
    Cancel { reason: Option<String> },
}

/// A run as decisions see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum CurtailmentRun {
    #[default]
    Unknown,
    Known(Run),
}

impl Decider for CurtailmentRun {
    fn decide(
        &self,
        command: CurtailmentRunCommand,
        now: DateTime<Utc>,
    ) -> Result<Vec<CurtailmentRunEvent>, CurtailmentRunError> {
        match (self, command) {
            (Self::Unknown, CurtailmentRunCommand::Plan { id, plan, start }) => {
                plan.check(now)?;
                let started = start.then(|| Run::of(&plan).start(now)).transpose()?.unwrap_or_default();
                Ok(std::iter::once(CurtailmentRunEvent::Planned { id, plan }).chain(started).collect())
            }
            (Self::Known(_), CurtailmentRunCommand::Plan { .. }) => Err(CurtailmentRunError::AlreadyPlanned),
            (
                Self::Unknown,
                CurtailmentRunCommand::Start
                | CurtailmentRunCommand::RecordOutcome { .. }
                | CurtailmentRunCommand::Restore
                | CurtailmentRunCommand::Cancel { .. },
            ) => Err(CurtailmentRunError::NotFound),
            (Self::Known(run), CurtailmentRunCommand::Start) => run.start(now),
            (Self::Known(run), CurtailmentRunCommand::RecordOutcome { miner_id, step, outcome }) => {
                Ok(run.record(miner_id, step, outcome))
            }
            (Self::Known(run), CurtailmentRunCommand::Restore) => run.restore(RestoreCause::Ended),
            (Self::Known(run), CurtailmentRunCommand::Cancel { reason }) => run.cancel(reason),
        }
    }
}

impl cqrs_es::Aggregate for CurtailmentRun {
    const TYPE: &'static str = "curtailment_run";
    type Command = CurtailmentRunCommand;
    type Event = CurtailmentRunEvent;
    type Error = CurtailmentRunError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: CurtailmentRunEvent) {
        if let CurtailmentRunEvent::Planned { plan, .. } = event {
            *self = Self::Known(Run::of(&plan));
        } else if let Self::Known(run) = self {
            run.apply(event);
        }
    }
}

#[cfg(test)]
mod tests;
