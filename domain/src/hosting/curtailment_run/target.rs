//! One miner of a curtailment run, from its plan to its release.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::hosting::miner::registration::FigureSource;
use crate::hosting::miner_command::RunStep;

/// A miner as the plan counts on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedTarget {
    pub miner_id: i64,
    pub serial_number: String,
    pub model_id: i64,
    pub customer_id: Option<i64>,
    pub hashrate_ths: f64,
    pub power_w: f64,
    pub power_source: FigureSource,
    /// Revenue less energy in a day, where the market was given.
    pub daily_profit_usd: Option<Decimal>,
}

/// Where a target stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// Its order has not gone out yet.
    Pending,
    /// Its order has gone out.
    Dispatched,
    /// A reading shows that it stopped.
    Confirmed,
    /// It acknowledged and hashes on.
    Drifted,
    /// It could not be told, or not be read.
    Unavailable,
    /// It hashes again, or never stopped.
    Released,
    /// It was told to start and does not hash.
    RestoreFailed,
}

impl TargetState {
    /// The word that answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Dispatched => "dispatched",
            Self::Confirmed => "confirmed",
            Self::Drifted => "drifted",
            Self::Unavailable => "unavailable",
            Self::Released => "released",
            Self::RestoreFailed => "restore_failed",
        }
    }
}

/// What became of the order to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetOutcome {
    Dispatched,
    Confirmed,
    Drifted { why: String },
    Failed { why: String },
}

/// How far one target has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub power_w: f64,
    pub hashrate_ths: f64,
    pub step: RunStep,
    pub state: TargetState,
    /// Orders of this step, from 1.
    pub attempt: u32,
    /// An order to stop has gone out, so it must be told to start again.
    pub may_be_stopped: bool,
    /// It did not do its part.
    pub failed: bool,
}

/// The change of a target that an outcome causes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub state: TargetState,
    pub attempt: u32,
    pub why: Option<String>,
}

impl Progress {
    /// A target that nobody has told anything.
    pub fn planned(target: &PlannedTarget) -> Self {
        Self {
            power_w: target.power_w,
            hashrate_ths: target.hashrate_ths,
            step: RunStep::Curtail,
            state: TargetState::Pending,
            attempt: 1,
            may_be_stopped: false,
            failed: false,
        }
    }

    /// Whether its order has come to an end.
    pub fn is_settled(&self) -> bool {
        match self.state {
            TargetState::Pending | TargetState::Dispatched => false,
            TargetState::Confirmed
            | TargetState::Drifted
            | TargetState::Unavailable
            | TargetState::Released
            | TargetState::RestoreFailed => true,
        }
    }

    /// What an outcome of its present order means; none when it means nothing new. A target that drifted is told
    /// again, up to `attempts_max` times in all.
    pub fn after(&self, outcome: TargetOutcome, attempts_max: u32) -> Option<Move> {
        if self.is_settled() {
            return None;
        }
        let (state, why) = match (outcome, self.step) {
            (TargetOutcome::Dispatched, _) if self.state == TargetState::Dispatched => return None,
            (TargetOutcome::Dispatched, _) => (TargetState::Dispatched, None),
            (TargetOutcome::Confirmed, RunStep::Curtail) => (TargetState::Confirmed, None),
            (TargetOutcome::Confirmed, RunStep::Restore) => (TargetState::Released, None),
            (TargetOutcome::Drifted { why }, _) if self.attempt < attempts_max => {
                return Some(Move { state: TargetState::Pending, attempt: self.attempt + 1, why: Some(why) });
            }
            (TargetOutcome::Drifted { why }, RunStep::Curtail) => (TargetState::Drifted, Some(why)),
            (TargetOutcome::Failed { why }, RunStep::Curtail) => (TargetState::Unavailable, Some(why)),
            (TargetOutcome::Drifted { why } | TargetOutcome::Failed { why }, RunStep::Restore) => {
                (TargetState::RestoreFailed, Some(why))
            }
        };
        Some(Move { state, attempt: self.attempt, why })
    }

    /// Takes over a change that has happened.
    pub fn moved(&mut self, state: TargetState, attempt: u32) {
        self.state = state;
        self.attempt = attempt;
        match state {
            TargetState::Pending | TargetState::Released => {}
            TargetState::Dispatched | TargetState::Confirmed => self.may_be_stopped = true,
            TargetState::Drifted | TargetState::Unavailable | TargetState::RestoreFailed => self.failed = true,
        }
    }

    /// Begins the second half: it waits for its order to start, or is free because it was never told to stop.
    pub fn begin_restore(&mut self, told: bool) {
        self.step = RunStep::Restore;
        self.attempt = 1;
        self.state = if told { TargetState::Pending } else { TargetState::Released };
    }

    /// Whether it must be told to start when the run ends now: an order to stop has gone out or is about to.
    pub fn needs_restore(&self) -> bool {
        self.may_be_stopped || !self.is_settled()
    }
}
