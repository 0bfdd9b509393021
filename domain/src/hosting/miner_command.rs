//! One order to one miner, from the wish to what became of it.
//!
//! A miner's acknowledgement proves nothing, so an order is confirmed only by a later reading: requested, dispatched,
//! then confirmed, drifted (it acknowledged and does otherwise) or failed (it could not be told, or not be read).

pub mod request;

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use self::request::{MinerFacts, POOL_URL_CHARS_MAX, WORKER_CHARS_MAX, can_be_told};
use super::miner_order::{MinerOrder, POOLS_MAX};
use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::refusal::{Refusal, RefusalKind};

/// Longest explanation that is kept, in characters.
pub const WHY_CHARS_MAX: usize = 500;

/// The curtailment run an order belongs to, and which half of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPart {
    pub plan_id: i64,
    pub step: RunStep,
}

/// The two halves of a curtailment run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStep {
    Curtail,
    Restore,
}

/// What a miner said of itself when it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    pub read_at: DateTime<Utc>,
    pub is_mining: bool,
    pub hashrate_ths: Option<f64>,
    /// Stock Antminers do not tell.
    pub power_w: Option<f64>,
    /// The hottest board or chip.
    pub temperature_max_c: Option<f64>,
}

/// Why an order came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Nothing answers at the address.
    Unreachable,
    /// The firmware does not know such an order.
    Unsupported,
    /// The miner answered no.
    Refused,
    /// It did not answer in time.
    TimedOut,
    /// It answered something that makes no sense.
    BadAnswer,
}

impl FailureReason {
    /// The word that answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Unsupported => "unsupported_command",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::BadAnswer => "bad_answer",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinerCommandEvent {
    Requested {
        miner_id: i64,
        order: MinerOrder,
        address: IpAddr,
        requested_by: Option<UserId>,
        run: Option<RunPart>,
    },
    Dispatched {
        miner_id: i64,
        run: Option<RunPart>,
        /// Whether the miner had acknowledged when the time limit ended; no proof either way.
        acknowledged: bool,
        /// How many tries it took, from 1.
        tries: u32,
        /// What the miner said before, where it was read.
        before: Option<Observation>,
    },
    Confirmed {
        miner_id: i64,
        run: Option<RunPart>,
        order: MinerOrder,
        observation: Observation,
    },
    Drifted {
        miner_id: i64,
        run: Option<RunPart>,
        why: String,
        observation: Observation,
    },
    Failed {
        miner_id: i64,
        run: Option<RunPart>,
        reason: FailureReason,
        why: String,
    },
}

event_names!(MinerCommandEvent {
    Requested => "miner_command.requested" 1,
    Dispatched => "miner_command.dispatched" 1,
    Confirmed => "miner_command.confirmed" 1,
    Drifted => "miner_command.drifted" 1,
    Failed => "miner_command.failed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MinerCommandError {
    #[error("there is no such command")]
    NotFound,
    #[error("this command has been requested before")]
    AlreadyRequested,
    #[error("the miner has no address at which it could be told")]
    NoAddress,
    #[error("this miner does not support the command {order}")]
    Unsupported { order: &'static str },
    #[error("the miner is already {state}")]
    AlreadyThere { state: &'static str },
    #[error("the curtailment run {plan_id} keeps the miner stopped: end the run, or force the order")]
    Held { plan_id: i64 },
    #[error("set_pool needs 1 to {POOLS_MAX} pools")]
    PoolsOutOfRange,
    #[error(
        "a pool has an address such as stratum+tcp://host:port of at most {POOL_URL_CHARS_MAX} characters \
         and a worker of 1 to {WORKER_CHARS_MAX}"
    )]
    PoolOutOfRange,
    #[error("a fan speed is a percentage from 0 to 100")]
    FanSpeedOutOfRange,
    #[error("the command is {state}")]
    WrongState { state: &'static str },
}

impl Refusal for MinerCommandError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRequested => RefusalKind::AlreadyExists,
            Self::NoAddress
            | Self::Unsupported { .. }
            | Self::PoolsOutOfRange
            | Self::PoolOutOfRange
            | Self::FanSpeedOutOfRange => RefusalKind::Invalid,
            Self::AlreadyThere { .. } | Self::Held { .. } | Self::WrongState { .. } => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "miner_command.not_found",
            Self::AlreadyRequested => "miner_command.already_requested",
            Self::NoAddress => "miner_command.no_address",
            Self::Unsupported { .. } => "miner_command.unsupported",
            Self::AlreadyThere { .. } => "miner_command.already_there",
            Self::Held { .. } => "miner_command.held",
            Self::PoolsOutOfRange => "miner_command.pools_out_of_range",
            Self::PoolOutOfRange => "miner_command.pool_out_of_range",
            Self::FanSpeedOutOfRange => "miner_command.fan_speed_out_of_range",
            Self::WrongState { .. } => "miner_command.wrong_state",
        }
    }
}

#[derive(Debug, Clone)]
pub enum MinerCommandCommand {
    Request {
        miner: MinerFacts,
        order: MinerOrder,
        requested_by: Option<UserId>,
        run: Option<RunPart>,
        /// Tells a miner even if it is thought to be in that state already, or a curtailment run keeps it stopped.
        force: bool,
    },
    RecordDispatch {
        acknowledged: bool,
        tries: u32,
        before: Option<Observation>,
    },
    Confirm {
        observation: Observation,
    },
    RecordDrift {
        why: String,
        observation: Observation,
    },
    Fail {
        reason: FailureReason,
        why: String,
    },
}

/// How far a command has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum MinerCommand {
    #[default]
    Unknown,
    Underway(Underway),
    Settled {
        /// `confirmed`, `drifted` or `failed`.
        outcome: Outcome,
    },
}

/// A command that nobody knows the end of yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Underway {
    pub miner_id: i64,
    pub order: MinerOrder,
    pub address: IpAddr,
    pub run: Option<RunPart>,
    pub dispatched: bool,
}

/// The ends of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Confirmed,
    Drifted,
    Failed,
}

impl Decider for MinerCommand {
    fn decide(
        &self,
        command: MinerCommandCommand,
        _now: DateTime<Utc>,
    ) -> Result<Vec<MinerCommandEvent>, MinerCommandError> {
        let event = match command {
            MinerCommandCommand::Request { miner, order, requested_by, run, force } => {
                if *self != Self::Unknown {
                    return Err(MinerCommandError::AlreadyRequested);
                }
                let address = can_be_told(&miner, &order, force)?;
                MinerCommandEvent::Requested { miner_id: miner.miner_id, order, address, requested_by, run }
            }
            MinerCommandCommand::RecordDispatch { acknowledged, tries, before } => {
                let Underway { miner_id, run, .. } = *self.requested()?;
                MinerCommandEvent::Dispatched { miner_id, run, acknowledged, tries, before }
            }
            MinerCommandCommand::Confirm { observation } => {
                let Underway { miner_id, run, ref order, .. } = *self.dispatched()?;
                MinerCommandEvent::Confirmed { miner_id, run, order: order.clone(), observation }
            }
            MinerCommandCommand::RecordDrift { why, observation } => {
                let Underway { miner_id, run, .. } = *self.dispatched()?;
                MinerCommandEvent::Drifted { miner_id, run, why: shortened(&why), observation }
            }
            MinerCommandCommand::Fail { reason, why } => {
                let Underway { miner_id, run, .. } = *self.underway()?;
                MinerCommandEvent::Failed { miner_id, run, reason, why: shortened(&why) }
            }
        };
        Ok(vec![event])
    }
}

impl MinerCommand {
    fn underway(&self) -> Result<&Underway, MinerCommandError> {
        match self {
            Self::Unknown => Err(MinerCommandError::NotFound),
            Self::Underway(underway) => Ok(underway),
            Self::Settled { outcome } => Err(MinerCommandError::WrongState {
                state: match outcome {
                    Outcome::Confirmed => "confirmed",
                    Outcome::Drifted => "drifted",
                    Outcome::Failed => "failed",
                },
            }),
        }
    }

    fn requested(&self) -> Result<&Underway, MinerCommandError> {
        let underway = self.underway()?;
        if underway.dispatched { Err(MinerCommandError::WrongState { state: "dispatched" }) } else { Ok(underway) }
    }

    fn dispatched(&self) -> Result<&Underway, MinerCommandError> {
        let underway = self.underway()?;
        if underway.dispatched { Ok(underway) } else { Err(MinerCommandError::WrongState { state: "requested" }) }
    }
}

fn shortened(why: &str) -> String {
    why.chars().take(WHY_CHARS_MAX).collect()
}

impl cqrs_es::Aggregate for MinerCommand {
    const TYPE: &'static str = "miner_command";
    type Command = MinerCommandCommand;
    type Event = MinerCommandEvent;
    type Error = MinerCommandError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: MinerCommandEvent) {
        match event {
            MinerCommandEvent::Requested { miner_id, order, address, run, .. } => {
                *self = Self::Underway(Underway { miner_id, order, address, run, dispatched: false });
            }
            MinerCommandEvent::Dispatched { .. } => {
                if let Self::Underway(underway) = self {
                    underway.dispatched = true;
                }
            }
            MinerCommandEvent::Confirmed { .. } => *self = Self::Settled { outcome: Outcome::Confirmed },
            MinerCommandEvent::Drifted { .. } => *self = Self::Settled { outcome: Outcome::Drifted },
            MinerCommandEvent::Failed { .. } => *self = Self::Settled { outcome: Outcome::Failed },
        }
    }
}

#[cfg(test)]
mod tests;
