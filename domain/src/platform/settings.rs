//! What administrators set for their tenant. One stream a tenant; a setting that nobody has changed has its default.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::plain_text;
use crate::refusal::{Refusal, RefusalKind};

/// Most unfinished tasks that a user may be allowed to have.
pub const TASKS_PER_USER_MAX: u32 = 10_000;
/// Longest time-out of a task, in seconds: a week.
pub const TASK_TIMEOUT_MAX: u32 = 7 * 24 * 3_600;
/// Longest notice of maintenance, in characters.
pub const NOTICE_CHARS_MAX: usize = 200;

/// Settings to be changed; what is absent stays as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrent_tasks_per_user: Option<u32>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_task_timeout: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_mode: Option<bool>,
    /// What clients are told while maintenance lasts; empty for the usual words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_notice: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SettingsEvent {
    Changed { changes: Changes },
}

event_names!(SettingsEvent {
    Changed => "settings.changed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("max_concurrent_tasks_per_user must be between 1 and {TASKS_PER_USER_MAX}")]
    TasksPerUserOutOfRange,
    #[error("default_task_timeout must be between 1 and {TASK_TIMEOUT_MAX} seconds")]
    TaskTimeoutOutOfRange,
    #[error("maintenance_notice has at most {NOTICE_CHARS_MAX} characters, none of them a control character")]
    NoticeTooLong,
}

impl Refusal for SettingsError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TasksPerUserOutOfRange => "settings.tasks_per_user_out_of_range",
            Self::TaskTimeoutOutOfRange => "settings.task_timeout_out_of_range",
            Self::NoticeTooLong => "settings.notice_too_long",
        }
    }
}

#[derive(Debug, Clone)]
pub enum SettingsCommand {
    /// Changes what is given; what is as it was is no change.
    Change { changes: Changes },
}

/// The settings of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Unfinished tasks that a user may have at the same time.
    pub max_concurrent_tasks_per_user: u32,
    /// Seconds that a task may run when it says nothing else.
    pub default_task_timeout: u32,
    /// New work is refused.
    pub maintenance_mode: bool,
    /// What clients are told meanwhile.
    pub maintenance_notice: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_concurrent_tasks_per_user: 5,
            default_task_timeout: 3_600,
            maintenance_mode: false,
            maintenance_notice: String::new(),
        }
    }
}

impl Settings {
    /// The settings with `changes` made.
    pub fn set(&mut self, changes: Changes) {
        let Changes { max_concurrent_tasks_per_user, default_task_timeout, maintenance_mode, maintenance_notice } =
            changes;
        set(&mut self.max_concurrent_tasks_per_user, max_concurrent_tasks_per_user);
        set(&mut self.default_task_timeout, default_task_timeout);
        set(&mut self.maintenance_mode, maintenance_mode);
        set(&mut self.maintenance_notice, maintenance_notice);
    }

    /// Those of `changes` that change something.
    fn new_of(&self, changes: Changes) -> Changes {
        let Changes { max_concurrent_tasks_per_user, default_task_timeout, maintenance_mode, maintenance_notice } =
            changes;
        Changes {
            max_concurrent_tasks_per_user: other(max_concurrent_tasks_per_user, &self.max_concurrent_tasks_per_user),
            default_task_timeout: other(default_task_timeout, &self.default_task_timeout),
            maintenance_mode: other(maintenance_mode, &self.maintenance_mode),
            maintenance_notice: other(maintenance_notice, &self.maintenance_notice),
        }
    }
}

fn set<T>(setting: &mut T, to: Option<T>) {
    if let Some(to) = to {
        *setting = to;
    }
}

fn other<T: PartialEq>(to: Option<T>, present: &T) -> Option<T> {
    to.filter(|to| to != present)
}

/// Everything that is wrong with `changes`.
pub fn objections(changes: &Changes) -> Vec<SettingsError> {
    let mut objections = Vec::new();
    if changes.max_concurrent_tasks_per_user.is_some_and(|tasks| !(1..=TASKS_PER_USER_MAX).contains(&tasks)) {
        objections.push(SettingsError::TasksPerUserOutOfRange);
    }
    if changes.default_task_timeout.is_some_and(|seconds| !(1..=TASK_TIMEOUT_MAX).contains(&seconds)) {
        objections.push(SettingsError::TaskTimeoutOutOfRange);
    }
    let is_notice = |notice: &String| notice.chars().count() <= NOTICE_CHARS_MAX && plain_text::are_lines(notice);
    if !changes.maintenance_notice.as_ref().is_none_or(is_notice) {
        objections.push(SettingsError::NoticeTooLong);
    }
    objections
}

impl Decider for Settings {
    fn decide(&self, command: SettingsCommand, _now: DateTime<Utc>) -> Result<Vec<SettingsEvent>, SettingsError> {
        match command {
            SettingsCommand::Change { changes } => {
                if let Some(objection) = objections(&changes).into_iter().next() {
                    return Err(objection);
                }
                let changes = self.new_of(changes);
                Ok(if changes == Changes::default() { vec![] } else { vec![SettingsEvent::Changed { changes }] })
            }
        }
    }
}

impl cqrs_es::Aggregate for Settings {
    const TYPE: &'static str = "settings";
    type Command = SettingsCommand;
    type Event = SettingsEvent;
    type Error = SettingsError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: SettingsEvent) {
        match event {
            SettingsEvent::Changed { changes } => self.set(changes),
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn change(changes: Changes) -> SettingsCommand {
        SettingsCommand::Change { changes }
    }
    fn tasks(tasks: u32) -> Changes {
        Changes { max_concurrent_tasks_per_user: Some(tasks), ..Changes::default() }
    }
    fn given(events: Vec<SettingsEvent>) -> cqrs_es::test::AggregateTestExecutor<Settings> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn what_is_given_is_changed_and_the_rest_stays() {
        given(vec![]).when(change(tasks(7))).then_expect_events(vec![SettingsEvent::Changed { changes: tasks(7) }]);
        let mut settings = Settings::default();
        settings.set(tasks(7));
        assert_eq!(settings, Settings { max_concurrent_tasks_per_user: 7, ..Settings::default() });
    }

    #[test]
    fn what_is_as_it_was_is_no_event() {
        given(vec![]).when(change(tasks(5))).then_expect_events(vec![]);
        let both = Changes { maintenance_mode: Some(true), ..tasks(9) };
        let only = Changes { maintenance_mode: Some(true), ..Changes::default() };
        given(vec![SettingsEvent::Changed { changes: tasks(9) }])
            .when(change(both))
            .then_expect_events(vec![SettingsEvent::Changed { changes: only }]);
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        given(vec![]).when(change(tasks(0))).then_expect_error(SettingsError::TasksPerUserOutOfRange);
        given(vec![])
            .when(change(tasks(TASKS_PER_USER_MAX + 1)))
            .then_expect_error(SettingsError::TasksPerUserOutOfRange);
        let timeout = |seconds| Changes { default_task_timeout: Some(seconds), ..Changes::default() };
        given(vec![]).when(change(timeout(0))).then_expect_error(SettingsError::TaskTimeoutOutOfRange);
        given(vec![])
            .when(change(timeout(TASK_TIMEOUT_MAX + 1)))
            .then_expect_error(SettingsError::TaskTimeoutOutOfRange);
        let notice = Changes { maintenance_notice: Some("字".repeat(NOTICE_CHARS_MAX + 1)), ..Changes::default() };
        given(vec![]).when(change(notice)).then_expect_error(SettingsError::NoticeTooLong);
    }
}
