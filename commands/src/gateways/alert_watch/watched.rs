//! One device as it is watched.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::Aggregate;
use domain::aggregate::Decider;
use domain::devices::alert::{DeviceAlerts, DeviceAlertsCommand, DeviceAlertsEvent, Observation, Watch};
use domain::devices::alert_rule::AlertRules;
use domain::devices::alert_type::AlertType;
use domain::devices::device::{Device, DeviceEvent, DeviceStatus, Known, Settings};
use domain::devices::rapid_drain::{self, DrainWindow};
use domain::metadata::{Metadata, TenantId, UserId};
use uuid::Uuid;

use super::super::readings::{BatteryReadings, ReadingsFault, StoredReading, Stretch};
use crate::context::CommandContext;

/// Readings that are looked at to find out where a device stood.
const REMEMBERED_MAX: u32 = 5_000;

/// The rules of a user, and the position of their last change.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) rules: AlertRules,
    pub(super) version: u64,
}

/// When a device was last heard of, by the clock of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Nobody has looked yet.
    Unasked,
    Never,
    At(DateTime<Utc>),
}

/// The readings of a device that were judged, as far as they matter for the next one.
#[derive(Debug, Default)]
struct Past {
    newest: Option<DateTime<Utc>>,
    window: DrainWindow,
}

impl Past {
    /// Takes in a reading. Answers whether it is late, and how many points were lost within an hour.
    fn take_in(&mut self, reading: &StoredReading) -> (bool, Option<u8>) {
        let reading = &reading.reading;
        if self.newest.is_some_and(|newest| newest > reading.recorded_at) {
            return (true, None);
        }
        self.newest = Some(reading.recorded_at);
        (false, self.window.push(reading.recorded_at, reading.level, reading.is_charging))
    }
}

pub(super) struct Watched {
    tenant: TenantId,
    device: Device,
    alerts: DeviceAlerts,
    /// The sequence of the last event in `alerts`.
    sequence: u64,
    /// What the device is judged by, and the version of the rules in it; none after something has changed.
    watch: (Option<u64>, Arc<Watch>),
    heard: Heard,
    /// The last report before the device went offline.
    missed_since: Option<DateTime<Utc>>,
    /// None until the first reading that somebody wants to know of.
    past: Option<Past>,
}

impl Watched {
    pub(super) fn new(device_id: Uuid, tenant: TenantId) -> Self {
        let nothing = Watch { device_id, owner: UserId(Uuid::nil()), settings: Settings::default(), rules: [].into() };
        Self {
            tenant,
            device: Device::default(),
            alerts: DeviceAlerts::default(),
            sequence: 0,
            watch: (None, Arc::new(nothing)),
            heard: Heard::Unasked,
            missed_since: None,
            past: None,
        }
    }

    fn known(&self) -> Option<&Known> {
        self.device.known().ok()
    }

    fn status(&self) -> Option<DeviceStatus> {
        self.known().map(|known| known.status)
    }

    pub(super) fn owner(&self) -> Option<UserId> {
        self.known().map(|known| known.owner)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.device == Device::Deleted
    }

    pub(super) fn is_thought_online(&self) -> bool {
        self.status() == Some(DeviceStatus::Online)
    }

    /// Whether a report that came at `received_at` shows that the device is no longer offline.
    pub(super) fn is_back(&self, received_at: DateTime<Utc>) -> bool {
        self.status() == Some(DeviceStatus::Offline) && self.missed_since.is_none_or(|missed| missed < received_at)
    }

    pub(super) fn device_changed(&mut self, event: DeviceEvent) {
        if let DeviceEvent::WentOffline { last_seen_at } = &event {
            self.missed_since = *last_seen_at;
        }
        self.device.apply(event);
        if let Device::Registered(known) = &mut self.device {
            // Nothing is decided by it, and it may be large.
            known.metadata.clear();
        }
        self.watch.0 = None;
    }

    pub(super) fn alerts_changed(&mut self, event: DeviceAlertsEvent, sequence: u64) {
        if sequence > self.sequence {
            self.alerts.apply(event);
            self.sequence = sequence;
        }
    }

    /// After a command of the watch itself.
    pub(super) fn became(&mut self, alerts: DeviceAlerts, sequence: u64) {
        self.alerts = alerts;
        self.sequence = sequence;
    }

    /// Makes sure that the device is judged by these rules.
    pub(super) fn judge_by(&mut self, rules: Option<&Rules>) {
        let version = rules.map_or(0, |rules| rules.version);
        if self.watch.0 == Some(version) {
            return;
        }
        let Some(known) = self.known() else { return };
        let in_service = matches!(known.status, DeviceStatus::Online | DeviceStatus::Offline);
        let enabled = rules.into_iter().flat_map(|rules| rules.rules.enabled()).filter(|_| in_service);
        let watch = Watch {
            device_id: self.watch.1.device_id,
            owner: known.owner,
            settings: known.settings.clone(),
            rules: enabled.map(|rule| (rule.alert_type, rule.clone())).collect(),
        };
        self.watch = (Some(version), Arc::new(watch));
    }

    pub(super) fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.watch.1)
    }

    /// Whether a reading cannot lead to anything.
    pub(super) fn nobody_wants_to_know(&self) -> bool {
        self.watch.1.rules.is_empty() && self.alerts.is_idle()
    }

    /// What is not followed has to be looked up anew.
    pub(super) fn forget_past(&mut self) {
        self.past = None;
    }

    pub(super) fn heard(&mut self, at: DateTime<Utc>) {
        self.heard = match self.heard {
            Heard::At(before) => Heard::At(before.max(at)),
            Heard::Unasked | Heard::Never => Heard::At(at),
        };
    }

    pub(super) fn was_seen(&mut self, at: Option<DateTime<Utc>>) {
        match at {
            Some(at) => self.heard(at),
            None if self.heard == Heard::Unasked => self.heard = Heard::Never,
            None => {}
        }
    }

    /// Since when it has been silent, if that is too long at `now`.
    pub(super) fn silent_since(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let Heard::At(at) = self.heard else { return None };
        let patience = TimeDelta::seconds(self.known()?.settings.silence_seconds().into());
        (now - at >= patience).then_some(at)
    }

    /// Whether it may have fallen silent without anybody having been told.
    pub(super) fn is_suspect(&self, now: DateTime<Utc>) -> bool {
        let wanted = self.watch.1.rules.contains_key(&AlertType::DeviceOffline);
        let untold = self.is_thought_online() || (wanted && self.alerts.active(AlertType::DeviceOffline).is_none());
        untold && (self.heard == Heard::Unasked || self.silent_since(now).is_some())
    }

    /// Looks up, once, where the device stood before `first`.
    pub(super) async fn remember(
        &mut self,
        readings: &dyn BatteryReadings,
        first: &StoredReading,
    ) -> Result<(), ReadingsFault> {
        if self.past.is_some() {
            return Ok(());
        }
        let (device, from) = (first.reading.device, first.reading.recorded_at - rapid_drain::WINDOW);
        let stretch = Stretch { device, from, until: first.received_at + TimeDelta::days(1) };
        let before = readings.history(stretch, REMEMBERED_MAX, 0).await?;
        let mut past = Past::default();
        for reading in before.iter().rev().filter(|reading| reading.arrival < first.arrival) {
            past.take_in(reading);
        }
        self.past = Some(past);
        Ok(())
    }

    pub(super) fn observe(&mut self, reading: &StoredReading) -> DeviceAlertsCommand {
        let (is_late, drained) = self.past.get_or_insert_default().take_in(reading);
        let observation = Observation {
            arrival: reading.arrival,
            received_at: reading.received_at,
            recorded_at: reading.reading.recorded_at,
            is_late,
            level: reading.reading.level,
            is_charging: reading.reading.is_charging,
            temperature: reading.reading.temperature,
            drained,
        };
        DeviceAlertsCommand::Observe { observation, watch: self.watch() }
    }

    pub(super) fn would_change(&self, command: &DeviceAlertsCommand, now: DateTime<Utc>) -> bool {
        self.alerts.decide(command.clone(), now).is_ok_and(|events| !events.is_empty())
    }

    /// What a command of the watch about this device carries.
    pub(super) fn context(&self, id: Uuid) -> CommandContext {
        CommandContext::new(Metadata::of(self.tenant, "gateway:alert_watch", "gateway", id))
    }
}
