//! One thing that may be wrong with a device: since when it is, and the alert it led to.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::devices::alert_rule::AlertRule;
use crate::devices::alert_type::AlertType;

use super::signal::Signal;
use super::{DeviceAlertsEvent, Watch};

/// An alert that is neither resolved nor cleared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Active {
    pub alert_id: Uuid,
    /// The worst that was told of.
    pub value: f64,
    pub cooldown_minutes: u32,
    pub acknowledged: bool,
}

/// What is known of one type of alert.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Since when it has held; set while the time that the rule demands is not over.
    pub since: Option<DateTime<Utc>>,
    pub active: Option<Active>,
    /// Until then no alert of this type is raised.
    pub quiet_until: Option<DateTime<Utc>>,
}

/// When something is judged, and by what.
pub(super) struct Moment<'a> {
    pub(super) at: DateTime<Utc>,
    pub(super) arrival: Option<u64>,
    pub(super) silent_since: Option<DateTime<Utc>>,
    pub(super) watch: &'a Watch,
}

/// How a type stands afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is wrong, or nobody wants to know.
    Idle,
    /// It is wrong, but not for long enough.
    Pending,
    /// It is wrong, and there was an alert a short while ago.
    Quiet,
    /// There is an alert.
    Active,
}

impl Condition {
    pub(super) const NONE: Self = Self { since: None, active: None, quiet_until: None };

    /// What `signal` leads to; `number` is that of the next alert of the device.
    pub(super) fn judge(
        &self,
        alert_type: AlertType,
        signal: Signal,
        moment: &Moment<'_>,
        number: u64,
    ) -> (Option<DeviceAlertsEvent>, Standing) {
        let (at, arrival) = (moment.at, moment.arrival);
        match (&self.active, signal) {
            (Some(active), Signal::Over { reason, value }) => {
                let alert_id = active.alert_id;
                (Some(DeviceAlertsEvent::Cleared { alert_id, alert_type, reason, value, at, arrival }), Standing::Idle)
            }
            (Some(active), Signal::Holds { value, .. }) if is_worse(alert_type, active.value, value) => {
                let alert_id = active.alert_id;
                (Some(DeviceAlertsEvent::Worsened { alert_id, alert_type, value, at, arrival }), Standing::Active)
            }
            (Some(_), Signal::Holds { .. } | Signal::Near | Signal::Unknown) => (None, Standing::Active),
            (None, Signal::Unknown) => (None, self.since.map_or(Standing::Idle, |_| Standing::Pending)),
            (None, Signal::Holds { value, threshold }) => match moment.watch.rules.get(&alert_type) {
                Some(rule) => self.hold(rule, (value, threshold), moment, number),
                None => (self.end(alert_type, moment), Standing::Idle),
            },
            (None, Signal::Near | Signal::Over { .. }) => (self.end(alert_type, moment), Standing::Idle),
        }
    }

    fn hold(
        &self,
        rule: &AlertRule,
        (value, threshold): (f64, f64),
        moment: &Moment<'_>,
        number: u64,
    ) -> (Option<DeviceAlertsEvent>, Standing) {
        let Moment { at, arrival, silent_since, watch } = *moment;
        let alert_type = rule.alert_type;
        if at - self.since.unwrap_or(at) < TimeDelta::minutes(rule.duration_minutes.into()) {
            let began = DeviceAlertsEvent::ConditionBegan { alert_type, at, arrival, silent_since };
            return (self.since.is_none().then_some(began), Standing::Pending);
        }
        if self.quiet_until.is_some_and(|until| at < until) {
            return (None, Standing::Quiet);
        }
        let triggered = DeviceAlertsEvent::Triggered {
            alert_id: Uuid::new_v5(&watch.device_id, format!("alert/{number}").as_bytes()),
            alert_type,
            device_id: watch.device_id,
            rule_id: rule.rule_id,
            owner: watch.owner,
            level: rule.level,
            value,
            threshold,
            cooldown_minutes: rule.cooldown_minutes,
            at,
            arrival,
            silent_since,
        };
        (Some(triggered), Standing::Active)
    }

    fn end(&self, alert_type: AlertType, moment: &Moment<'_>) -> Option<DeviceAlertsEvent> {
        let (at, arrival) = (moment.at, moment.arrival);
        self.since.map(|_| DeviceAlertsEvent::ConditionEnded { alert_type, at, arrival })
    }
}

/// Whether `value` is so much worse than `before` that it is worth an event.
fn is_worse(alert_type: AlertType, before: f64, value: f64) -> bool {
    match alert_type {
        AlertType::LowBattery | AlertType::CriticalBattery => value <= before - 5.0,
        AlertType::HighTemperature => value >= before + 2.0,
        AlertType::RapidDrain => value >= before + 5.0,
        // It gets longer by itself.
        AlertType::DeviceOffline => false,
    }
}
