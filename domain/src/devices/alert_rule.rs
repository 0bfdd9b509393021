//! The alert rules of one user: what to be told of, at which level, and how often.
//!
//! All rules of a user are one stream, so that the log keeps them apart: at most one enabled rule a type. Thresholds are
//! settings of the device.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::plain_text;
use crate::refusal::{Refusal, RefusalKind};

use super::alert_type::{AlertLevel, AlertType};

/// Most rules of one user.
pub const RULES_MAX: usize = 50;
/// Longest name of a rule, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Longest cooldown and longest duration, in minutes.
pub const MINUTES_MAX: u32 = 1_440;
/// Where a rule does not say otherwise.
pub const COOLDOWN_MINUTES: u32 = 30;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRule {
    pub rule_id: Uuid,
    pub name: String,
    pub alert_type: AlertType,
    pub level: AlertLevel,
    /// How long after an alert there is no other one of the same type and device.
    pub cooldown_minutes: u32,
    /// How long it must have been so before there is an alert.
    #[serde(default)]
    pub duration_minutes: u32,
    pub enabled: bool,
}

/// What to change of a rule; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleChange {
    pub name: Option<String>,
    pub alert_type: Option<AlertType>,
    pub level: Option<AlertLevel>,
    pub cooldown_minutes: Option<u32>,
    pub duration_minutes: Option<u32>,
    pub enabled: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertRulesEvent {
    Created(AlertRule),
    /// The whole rule as it is from now on.
    Changed(AlertRule),
    Deleted {
        rule_id: Uuid,
    },
}

event_names!(AlertRulesEvent {
    Created => "alert_rule.created" 1,
    Changed => "alert_rule.changed" 1,
    Deleted => "alert_rule.deleted" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertRuleError {
    #[error("there is no such alert rule")]
    NotFound,
    #[error("there is an enabled rule for {0} already")]
    TypeTaken(AlertType),
    #[error("name must have 1 to {NAME_CHARS_MAX} characters, none of them a control character")]
    NameLength,
    #[error("cooldown_minutes must be 1 to {MINUTES_MAX}")]
    CooldownOutOfRange,
    #[error("duration_minutes must be 0 to {MINUTES_MAX}")]
    DurationOutOfRange,
    #[error("a user has at most {RULES_MAX} alert rules")]
    TooMany,
}

impl Refusal for AlertRuleError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::TypeTaken(_) => RefusalKind::AlreadyExists,
            Self::NameLength | Self::CooldownOutOfRange | Self::DurationOutOfRange => RefusalKind::Invalid,
            Self::TooMany => RefusalKind::IllegalState,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "alert_rule.not_found",
            Self::TypeTaken(_) => "alert_rule.type_taken",
            Self::NameLength => "alert_rule.name_length",
            Self::CooldownOutOfRange => "alert_rule.cooldown_out_of_range",
            Self::DurationOutOfRange => "alert_rule.duration_out_of_range",
            Self::TooMany => "alert_rule.too_many",
        }
    }
}

#[derive(Debug, Clone)]
pub enum AlertRulesCommand {
    /// The rules that a user begins with; nothing when there ever was one.
    SetUp(Vec<AlertRule>),
    /// Adds a rule.
    Create(AlertRule),
    /// Changes what is given.
    Change { rule_id: Uuid, change: RuleChange },
    /// Removes a rule.
    Delete { rule_id: Uuid },
}

/// The rules of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRules {
    rules: BTreeMap<Uuid, AlertRule>,
    /// Whether there ever was one.
    begun: bool,
}

impl AlertRules {
    /// The rules that count.
    pub fn enabled(&self) -> impl Iterator<Item = &AlertRule> {
        self.rules.values().filter(|rule| rule.enabled)
    }

    fn checked(&self, mut rule: AlertRule) -> Result<AlertRule, AlertRuleError> {
        rule.name = rule.name.trim().to_owned();
        if rule.name.is_empty() || rule.name.chars().count() > NAME_CHARS_MAX || !plain_text::is_line(&rule.name) {
            return Err(AlertRuleError::NameLength);
        }
        if !(1..=MINUTES_MAX).contains(&rule.cooldown_minutes) {
            return Err(AlertRuleError::CooldownOutOfRange);
        }
        if rule.duration_minutes > MINUTES_MAX {
            return Err(AlertRuleError::DurationOutOfRange);
        }
        let same = |other: &AlertRule| other.alert_type == rule.alert_type && other.rule_id != rule.rule_id;
        if rule.enabled && self.enabled().any(same) {
            return Err(AlertRuleError::TypeTaken(rule.alert_type));
        }
        Ok(rule)
    }

    fn create(&self, rule: AlertRule) -> Result<AlertRulesEvent, AlertRuleError> {
        if self.rules.len() >= RULES_MAX {
            return Err(AlertRuleError::TooMany);
        }
        self.checked(rule).map(AlertRulesEvent::Created)
    }

    fn change(&self, rule_id: Uuid, change: RuleChange) -> Result<Vec<AlertRulesEvent>, AlertRuleError> {
        let before = self.rules.get(&rule_id).ok_or(AlertRuleError::NotFound)?;
        let rule = self.checked(AlertRule {
            rule_id,
            name: change.name.unwrap_or_else(|| before.name.clone()),
            alert_type: change.alert_type.unwrap_or(before.alert_type),
            level: change.level.unwrap_or(before.level),
            cooldown_minutes: change.cooldown_minutes.unwrap_or(before.cooldown_minutes),
            duration_minutes: change.duration_minutes.unwrap_or(before.duration_minutes),
            enabled: change.enabled.unwrap_or(before.enabled),
        })?;
        Ok(if rule == *before { vec![] } else { vec![AlertRulesEvent::Changed(rule)] })
    }
}

impl Decider for AlertRules {
    fn decide(&self, command: AlertRulesCommand, _: DateTime<Utc>) -> Result<Vec<AlertRulesEvent>, AlertRuleError> {
        match command {
            AlertRulesCommand::SetUp(_) if self.begun => Ok(vec![]),
            AlertRulesCommand::SetUp(rules) => rules.into_iter().map(|rule| self.create(rule)).collect(),
            AlertRulesCommand::Create(rule) => Ok(vec![self.create(rule)?]),
            AlertRulesCommand::Change { rule_id, change } => self.change(rule_id, change),
            AlertRulesCommand::Delete { rule_id } => {
                self.rules.get(&rule_id).ok_or(AlertRuleError::NotFound)?;
                Ok(vec![AlertRulesEvent::Deleted { rule_id }])
            }
        }
    }
}

impl cqrs_es::Aggregate for AlertRules {
    const TYPE: &'static str = "alert_rule";
    type Command = AlertRulesCommand;
    type Event = AlertRulesEvent;
    type Error = AlertRuleError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: AlertRulesEvent) {
        self.begun = true;
        match event {
            AlertRulesEvent::Created(rule) | AlertRulesEvent::Changed(rule) => {
                self.rules.insert(rule.rule_id, rule);
            }
            AlertRulesEvent::Deleted { rule_id } => {
                self.rules.remove(&rule_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn rule(id: u128, alert_type: AlertType, enabled: bool) -> AlertRule {
        AlertRule {
            rule_id: Uuid::from_u128(id),
            name: "a rule".into(),
            alert_type,
            level: AlertLevel::Warning,
            cooldown_minutes: 30,
            duration_minutes: 0,
            enabled,
        }
    }
    fn low(id: u128) -> AlertRule {
        rule(id, AlertType::LowBattery, true)
    }
    fn given(rules: &[AlertRule]) -> cqrs_es::test::AggregateTestExecutor<AlertRules> {
        let events = rules.iter().cloned().map(AlertRulesEvent::Created).collect();
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }
    fn change(id: u128, change: RuleChange) -> AlertRulesCommand {
        AlertRulesCommand::Change { rule_id: Uuid::from_u128(id), change }
    }

    #[test]
    fn one_enabled_rule_a_type() {
        let taken = AlertRuleError::TypeTaken(AlertType::LowBattery);
        given(&[low(1)]).when(AlertRulesCommand::Create(low(2))).then_expect_error(taken.clone());
        let off = rule(2, AlertType::LowBattery, false);
        given(&[low(1)])
            .when(AlertRulesCommand::Create(off.clone()))
            .then_expect_events(vec![AlertRulesEvent::Created(off.clone())]);
        let enable = RuleChange { enabled: Some(true), ..RuleChange::default() };
        given(&[low(1), off]).when(change(2, enable)).then_expect_error(taken.clone());
        let other = rule(3, AlertType::RapidDrain, true);
        let retype = RuleChange { alert_type: Some(AlertType::LowBattery), ..RuleChange::default() };
        given(&[low(1), other]).when(change(3, retype)).then_expect_error(taken);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for (bad, refusal) in [
            (AlertRule { name: "  ".into(), ..low(1) }, AlertRuleError::NameLength),
            (AlertRule { name: "x".repeat(101), ..low(1) }, AlertRuleError::NameLength),
            (AlertRule { cooldown_minutes: 0, ..low(1) }, AlertRuleError::CooldownOutOfRange),
            (AlertRule { cooldown_minutes: 1_441, ..low(1) }, AlertRuleError::CooldownOutOfRange),
            (AlertRule { duration_minutes: 1_441, ..low(1) }, AlertRuleError::DurationOutOfRange),
        ] {
            given(&[]).when(AlertRulesCommand::Create(bad)).then_expect_error(refusal);
        }
        let many: Vec<_> = (0..50).map(|id| rule(id, AlertType::RapidDrain, false)).collect();
        given(&many).when(AlertRulesCommand::Create(low(99))).then_expect_error(AlertRuleError::TooMany);
    }

    #[test]
    fn what_is_not_given_stays() {
        let off = RuleChange { enabled: Some(false), ..RuleChange::default() };
        let changed = AlertRulesEvent::Changed(AlertRule { enabled: false, ..low(1) });
        given(&[low(1)]).when(change(1, off)).then_expect_events(vec![changed]);
        given(&[low(1)]).when(change(1, RuleChange::default())).then_expect_events(vec![]);
        given(&[low(1)]).when(change(2, RuleChange::default())).then_expect_error(AlertRuleError::NotFound);
    }

    #[test]
    fn a_rule_is_deleted_once() {
        let delete = AlertRulesCommand::Delete { rule_id: Uuid::from_u128(1) };
        let deleted = AlertRulesEvent::Deleted { rule_id: Uuid::from_u128(1) };
        given(&[low(1)]).when(delete.clone()).then_expect_events(vec![deleted]);
        given(&[]).when(delete).then_expect_error(AlertRuleError::NotFound);
    }

    #[test]
    fn a_user_is_set_up_once() {
        let set_up = AlertRulesCommand::SetUp(vec![low(1)]);
        given(&[]).when(set_up.clone()).then_expect_events(vec![AlertRulesEvent::Created(low(1))]);
        given(&[rule(2, AlertType::RapidDrain, true)]).when(set_up).then_expect_events(vec![]);
    }
}
