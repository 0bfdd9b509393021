//! A task: waits in line, is leased to a server, runs there, and ends exactly once.
//!
//! Every lease has a number. Whoever reports on a task names the lease it holds; a lease that was taken back is refused,
//! so the answer of a server that was given up for lost changes nothing.

mod known;
pub mod refusal;
pub mod work;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use self::refusal::TaskError;
use self::work::TaskRequest;
use super::scheduling::Needs;
use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;

pub use known::{KnownTask, TaskRun};

/// Largest result that is kept, in bytes of JSON.
pub const RESULT_BYTES_MAX: usize = 256 * 1024;

/// Where a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// In line.
    Pending,
    /// Given to a server, the estimate not held yet.
    Leased,
    Running,
    Completed,
    Failed,
    Cancelled,
    TimedOut,
}

impl TaskStatus {
    /// The word for it. A lease lasts until the estimate is held, and counts as running.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased | Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

/// What readers that count tasks need to know of one: it moves from where it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    pub owner: UserId,
    pub task_type: String,
    pub from: TaskStatus,
}

/// Why a task failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCause {
    /// Its program did.
    Program,
    /// There was not enough money to start it.
    InsufficientBalance,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEvent {
    Submitted {
        owner: UserId,
        request: TaskRequest,
        needs: Needs,
        /// For all its GPUs.
        rate_per_minute: Decimal,
        timeout_seconds: u32,
        ttl_seconds: u32,
        expires_at: DateTime<Utc>,
    },
    Leased {
        server_id: Uuid,
        /// Which connection of the server's agent.
        session: u32,
        lease: u32,
        /// What is to be held.
        estimate: Decimal,
        moved: Moved,
    },
    Started {
        lease: u32,
        at: DateTime<Utc>,
    },
    Progressed {
        lease: u32,
        /// Percent.
        progress: f64,
    },
    /// Taken back from a server that does not run it.
    Requeued {
        lease: u32,
        why: String,
        moved: Moved,
    },
    Completed {
        lease: u32,
        result: Value,
        cost: Decimal,
        moved: Moved,
    },
    Failed {
        lease: u32,
        cause: FailureCause,
        error: String,
        moved: Moved,
    },
    /// Ended because there was no money to go on; what was used is paid for.
    Stopped {
        lease: u32,
        cost: Decimal,
        moved: Moved,
    },
    TimedOut {
        /// None for a task that waited too long.
        lease: Option<u32>,
        cost: Decimal,
        moved: Moved,
    },
    Cancelled {
        by: UserId,
        lease: Option<u32>,
        cost: Decimal,
        moved: Moved,
    },
    /// In line again, under the same id.
    Retried {
        by: UserId,
        expires_at: DateTime<Utc>,
        moved: Moved,
    },
    Deleted {
        by: UserId,
        moved: Moved,
    },
}

event_names!(TaskEvent {
    Submitted => "task.submitted" 1,
    Leased => "task.leased" 1,
    Started => "task.started" 1,
    Progressed => "task.progressed" 1,
    Requeued => "task.requeued" 1,
    Completed => "task.completed" 1,
    Failed => "task.failed" 1,
    Stopped => "task.stopped" 1,
    TimedOut => "task.timed_out" 1,
    Cancelled => "task.cancelled" 1,
    Retried => "task.retried" 1,
    Deleted => "task.deleted" 1,
});

/// What the owner of a task may do at the moment; facts from outside the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// What can be held of the owner's balance.
    pub available: Decimal,
    /// Tasks of the owner that wait or run.
    pub unfinished: u64,
    /// Most of them.
    pub limit: u64,
}

#[derive(Debug, Clone)]
pub enum TaskCommand {
    Submit {
        owner: UserId,
        request: TaskRequest,
        /// How long it may run and live unless `config` says otherwise, in seconds.
        timeout_seconds: u32,
        ttl_seconds: u32,
        allowance: Allowance,
    },
    /// Gives the task to a server.
    Lease {
        server_id: Uuid,
        session: u32,
    },
    /// The estimate is held: it runs.
    Start {
        lease: u32,
    },
    /// The estimate cannot be held.
    Decline {
        lease: u32,
    },
    Progress {
        lease: u32,
        progress: f64,
    },
    Complete {
        lease: u32,
        result: Value,
    },
    Fail {
        lease: u32,
        error: String,
    },
    /// The server does not run it any more.
    Requeue {
        lease: u32,
        why: String,
    },
    /// There is no money left to go on; `covered` was held in all.
    Stop {
        lease: u32,
        covered: Decimal,
    },
    /// Ends it if its time has passed.
    TimeOut,
    Cancel {
        by: UserId,
    },
    Retry {
        by: UserId,
        allowance: Allowance,
    },
    Delete {
        by: UserId,
    },
}

/// A task, if there is one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Task {
    #[default]
    Unknown,
    Known(Box<KnownTask>),
    Deleted,
}

impl Task {
    /// The task, unless it does not exist (any more).
    ///
    /// # Errors
    /// [`TaskError::NotFound`].
    pub fn known(&self) -> Result<&KnownTask, TaskError> {
        match self {
            Self::Known(task) => Ok(task),
            Self::Unknown | Self::Deleted => Err(TaskError::NotFound),
        }
    }
}

impl Decider for Task {
    fn decide(&self, command: TaskCommand, now: DateTime<Utc>) -> Result<Vec<TaskEvent>, TaskError> {
        if let TaskCommand::Submit { owner, request, timeout_seconds, ttl_seconds, allowance } = command {
            return match self {
                Self::Unknown => known::submit(owner, request, (timeout_seconds, ttl_seconds), allowance, now),
                Self::Known(_) | Self::Deleted => Err(TaskError::AlreadySubmitted),
            };
        }
        self.known()?.decide(command, now)
    }
}

impl cqrs_es::Aggregate for Task {
    const TYPE: &'static str = "task";
    type Command = TaskCommand;
    type Event = TaskEvent;
    type Error = TaskError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: TaskEvent) {
        match (&mut *self, event) {
            (_, TaskEvent::Deleted { .. }) => *self = Self::Deleted,
            (Self::Known(task), event) => task.apply(&event),
            (_, event) => {
                if let Some(task) = KnownTask::submitted(event) {
                    *self = Self::Known(Box::new(task));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
