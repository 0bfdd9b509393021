//! A task that exists: what it may do, and what that makes of it.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::refusal::TaskError;
use super::work::{self, MINUTES_ASSUMED, TaskRequest};
use super::{Allowance, FailureCause, Moved, RESULT_BYTES_MAX, TaskCommand, TaskEvent, TaskStatus};
use crate::compute::scheduling::Needs;
use crate::metadata::UserId;
use crate::payload;

/// Longest error of a task that is kept, in characters.
const ERROR_CHARS_MAX: usize = 2_000;

/// A task in line, at work, or over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownTask {
    pub owner: UserId,
    pub request: TaskRequest,
    pub needs: Needs,
    /// For all its GPUs.
    pub rate_per_minute: Decimal,
    pub timeout_seconds: u32,
    ttl_seconds: u32,
    pub expires_at: DateTime<Utc>,
    pub status: TaskStatus,
    /// The number of the last lease; 0 before the first.
    pub leases: u32,
    /// The run under the last lease, while it is not over.
    pub run: Option<TaskRun>,
    progress: f64,
}

/// A run of a task on a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRun {
    pub server_id: Uuid,
    pub session: u32,
    pub lease: u32,
    /// None until the estimate is held.
    pub started_at: Option<DateTime<Utc>>,
}

pub(super) fn submit(
    owner: UserId,
    request: TaskRequest,
    (timeout_seconds, ttl_seconds): (u32, u32),
    allowance: Allowance,
    now: DateTime<Utc>,
) -> Result<Vec<TaskEvent>, TaskError> {
    let work = request.check()?;
    let needs = work.needs();
    let rate_per_minute = work::rate_per_minute(&request.task_type) * Decimal::from(needs.gpus.max(1));
    allowance.check(estimate(rate_per_minute, request.estimated_minutes))?;
    let (timeout_seconds, ttl_seconds) =
        (work.timeout_seconds.unwrap_or(timeout_seconds), work.ttl_seconds.unwrap_or(ttl_seconds));
    let expires_at = now + TimeDelta::seconds(ttl_seconds.into());
    Ok(vec![TaskEvent::Submitted { owner, request, needs, rate_per_minute, timeout_seconds, ttl_seconds, expires_at }])
}

fn estimate(rate_per_minute: Decimal, minutes: Option<u32>) -> Decimal {
    rate_per_minute * Decimal::from(minutes.unwrap_or(MINUTES_ASSUMED))
}

impl Allowance {
    fn check(self, estimate: Decimal) -> Result<(), TaskError> {
        if self.available < estimate {
            Err(TaskError::InsufficientBalance)
        } else if self.unfinished >= self.limit {
            Err(TaskError::TooMany(self.limit))
        } else {
            Ok(())
        }
    }
}

impl KnownTask {
    /// What a fresh task is, if `event` is the one that makes it.
    pub(super) fn submitted(event: TaskEvent) -> Option<Self> {
        let TaskEvent::Submitted { owner, request, needs, rate_per_minute, timeout_seconds, ttl_seconds, expires_at } =
            event
        else {
            return None;
        };
        Some(Self {
            owner,
            request,
            needs,
            rate_per_minute,
            timeout_seconds,
            ttl_seconds,
            expires_at,
            status: TaskStatus::Pending,
            leases: 0,
            run: None,
            progress: 0.0,
        })
    }

    /// What is held when it starts.
    pub fn estimate(&self) -> Decimal {
        estimate(self.rate_per_minute, self.request.estimated_minutes)
    }

    /// What its present run has cost at `now`. A run that nobody ended in time costs no more than its time did.
    pub fn cost(&self, now: DateTime<Utc>) -> Decimal {
        let started_at = self.run.as_ref().and_then(|run| run.started_at);
        let until = self.ends_at().map_or(now, |ends_at| ends_at.min(now));
        started_at.map_or(Decimal::ZERO, |at| work::cost(self.rate_per_minute, until - at))
    }

    /// When it ends by itself, as it stands: what its life or its run may last.
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        match self.status {
            TaskStatus::Pending | TaskStatus::Leased => Some(self.expires_at),
            TaskStatus::Running => {
                let started_at = self.run.as_ref().and_then(|run| run.started_at);
                let run_ends = started_at.map(|at| at + TimeDelta::seconds(self.timeout_seconds.into()));
                Some(run_ends.map_or(self.expires_at, |ends| ends.min(self.expires_at)))
            }
            TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled | TaskStatus::TimedOut => None,
        }
    }

    fn moved(&self) -> Moved {
        Moved { owner: self.owner, task_type: self.request.task_type.clone(), from: self.status }
    }

    pub(super) fn decide(&self, command: TaskCommand, now: DateTime<Utc>) -> Result<Vec<TaskEvent>, TaskError> {
        match command {
            TaskCommand::Submit { .. } => Err(TaskError::AlreadySubmitted),
            TaskCommand::Lease { server_id, session } => self.lease(server_id, session, now),
            TaskCommand::Start { lease } => match self.held_by(lease)?.started_at {
                Some(_) => Ok(vec![]),
                None => Ok(vec![TaskEvent::Started { lease, at: now }]),
            },
            TaskCommand::Decline { lease } => {
                self.held_by(lease)?;
                let (cause, error) = (FailureCause::InsufficientBalance, "insufficient balance".to_owned());
                Ok(vec![TaskEvent::Failed { lease, cause, error, moved: self.moved() }])
            }
            TaskCommand::Progress { lease, progress } => self.progress(lease, progress),
            TaskCommand::Complete { lease, result } => self.complete(lease, result, now),
            TaskCommand::Fail { lease, error } => self.fail(lease, &error),
            TaskCommand::Requeue { lease, why } => {
                self.held_by(lease)?;
                Ok(vec![TaskEvent::Requeued { lease, why, moved: self.moved() }])
            }
            TaskCommand::Stop { lease, covered } => {
                self.held_by(lease)?;
                Ok(vec![TaskEvent::Stopped { lease, cost: self.cost(now).min(covered), moved: self.moved() }])
            }
            TaskCommand::TimeOut => Ok(self.time_out(now)),
            TaskCommand::Cancel { by } => self.cancel(by, now),
            TaskCommand::Retry { by, allowance } => self.retry(by, allowance, now),
            TaskCommand::Delete { by } => match self.run {
                Some(_) => Err(TaskError::IllegalState(self.status)),
                None => Ok(vec![TaskEvent::Deleted { by, moved: self.moved() }]),
            },
        }
    }

    /// The run, if it is still the one under `lease`.
    fn held_by(&self, lease: u32) -> Result<&TaskRun, TaskError> {
        self.run.as_ref().filter(|run| run.lease == lease).ok_or(TaskError::LeaseLost(lease))
    }

    fn lease(&self, server_id: Uuid, session: u32, now: DateTime<Utc>) -> Result<Vec<TaskEvent>, TaskError> {
        if self.status != TaskStatus::Pending || self.expires_at <= now {
            return Err(TaskError::IllegalState(self.status));
        }
        let (lease, estimate) = (self.leases + 1, self.estimate());
        Ok(vec![TaskEvent::Leased { server_id, session, lease, estimate, moved: self.moved() }])
    }

    fn progress(&self, lease: u32, progress: f64) -> Result<Vec<TaskEvent>, TaskError> {
        self.held_by(lease)?;
        if !(0.0..=100.0).contains(&progress) {
            return Err(TaskError::ProgressOutOfRange);
        }
        let progress = (progress * 10.0).round() / 10.0;
        let unchanged = (self.progress - progress).abs() < 0.05;
        Ok(if unchanged { vec![] } else { vec![TaskEvent::Progressed { lease, progress }] })
    }

    fn complete(&self, lease: u32, result: serde_json::Value, now: DateTime<Utc>) -> Result<Vec<TaskEvent>, TaskError> {
        if self.status == TaskStatus::Completed && self.leases == lease {
            return Ok(vec![]);
        }
        self.held_by(lease)?;
        let text = result.to_string();
        if text.len() > RESULT_BYTES_MAX || payload::holds_nul(&text) {
            return Err(TaskError::ResultUnfit);
        }
        Ok(vec![TaskEvent::Completed { lease, result, cost: self.cost(now), moved: self.moved() }])
    }

    fn fail(&self, lease: u32, error: &str) -> Result<Vec<TaskEvent>, TaskError> {
        if self.status == TaskStatus::Failed && self.leases == lease {
            return Ok(vec![]);
        }
        self.held_by(lease)?;
        let error = error.chars().filter(|c| *c != '\0').take(ERROR_CHARS_MAX).collect();
        Ok(vec![TaskEvent::Failed { lease, cause: FailureCause::Program, error, moved: self.moved() }])
    }

    fn time_out(&self, now: DateTime<Utc>) -> Vec<TaskEvent> {
        if self.ends_at().is_none_or(|ends_at| ends_at > now) {
            return vec![];
        }
        let lease = self.run.as_ref().map(|run| run.lease);
        vec![TaskEvent::TimedOut { lease, cost: self.cost(now), moved: self.moved() }]
    }

    fn cancel(&self, by: UserId, now: DateTime<Utc>) -> Result<Vec<TaskEvent>, TaskError> {
        match self.status {
            TaskStatus::Pending | TaskStatus::Leased | TaskStatus::Running => {
                let lease = self.run.as_ref().map(|run| run.lease);
                Ok(vec![TaskEvent::Cancelled { by, lease, cost: self.cost(now), moved: self.moved() }])
            }
            TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Cancelled | TaskStatus::TimedOut => {
                Err(TaskError::IllegalState(self.status))
            }
        }
    }

    fn retry(&self, by: UserId, allowance: Allowance, now: DateTime<Utc>) -> Result<Vec<TaskEvent>, TaskError> {
        match self.status {
            TaskStatus::Failed | TaskStatus::Cancelled | TaskStatus::TimedOut => {
                allowance.check(self.estimate())?;
                let expires_at = now + TimeDelta::seconds(self.ttl_seconds.into());
                Ok(vec![TaskEvent::Retried { by, expires_at, moved: self.moved() }])
            }
            TaskStatus::Pending | TaskStatus::Leased | TaskStatus::Running | TaskStatus::Completed => {
                Err(TaskError::IllegalState(self.status))
            }
        }
    }

    pub(super) fn apply(&mut self, event: &TaskEvent) {
        match event {
            TaskEvent::Submitted { .. } | TaskEvent::Deleted { .. } => {}
            TaskEvent::Leased { server_id, session, lease, .. } => {
                (self.status, self.leases, self.progress) = (TaskStatus::Leased, *lease, 0.0);
                self.run = Some(TaskRun { server_id: *server_id, session: *session, lease: *lease, started_at: None });
            }
            TaskEvent::Started { at, .. } => {
                self.status = TaskStatus::Running;
                self.run.iter_mut().for_each(|run| run.started_at = Some(*at));
            }
            TaskEvent::Progressed { progress, .. } => self.progress = *progress,
            TaskEvent::Requeued { .. } => self.over(TaskStatus::Pending),
            TaskEvent::Completed { .. } => self.over(TaskStatus::Completed),
            TaskEvent::Failed { .. } | TaskEvent::Stopped { .. } => self.over(TaskStatus::Failed),
            TaskEvent::TimedOut { .. } => self.over(TaskStatus::TimedOut),
            TaskEvent::Cancelled { .. } => self.over(TaskStatus::Cancelled),
            TaskEvent::Retried { expires_at, .. } => {
                self.over(TaskStatus::Pending);
                self.expires_at = *expires_at;
            }
        }
    }

    fn over(&mut self, status: TaskStatus) {
        (self.status, self.run) = (status, None);
    }
}
