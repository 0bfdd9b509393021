//! What a curtailment run sets out to do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::CurtailmentRunError;
use super::target::PlannedTarget;
use crate::hosting::curtailment_selection::{Economics, Exclusion, Strategy};
use crate::plain_text;

/// Most miners of one run; it bounds the size of the event that plans it.
pub const TARGETS_MAX: usize = 2_000;
/// Longest name and reason, in characters.
pub const TEXT_CHARS_MAX: usize = 200;
/// Longest run.
pub const DURATION_MAX: TimeDelta = TimeDelta::days(31);
/// Most orders of one kind to one target.
pub const ATTEMPTS_MAX: u32 = 50;

/// Who starts a planned run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutionMode {
    /// It starts by itself when its time has come.
    Auto,
    /// An operator starts it, its end comes by itself.
    SemiAuto,
    /// An operator starts it and ends it.
    Manual,
}

impl ExecutionMode {
    /// The word that requests and answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::SemiAuto => "semi_auto",
            Self::Manual => "manual",
        }
    }

    /// The mode of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Auto, Self::SemiAuto, Self::Manual].into_iter().find(|mode| mode.word() == word)
    }
}

/// What a run sets out to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub site_id: i64,
    pub name: Option<String>,
    pub strategy: Strategy,
    pub mode: ExecutionMode,
    pub target_reduction_kw: f64,
    /// What the targets draw together.
    pub expected_reduction_kw: f64,
    pub targets: Vec<PlannedTarget>,
    /// How many miners of the site were left out, by reason.
    pub excluded: BTreeMap<Exclusion, u32>,
    pub economics: Economics,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    /// Orders of one kind to one target before it counts as drifted.
    pub attempts_max: u32,
}

impl Plan {
    /// Whether a run can be like this.
    ///
    /// # Errors
    /// The first part that is out of range.
    pub fn check(&self, now: DateTime<Utc>) -> Result<(), CurtailmentRunError> {
        let ids: BTreeSet<_> = self.targets.iter().map(|target| target.miner_id).collect();
        if ids.len() != self.targets.len() || !(1..=TARGETS_MAX).contains(&ids.len()) {
            return Err(CurtailmentRunError::TargetsOutOfRange);
        }
        check_text(self.name.as_deref())?;
        if !self.name.as_deref().is_none_or(plain_text::is_line) {
            return Err(CurtailmentRunError::TextTooLong);
        }
        let lasts = self.ends_at - self.starts_at;
        if lasts <= TimeDelta::zero() || lasts > DURATION_MAX || self.ends_at <= now {
            return Err(CurtailmentRunError::TimesOutOfRange);
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts_max) {
            return Err(CurtailmentRunError::AttemptsOutOfRange);
        }
        Ok(())
    }
}

/// Whether a text of a user is short enough, and shows what is in it.
pub(super) fn check_text(text: Option<&str>) -> Result<(), CurtailmentRunError> {
    if text.is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX || !plain_text::are_lines(text)) {
        return Err(CurtailmentRunError::TextTooLong);
    }
    Ok(())
}
