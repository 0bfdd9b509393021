//! How a user wants to be told of alerts: by which ways, of which levels, and when not.
//!
//! Addresses that are secrets (a webhook with its signing key, a browser's push subscription) come sealed.

use std::collections::BTreeMap;

use chrono::{DateTime, FixedOffset, NaiveTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

use super::alert_type::AlertLevel;

/// Most browsers of one user.
pub const SUBSCRIPTIONS_MAX: usize = 20;
/// Longest sealed text.
pub const SEALED_CHARS_MAX: usize = 8_192;
/// How far a clock on the wall may be from UTC, in minutes.
const OFFSET_MINUTES_MAX: i32 = 14 * 60;

/// The hours in which only what is critical is told, by the clock on the user's wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    pub from: NaiveTime,
    pub to: NaiveTime,
    /// Minutes east of UTC.
    pub offset_minutes: i32,
}

impl QuietHours {
    /// Whether `now` lies within; over midnight, too.
    pub fn contain(&self, now: DateTime<Utc>) -> bool {
        let Some(offset) = FixedOffset::east_opt(self.offset_minutes.saturating_mul(60)) else { return false };
        let time = now.with_timezone(&offset).time();
        if self.from <= self.to { self.from <= time && time < self.to } else { time >= self.from || time < self.to }
    }
}

/// Where a webhook goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAddress {
    /// All that may be shown of it.
    pub host: String,
    /// Address and signing key.
    pub sealed_webhook: String,
}

/// The preferences of a user.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, which users turn on and off")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preferences {
    pub enabled: bool,
    pub email: bool,
    pub web_push: bool,
    pub webhook: bool,
    pub webhook_address: Option<WebhookAddress>,
    /// Levels that are told.
    pub info: bool,
    pub warning: bool,
    pub critical: bool,
    pub quiet_hours: Option<QuietHours>,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            enabled: true,
            email: true,
            web_push: true,
            webhook: false,
            webhook_address: None,
            info: true,
            warning: true,
            critical: true,
            quiet_hours: None,
        }
    }
}

/// What to change of preferences; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PreferencesChange {
    pub enabled: Option<bool>,
    pub email: Option<bool>,
    pub web_push: Option<bool>,
    pub webhook: Option<bool>,
    pub webhook_address: Option<Option<WebhookAddress>>,
    pub info: Option<bool>,
    pub warning: Option<bool>,
    pub critical: Option<bool>,
    pub quiet_hours: Option<QuietHoursChange>,
}

/// What to change of the quiet hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuietHoursChange {
    /// There are none any more.
    TakenAway,
    /// Other hours; without an offset in the zone of those there are, or UTC.
    Hours { from: NaiveTime, to: NaiveTime, offset_minutes: Option<i32> },
    /// The same hours in another zone; nothing when there are none.
    Zone { offset_minutes: i32 },
}

impl QuietHoursChange {
    fn of(self, kept: Option<QuietHours>) -> Option<QuietHours> {
        match self {
            Self::TakenAway => None,
            Self::Hours { from, to, offset_minutes } => {
                let kept = || kept.map_or(0, |hours| hours.offset_minutes);
                Some(QuietHours { from, to, offset_minutes: offset_minutes.unwrap_or_else(kept) })
            }
            Self::Zone { offset_minutes } => kept.map(|hours| QuietHours { offset_minutes, ..hours }),
        }
    }
}

impl Preferences {
    fn changed(&self, change: PreferencesChange) -> Self {
        let hours = |change: QuietHoursChange| change.of(self.quiet_hours);
        Self {
            enabled: change.enabled.unwrap_or(self.enabled),
            email: change.email.unwrap_or(self.email),
            web_push: change.web_push.unwrap_or(self.web_push),
            webhook: change.webhook.unwrap_or(self.webhook),
            webhook_address: change.webhook_address.unwrap_or_else(|| self.webhook_address.clone()),
            info: change.info.unwrap_or(self.info),
            warning: change.warning.unwrap_or(self.warning),
            critical: change.critical.unwrap_or(self.critical),
            quiet_hours: change.quiet_hours.map_or(self.quiet_hours, hours),
        }
    }

    /// Why an alert of `level` is not told at `now`, if so.
    pub fn silence(&self, level: AlertLevel, now: DateTime<Utc>) -> Option<&'static str> {
        let wanted = match level {
            AlertLevel::Info => self.info,
            AlertLevel::Warning => self.warning,
            AlertLevel::Critical => self.critical,
        };
        if !self.enabled {
            Some("notifications are switched off")
        } else if !wanted {
            Some("alerts of this level are not wanted")
        } else if level != AlertLevel::Critical && self.quiet_hours.is_some_and(|hours| hours.contain(now)) {
            Some("quiet hours")
        } else {
            None
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotificationPreferencesEvent {
    Changed(Preferences),
    Subscribed {
        subscription_id: Uuid,
        /// The host of the push service.
        push_service: String,
        /// Address and keys, sealed.
        sealed_subscription: String,
    },
    Unsubscribed {
        subscription_id: Uuid,
        /// The push service says that the browser is gone.
        expired: bool,
    },
}

event_names!(NotificationPreferencesEvent {
    Changed => "notification_preferences.changed" 1,
    Subscribed => "notification_preferences.subscribed" 1,
    Unsubscribed => "notification_preferences.unsubscribed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationPreferencesError {
    #[error("there is no such subscription")]
    NotFound,
    #[error("a user has at most {SUBSCRIPTIONS_MAX} subscriptions")]
    TooMany,
    #[error("the address is too long")]
    TooLong,
    #[error("a webhook needs an address")]
    WebhookMissing,
    #[error("the time zone is out of range")]
    OffsetOutOfRange,
}

impl Refusal for NotificationPreferencesError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::TooMany => RefusalKind::IllegalState,
            Self::TooLong | Self::WebhookMissing | Self::OffsetOutOfRange => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "notification_preferences.subscription_not_found",
            Self::TooMany => "notification_preferences.too_many_subscriptions",
            Self::TooLong => "notification_preferences.address_too_long",
            Self::WebhookMissing => "notification_preferences.webhook_missing",
            Self::OffsetOutOfRange => "notification_preferences.offset_out_of_range",
        }
    }
}

#[derive(Debug, Clone)]
pub enum NotificationPreferencesCommand {
    /// Changes what is given.
    Change(PreferencesChange),
    /// One more browser, or the same one again.
    Subscribe { subscription_id: Uuid, push_service: String, sealed_subscription: String },
    /// One less.
    Unsubscribe { subscription_id: Uuid },
    /// The push service says that it is gone.
    Expire { subscription_id: Uuid },
}

/// What a user wants, and the browsers to reach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationPreferences {
    pub preferences: Preferences,
    /// Sealed.
    pub subscriptions: BTreeMap<Uuid, String>,
}

impl NotificationPreferences {
    fn change(
        &self,
        change: PreferencesChange,
    ) -> Result<Vec<NotificationPreferencesEvent>, NotificationPreferencesError> {
        let preferences = self.preferences.changed(change);
        if preferences.webhook_address.as_ref().is_some_and(|to| to.sealed_webhook.len() > SEALED_CHARS_MAX) {
            return Err(NotificationPreferencesError::TooLong);
        }
        if preferences.webhook && preferences.webhook_address.is_none() {
            return Err(NotificationPreferencesError::WebhookMissing);
        }
        if preferences.quiet_hours.is_some_and(|hours| hours.offset_minutes.abs() > OFFSET_MINUTES_MAX) {
            return Err(NotificationPreferencesError::OffsetOutOfRange);
        }
        let same = preferences == self.preferences;
        Ok(if same { vec![] } else { vec![NotificationPreferencesEvent::Changed(preferences)] })
    }

    fn subscribe(
        &self,
        subscription_id: Uuid,
        push_service: String,
        sealed_subscription: String,
    ) -> Result<Vec<NotificationPreferencesEvent>, NotificationPreferencesError> {
        if sealed_subscription.len() > SEALED_CHARS_MAX || push_service.len() > SEALED_CHARS_MAX {
            return Err(NotificationPreferencesError::TooLong);
        }
        if !self.subscriptions.contains_key(&subscription_id) && self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            return Err(NotificationPreferencesError::TooMany);
        }
        Ok(vec![NotificationPreferencesEvent::Subscribed { subscription_id, push_service, sealed_subscription }])
    }
}

impl Decider for NotificationPreferences {
    const SECRET_FIELDS: &'static [&'static str] = &["sealed_webhook", "sealed_subscription"];

    fn decide(
        &self,
        command: NotificationPreferencesCommand,
        _: DateTime<Utc>,
    ) -> Result<Vec<NotificationPreferencesEvent>, NotificationPreferencesError> {
        let gone = |subscription_id, expired| NotificationPreferencesEvent::Unsubscribed { subscription_id, expired };
        match command {
            NotificationPreferencesCommand::Change(change) => self.change(change),
            NotificationPreferencesCommand::Subscribe { subscription_id, push_service, sealed_subscription } => {
                self.subscribe(subscription_id, push_service, sealed_subscription)
            }
            NotificationPreferencesCommand::Unsubscribe { subscription_id } => {
                self.subscriptions.get(&subscription_id).ok_or(NotificationPreferencesError::NotFound)?;
                Ok(vec![gone(subscription_id, false)])
            }
            NotificationPreferencesCommand::Expire { subscription_id } => {
                let known = self.subscriptions.contains_key(&subscription_id);
                Ok(if known { vec![gone(subscription_id, true)] } else { vec![] })
            }
        }
    }
}

impl cqrs_es::Aggregate for NotificationPreferences {
    const TYPE: &'static str = "notification_preferences";
    type Command = NotificationPreferencesCommand;
    type Event = NotificationPreferencesEvent;
    type Error = NotificationPreferencesError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: NotificationPreferencesEvent) {
        match event {
            NotificationPreferencesEvent::Changed(preferences) => self.preferences = preferences,
            NotificationPreferencesEvent::Subscribed { subscription_id, sealed_subscription, .. } => {
                self.subscriptions.insert(subscription_id, sealed_subscription);
            }
            NotificationPreferencesEvent::Unsubscribed { subscription_id, .. } => {
                self.subscriptions.remove(&subscription_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn time(hour: u32, minute: u32) -> NaiveTime {
        NaiveTime::from_hms_opt(hour, minute, 0).unwrap()
    }
    fn at(hour: u32, minute: u32) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH.date_naive().and_time(time(hour, minute)).and_utc()
    }
    fn given(
        events: Vec<NotificationPreferencesEvent>,
    ) -> cqrs_es::test::AggregateTestExecutor<NotificationPreferences> {
        TestFramework::with(Now(at(12, 0))).given(events)
    }
    fn subscribed(id: u128) -> NotificationPreferencesEvent {
        NotificationPreferencesEvent::Subscribed {
            subscription_id: Uuid::from_u128(id),
            push_service: "push.example".into(),
            sealed_subscription: "sealed".into(),
        }
    }
    fn subscribe(id: u128) -> NotificationPreferencesCommand {
        NotificationPreferencesCommand::Subscribe {
            subscription_id: Uuid::from_u128(id),
            push_service: "push.example".into(),
            sealed_subscription: "sealed".into(),
        }
    }

    #[test]
    fn quiet_hours_go_by_the_clock_on_the_wall_and_over_midnight() {
        let night = QuietHours { from: time(22, 0), to: time(7, 0), offset_minutes: 480 };
        assert!(night.contain(at(14, 0)) && night.contain(at(22, 59)));
        assert!(!night.contain(at(13, 59)) && !night.contain(at(23, 0)));
        let noon = QuietHours { from: time(12, 0), to: time(13, 0), offset_minutes: 0 };
        assert!(noon.contain(at(12, 0)) && !noon.contain(at(13, 0)));
        let never = QuietHours { from: time(12, 0), to: time(12, 0), offset_minutes: 0 };
        assert!(!never.contain(at(12, 0)));
    }

    #[test]
    fn what_is_critical_is_told_at_night() {
        let night = QuietHours { from: time(0, 0), to: time(6, 0), offset_minutes: 0 };
        let preferences = Preferences { quiet_hours: Some(night), info: false, ..Preferences::default() };
        assert_eq!(preferences.silence(AlertLevel::Critical, at(3, 0)), None);
        assert_eq!(preferences.silence(AlertLevel::Warning, at(3, 0)), Some("quiet hours"));
        assert_eq!(preferences.silence(AlertLevel::Warning, at(7, 0)), None);
        assert!(preferences.silence(AlertLevel::Info, at(7, 0)).is_some());
        let off = Preferences { enabled: false, ..preferences };
        assert!(off.silence(AlertLevel::Critical, at(7, 0)).is_some());
    }

    #[test]
    fn preferences_that_cannot_work_are_refused() {
        let change = NotificationPreferencesCommand::Change;
        let webhook = PreferencesChange { webhook: Some(true), ..PreferencesChange::default() };
        given(vec![]).when(change(webhook)).then_expect_error(NotificationPreferencesError::WebhookMissing);
        let hours = QuietHoursChange::Hours { from: time(0, 0), to: time(6, 0), offset_minutes: Some(900) };
        let far = PreferencesChange { quiet_hours: Some(hours), ..PreferencesChange::default() };
        given(vec![]).when(change(far)).then_expect_error(NotificationPreferencesError::OffsetOutOfRange);
        let address = WebhookAddress { host: "example.com".into(), sealed_webhook: "x".repeat(9_000) };
        let long = PreferencesChange { webhook_address: Some(Some(address)), ..PreferencesChange::default() };
        given(vec![]).when(change(long)).then_expect_error(NotificationPreferencesError::TooLong);
    }

    #[test]
    fn what_is_not_given_stays() {
        let change = NotificationPreferencesCommand::Change;
        let quiet = PreferencesChange { email: Some(false), ..PreferencesChange::default() };
        let changed = NotificationPreferencesEvent::Changed(Preferences { email: false, ..Preferences::default() });
        given(vec![]).when(change(quiet)).then_expect_events(vec![changed.clone()]);
        given(vec![changed]).when(change(PreferencesChange::default())).then_expect_events(vec![]);
    }

    #[test]
    fn quiet_hours_stay_in_their_zone_and_a_zone_moves_them() {
        let change = |quiet_hours| {
            let change = PreferencesChange { quiet_hours: Some(quiet_hours), ..PreferencesChange::default() };
            NotificationPreferencesCommand::Change(change)
        };
        let hours =
            |hour, offset_minutes| QuietHoursChange::Hours { from: time(hour, 0), to: time(7, 0), offset_minutes };
        let changed = |hour, offset_minutes| {
            let quiet_hours = Some(QuietHours { from: time(hour, 0), to: time(7, 0), offset_minutes });
            NotificationPreferencesEvent::Changed(Preferences { quiet_hours, ..Preferences::default() })
        };
        let none = NotificationPreferencesEvent::Changed(Preferences::default());
        let zone = |offset_minutes| change(QuietHoursChange::Zone { offset_minutes });
        given(vec![]).when(change(hours(22, None))).then_expect_events(vec![changed(22, 0)]);
        given(vec![]).when(zone(480)).then_expect_events(vec![]);
        given(vec![changed(22, 480)]).when(change(hours(21, None))).then_expect_events(vec![changed(21, 480)]);
        given(vec![changed(22, 480)]).when(change(hours(21, Some(60)))).then_expect_events(vec![changed(21, 60)]);
        given(vec![changed(22, 480)]).when(zone(-210)).then_expect_events(vec![changed(22, -210)]);
        given(vec![changed(22, 480)]).when(change(QuietHoursChange::TakenAway)).then_expect_events(vec![none]);
    }

    #[test]
    fn browsers_come_and_go() {
        let gone =
            |expired| NotificationPreferencesEvent::Unsubscribed { subscription_id: Uuid::from_u128(1), expired };
        let unsubscribe = NotificationPreferencesCommand::Unsubscribe { subscription_id: Uuid::from_u128(1) };
        let expire = NotificationPreferencesCommand::Expire { subscription_id: Uuid::from_u128(1) };
        given(vec![]).when(subscribe(1)).then_expect_events(vec![subscribed(1)]);
        given(vec![subscribed(1)]).when(unsubscribe.clone()).then_expect_events(vec![gone(false)]);
        given(vec![]).when(unsubscribe).then_expect_error(NotificationPreferencesError::NotFound);
        given(vec![subscribed(1)]).when(expire.clone()).then_expect_events(vec![gone(true)]);
        given(vec![]).when(expire).then_expect_events(vec![]);
        let full: Vec<_> = (0..20).map(subscribed).collect();
        given(full.clone()).when(subscribe(20)).then_expect_error(NotificationPreferencesError::TooMany);
        given(full).when(subscribe(3)).then_expect_events(vec![subscribed(3)]);
    }
}
