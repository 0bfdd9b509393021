//! How a planned run goes on.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::plan::{ExecutionMode, Plan, check_text};
use super::target::{Progress, TargetOutcome, TargetState};
use super::{CurtailmentRunCommand, CurtailmentRunError, CurtailmentRunEvent, RestoreCause};
use crate::hosting::miner_command::RunStep;

/// Why a run that nobody started is given up.
const PASSED: &str = "its time passed before it was started";

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Planned,
    Executing,
    Active,
    Restoring,
    Completed,
    CompletedWithFailures,
    Cancelled,
}

impl Phase {
    /// The word that answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Executing => "executing",
            Self::Active => "active",
            Self::Restoring => "restoring",
            Self::Completed => "completed",
            Self::CompletedWithFailures => "completed_with_failures",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What decisions need to know of a planned run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub phase: Phase,
    pub mode: ExecutionMode,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub attempts_max: u32,
    pub targets: BTreeMap<i64, Progress>,
    /// Why it restores, once it does.
    pub cause: Option<RestoreCause>,
}

impl Run {
    /// Whether nothing more will happen.
    pub fn is_over(&self) -> bool {
        match self.phase {
            Phase::Completed | Phase::CompletedWithFailures | Phase::Cancelled => true,
            Phase::Planned | Phase::Executing | Phase::Active | Phase::Restoring => false,
        }
    }

    /// What the passing of time calls for at `now`.
    pub fn due(&self, now: DateTime<Utc>) -> Option<CurtailmentRunCommand> {
        match self.phase {
            Phase::Planned if self.ends_at <= now => {
                Some(CurtailmentRunCommand::Cancel { reason: Some(PASSED.to_owned()) })
            }
            Phase::Planned if self.mode == ExecutionMode::Auto && self.starts_at <= now => {
                Some(CurtailmentRunCommand::Start)
            }
            Phase::Executing | Phase::Active if self.mode != ExecutionMode::Manual && self.ends_at <= now => {
                Some(CurtailmentRunCommand::Restore)
            }
            Phase::Planned
            | Phase::Executing
            | Phase::Active
            | Phase::Restoring
            | Phase::Completed
            | Phase::CompletedWithFailures
            | Phase::Cancelled => None,
        }
    }

    pub(super) fn start(&self, now: DateTime<Utc>) -> Result<Vec<CurtailmentRunEvent>, CurtailmentRunError> {
        if self.phase != Phase::Planned {
            return Err(self.wrong_state());
        }
        if self.ends_at <= now {
            return Err(CurtailmentRunError::Over);
        }
        Ok(vec![CurtailmentRunEvent::Started { miner_ids: self.targets.keys().copied().collect() }])
    }

    pub(super) fn cancel(&self, reason: Option<String>) -> Result<Vec<CurtailmentRunEvent>, CurtailmentRunError> {
        check_text(reason.as_deref())?;
        match self.phase {
            Phase::Planned => Ok(vec![CurtailmentRunEvent::Cancelled { reason, failures: 0 }]),
            Phase::Executing
            | Phase::Active
            | Phase::Restoring
            | Phase::Completed
            | Phase::CompletedWithFailures
            | Phase::Cancelled => self.restore(RestoreCause::Cancelled { reason }),
        }
    }

    pub(super) fn restore(&self, cause: RestoreCause) -> Result<Vec<CurtailmentRunEvent>, CurtailmentRunError> {
        match self.phase {
            Phase::Executing | Phase::Active => {}
            Phase::Planned | Phase::Restoring | Phase::Completed | Phase::CompletedWithFailures | Phase::Cancelled => {
                return Err(self.wrong_state());
            }
        }
        let stopped = self.targets.iter().filter(|(_, target)| target.needs_restore());
        let miner_ids: Vec<_> = stopped.map(|(miner_id, _)| *miner_id).collect();
        let failures = count(self.targets.values().filter(|target| target.failed));
        let end = miner_ids.is_empty().then(|| final_event(&cause, failures, 0));
        let started = CurtailmentRunEvent::RestoreStarted { cause, miner_ids };
        Ok(std::iter::once(started).chain(end).collect())
    }

    /// Outcomes of orders that the run no longer waits for change nothing.
    pub(super) fn record(&self, miner_id: i64, step: RunStep, outcome: TargetOutcome) -> Vec<CurtailmentRunEvent> {
        let Some(target) = self.targets.get(&miner_id).filter(|target| target.step == step) else {
            return vec![];
        };
        let awaited = self.phase == Phase::Executing || self.phase == Phase::Restoring;
        let Some(change) = target.after(outcome, self.attempts_max).filter(|_| awaited) else {
            return vec![];
        };
        let mut target = target.clone();
        target.moved(change.state, change.attempt);
        let moved = CurtailmentRunEvent::TargetMoved {
            miner_id,
            step,
            state: change.state,
            attempt: change.attempt,
            why: change.why,
        };
        std::iter::once(moved).chain(self.next_phase(miner_id, &target)).collect()
    }

    /// What follows when the last target has settled; `changed` is how `miner_id` stands now.
    fn next_phase(&self, miner_id: i64, changed: &Progress) -> Option<CurtailmentRunEvent> {
        let targets = || self.targets.iter().map(|(id, target)| if *id == miner_id { changed } else { target });
        if !targets().all(Progress::is_settled) {
            return None;
        }
        let failures = count(targets().filter(|target| target.failed));
        if let Some(cause) = &self.cause {
            let unrestored = count(targets().filter(|target| target.state == TargetState::RestoreFailed));
            return Some(final_event(cause, failures, unrestored));
        }
        if targets().all(|target| !target.may_be_stopped) {
            return Some(CurtailmentRunEvent::CompletedWithFailures { failures });
        }
        let confirmed = || targets().filter(|target| target.state == TargetState::Confirmed);
        let reduction_w: f64 = confirmed().map(|target| target.power_w).sum();
        Some(CurtailmentRunEvent::Activated {
            reduction_kw: reduction_w / 1_000.0,
            hashrate_ths: Some(confirmed().map(|target| target.hashrate_ths).sum()),
            confirmed: count(confirmed()),
            failed: failures,
        })
    }

    fn wrong_state(&self) -> CurtailmentRunError {
        CurtailmentRunError::WrongState { state: self.phase.word() }
    }
}

/// How a run ends whose targets have all been told to start, or need not be told.
fn final_event(cause: &RestoreCause, failures: u32, unrestored: u32) -> CurtailmentRunEvent {
    match cause {
        RestoreCause::Cancelled { reason } => {
            CurtailmentRunEvent::Cancelled { reason: reason.clone(), failures: unrestored }
        }
        RestoreCause::Ended if failures > 0 => CurtailmentRunEvent::CompletedWithFailures { failures },
        RestoreCause::Ended => CurtailmentRunEvent::Completed,
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

impl Run {
    pub(super) fn of(plan: &Plan) -> Self {
        let targets = plan.targets.iter().map(|target| (target.miner_id, Progress::planned(target)));
        Self {
            phase: Phase::Planned,
            mode: plan.mode,
            starts_at: plan.starts_at,
            ends_at: plan.ends_at,
            attempts_max: plan.attempts_max,
            targets: targets.collect(),
            cause: None,
        }
    }

    pub(super) fn apply(&mut self, event: CurtailmentRunEvent) {
        match event {
            CurtailmentRunEvent::Planned { .. } => {}
            CurtailmentRunEvent::Started { .. } => self.phase = Phase::Executing,
            CurtailmentRunEvent::TargetMoved { miner_id, state, attempt, .. } => {
                if let Some(target) = self.targets.get_mut(&miner_id) {
                    target.moved(state, attempt);
                }
            }
            CurtailmentRunEvent::Activated { .. } => self.phase = Phase::Active,
            CurtailmentRunEvent::RestoreStarted { cause, miner_ids } => {
                self.phase = Phase::Restoring;
                self.cause = Some(cause);
                let told: BTreeSet<_> = miner_ids.into_iter().collect();
                for (miner_id, target) in &mut self.targets {
                    target.begin_restore(told.contains(miner_id));
                }
            }
            CurtailmentRunEvent::Completed => self.phase = Phase::Completed,
            CurtailmentRunEvent::CompletedWithFailures { .. } => self.phase = Phase::CompletedWithFailures,
            CurtailmentRunEvent::Cancelled { .. } => self.phase = Phase::Cancelled,
        }
    }
}
