//! The alerts of one device, all types of them in one stream: what holds since when, what was raised, who dealt with it.
//!
//! A report and the clock that finds a device silent decide on the same stream, so whichever comes first, the other one
//! sees it. Of each type there is at most one alert at a time; it clears by itself, a little beyond its threshold.
//! Readings come in the order of their arrival; one that is older than the newest judged says only that the device is
//! alive. How long something held is counted by the times of readings, and stands in events.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;

use super::alert_rule::AlertRule;
use super::alert_type::{AlertLevel, AlertType};
use super::device::Settings;

mod condition;
mod refusal;
mod signal;
#[cfg(test)]
mod tests;

pub use condition::{Active, Condition};
pub use refusal::AlertError;
pub use signal::ClearReason;

use condition::{Moment, Standing};
use signal::Signal;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceAlertsEvent {
    /// It holds, but not yet for as long as the rule demands.
    ConditionBegan {
        alert_type: AlertType,
        at: DateTime<Utc>,
        /// Arrival of the reading that was judged; none when it was the clock.
        arrival: Option<u64>,
        /// The last report, when it was its absence that was judged.
        silent_since: Option<DateTime<Utc>>,
    },
    /// It ended before there was an alert.
    ConditionEnded {
        alert_type: AlertType,
        at: DateTime<Utc>,
        arrival: Option<u64>,
    },
    Triggered {
        alert_id: Uuid,
        alert_type: AlertType,
        device_id: Uuid,
        rule_id: Uuid,
        /// Whose rule it is.
        owner: UserId,
        level: AlertLevel,
        value: f64,
        threshold: f64,
        cooldown_minutes: u32,
        at: DateTime<Utc>,
        arrival: Option<u64>,
        silent_since: Option<DateTime<Utc>>,
    },
    /// It got noticeably worse.
    Worsened {
        alert_id: Uuid,
        alert_type: AlertType,
        value: f64,
        at: DateTime<Utc>,
        arrival: Option<u64>,
    },
    Acknowledged {
        alert_id: Uuid,
        alert_type: AlertType,
        by: UserId,
    },
    Resolved {
        alert_id: Uuid,
        alert_type: AlertType,
        by: UserId,
        /// Until then no further alert of this type is raised.
        quiet_until: DateTime<Utc>,
    },
    /// It is over by itself.
    Cleared {
        alert_id: Uuid,
        alert_type: AlertType,
        reason: ClearReason,
        value: Option<f64>,
        at: DateTime<Utc>,
        arrival: Option<u64>,
    },
}

event_names!(DeviceAlertsEvent {
    ConditionBegan => "alert.condition_began" 1,
    ConditionEnded => "alert.condition_ended" 1,
    Triggered => "alert.triggered" 1,
    Worsened => "alert.worsened" 1,
    Acknowledged => "alert.acknowledged" 1,
    Resolved => "alert.resolved" 1,
    Cleared => "alert.cleared" 1,
});

/// A reading, as far as alerts go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observation {
    /// Its place in the order in which readings came in.
    pub arrival: u64,
    /// By the clock of the server.
    pub received_at: DateTime<Utc>,
    /// By the clock of the device.
    pub recorded_at: DateTime<Utc>,
    /// Whether a newer one was judged before.
    pub is_late: bool,
    pub level: u8,
    pub is_charging: bool,
    pub temperature: Option<f64>,
    /// Points lost within the last hour, if there are readings enough to tell.
    pub drained: Option<u8>,
}

/// What a device is judged by.
#[derive(Debug, Clone, PartialEq)]
pub struct Watch {
    pub device_id: Uuid,
    pub owner: UserId,
    pub settings: Settings,
    /// The enabled rules of its owner; none while the device is out of service.
    pub rules: BTreeMap<AlertType, AlertRule>,
}

#[derive(Debug, Clone)]
pub enum DeviceAlertsCommand {
    /// A reading came in.
    Observe { observation: Observation, watch: std::sync::Arc<Watch> },
    /// Nothing came in since `last_seen_at`.
    MissReports { last_seen_at: DateTime<Utc>, watch: std::sync::Arc<Watch> },
    /// Somebody has seen the alert.
    Acknowledge { alert_id: Uuid, by: UserId },
    /// Somebody has dealt with it.
    Resolve { alert_id: Uuid, by: UserId },
    /// Whatever was done about it is taken back, which only an alert allows that nothing was done about.
    Reopen { alert_id: Uuid },
    /// The device is gone.
    Close,
}

/// The alerts of a device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceAlerts {
    conditions: BTreeMap<AlertType, Condition>,
    /// Alerts so far.
    raised: u64,
    /// The last reading that changed something.
    arrival: u64,
    /// When that one was made.
    newest: Option<DateTime<Utc>>,
    /// The last report that matters to whether the device is silent: it ended a silence, or one began after it.
    heard_at: Option<DateTime<Utc>>,
}

impl DeviceAlerts {
    /// Whether nothing is wrong, as far as is known.
    pub fn is_idle(&self) -> bool {
        self.conditions.values().all(|condition| condition.active.is_none() && condition.since.is_none())
    }

    /// The alert of a type that is neither resolved nor cleared.
    pub fn active(&self, alert_type: AlertType) -> Option<&Active> {
        self.conditions.get(&alert_type)?.active.as_ref()
    }

    fn observe(&self, observation: &Observation, watch: &Watch) -> Vec<DeviceAlertsEvent> {
        let arrival = Some(observation.arrival);
        let mut events = Events { alerts: self, events: vec![] };
        if self.heard_at.is_none_or(|heard_at| heard_at < observation.received_at) {
            let heard = Moment { at: observation.received_at, arrival, silent_since: None, watch };
            events.judge(AlertType::DeviceOffline, Signal::reported(), &heard);
        }
        if observation.is_late || self.has_judged(observation) {
            return events.events;
        }
        let made = Moment { at: observation.recorded_at, arrival, silent_since: None, watch };
        let settings = &watch.settings;
        let critical = events.judge(AlertType::CriticalBattery, Signal::critical(observation, settings), &made);
        let low = if matches!(critical, Standing::Active | Standing::Quiet) {
            Signal::superseded(observation)
        } else {
            Signal::low(observation, settings)
        };
        events.judge(AlertType::LowBattery, low, &made);
        events.judge(AlertType::HighTemperature, Signal::temperature(observation, settings), &made);
        events.judge(AlertType::RapidDrain, Signal::drain(observation, settings), &made);
        events.events
    }

    /// Whether it, or a newer one, is known to have been judged before.
    fn has_judged(&self, observation: &Observation) -> bool {
        self.newest.is_some_and(|newest| {
            let again = newest == observation.recorded_at && observation.arrival <= self.arrival;
            again || newest > observation.recorded_at
        })
    }

    fn miss_reports(&self, last_seen_at: DateTime<Utc>, watch: &Watch, now: DateTime<Utc>) -> Vec<DeviceAlertsEvent> {
        let silent_for = now - last_seen_at;
        let heard_since = self.heard_at.is_some_and(|heard_at| heard_at > last_seen_at);
        if heard_since || silent_for < signal::offline_after(&watch.settings) {
            return vec![];
        }
        let mut events = Events { alerts: self, events: vec![] };
        let moment = Moment { at: now, arrival: None, silent_since: Some(last_seen_at), watch };
        events.judge(AlertType::DeviceOffline, Signal::silent(silent_for, &watch.settings), &moment);
        events.events
    }

    fn of_id(&self, alert_id: Uuid) -> Option<(AlertType, &Active)> {
        let active = |(alert_type, condition): (&AlertType, &'_ Condition)| {
            condition.active.as_ref().filter(|active| active.alert_id == alert_id).map(|_| *alert_type)
        };
        let alert_type = self.conditions.iter().find_map(active)?;
        Some((alert_type, self.active(alert_type)?))
    }

    fn acknowledge(&self, alert_id: Uuid, by: UserId) -> Result<Vec<DeviceAlertsEvent>, AlertError> {
        let (alert_type, active) = self.of_id(alert_id).ok_or(AlertError::Over)?;
        if active.acknowledged {
            return Ok(vec![]);
        }
        Ok(vec![DeviceAlertsEvent::Acknowledged { alert_id, alert_type, by }])
    }

    fn resolve(&self, alert_id: Uuid, by: UserId, now: DateTime<Utc>) -> Vec<DeviceAlertsEvent> {
        let resolved = |(alert_type, active): (AlertType, &Active)| {
            let quiet_until = now + TimeDelta::minutes(active.cooldown_minutes.into());
            DeviceAlertsEvent::Resolved { alert_id, alert_type, by, quiet_until }
        };
        self.of_id(alert_id).map(resolved).into_iter().collect()
    }

    fn close(&self, now: DateTime<Utc>) -> Vec<DeviceAlertsEvent> {
        let closed = |(alert_type, condition): (&AlertType, &Condition)| {
            condition.active.as_ref().map(|active| DeviceAlertsEvent::Cleared {
                alert_id: active.alert_id,
                alert_type: *alert_type,
                reason: ClearReason::DeviceDeleted,
                value: None,
                at: now,
                arrival: None,
            })
        };
        self.conditions.iter().filter_map(closed).collect()
    }

    fn condition(&mut self, alert_type: AlertType) -> &mut Condition {
        self.conditions.entry(alert_type).or_default()
    }

    /// Remembers up to where readings were judged.
    fn judged(&mut self, alert_type: AlertType, at: DateTime<Utc>, arrival: Option<u64>) {
        let Some(arrival) = arrival else { return };
        self.arrival = self.arrival.max(arrival);
        if alert_type == AlertType::DeviceOffline {
            self.heard_at = self.heard_at.max(Some(at));
        } else {
            self.newest = self.newest.max(Some(at));
        }
    }
}

/// What one command comes to.
struct Events<'a> {
    alerts: &'a DeviceAlerts,
    events: Vec<DeviceAlertsEvent>,
}

impl Events<'_> {
    fn judge(&mut self, alert_type: AlertType, signal: Signal, moment: &Moment<'_>) -> Standing {
        let raised = |event: &&DeviceAlertsEvent| matches!(event, DeviceAlertsEvent::Triggered { .. });
        let number = self.alerts.raised + self.events.iter().filter(raised).count() as u64 + 1;
        let condition = self.alerts.conditions.get(&alert_type).unwrap_or(&Condition::NONE);
        let (event, standing) = condition.judge(alert_type, signal, moment, number);
        self.events.extend(event);
        standing
    }
}

impl Decider for DeviceAlerts {
    fn decide(&self, command: DeviceAlertsCommand, now: DateTime<Utc>) -> Result<Vec<DeviceAlertsEvent>, AlertError> {
        match command {
            DeviceAlertsCommand::Observe { observation, watch } => Ok(self.observe(&observation, &watch)),
            DeviceAlertsCommand::MissReports { last_seen_at, watch } => {
                Ok(self.miss_reports(last_seen_at, &watch, now))
            }
            DeviceAlertsCommand::Acknowledge { alert_id, by } => self.acknowledge(alert_id, by),
            DeviceAlertsCommand::Resolve { alert_id, by } => Ok(self.resolve(alert_id, by, now)),
            DeviceAlertsCommand::Reopen { alert_id } => match self.of_id(alert_id) {
                Some((_, active)) if !active.acknowledged => Ok(vec![]),
                Some(_) | None => Err(AlertError::CannotBeReopened),
            },
            DeviceAlertsCommand::Close => Ok(self.close(now)),
        }
    }
}

impl cqrs_es::Aggregate for DeviceAlerts {
    const TYPE: &'static str = "alert";
    type Command = DeviceAlertsCommand;
    type Event = DeviceAlertsEvent;
    type Error = AlertError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: DeviceAlertsEvent) {
        match event {
            DeviceAlertsEvent::ConditionBegan { alert_type, at, arrival, silent_since } => {
                self.condition(alert_type).since = Some(at);
                self.heard_at = self.heard_at.max(silent_since);
                self.judged(alert_type, at, arrival);
            }
            DeviceAlertsEvent::ConditionEnded { alert_type, at, arrival } => {
                self.condition(alert_type).since = None;
                self.judged(alert_type, at, arrival);
            }
            DeviceAlertsEvent::Triggered {
                alert_id,
                alert_type,
                value,
                cooldown_minutes,
                at,
                arrival,
                silent_since,
                ..
            } => {
                self.raised += 1;
                self.heard_at = self.heard_at.max(silent_since);
                *self.condition(alert_type) = Condition {
                    since: None,
                    active: Some(Active { alert_id, value, cooldown_minutes, acknowledged: false }),
                    quiet_until: Some(at + TimeDelta::minutes(cooldown_minutes.into())),
                };
                self.judged(alert_type, at, arrival);
            }
            DeviceAlertsEvent::Worsened { alert_type, value, at, arrival, .. } => {
                if let Some(active) = &mut self.condition(alert_type).active {
                    active.value = value;
                }
                self.judged(alert_type, at, arrival);
            }
            DeviceAlertsEvent::Acknowledged { alert_type, .. } => {
                if let Some(active) = &mut self.condition(alert_type).active {
                    active.acknowledged = true;
                }
            }
            DeviceAlertsEvent::Resolved { alert_type, quiet_until, .. } => {
                let condition = self.condition(alert_type);
                condition.active = None;
                condition.quiet_until = condition.quiet_until.max(Some(quiet_until));
            }
            DeviceAlertsEvent::Cleared { alert_type, at, arrival, .. } => {
                self.condition(alert_type).active = None;
                self.judged(alert_type, at, arrival);
            }
        }
    }
}
