//! Devices, rules and alerts as the log has them, in memory.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use cqrs_es::Aggregate;
use domain::devices::alert::DeviceAlerts;
use domain::devices::alert_rule::AlertRules;
use domain::devices::device::Device;
use domain::event::{DecodeError, Recorded};
use domain::metadata::UserId;
use uuid::Uuid;

use super::watched::{Rules, Watched};

/// The sorts of aggregates that are followed.
pub(super) const FOLLOWED: [&str; 3] = [Device::TYPE, AlertRules::TYPE, DeviceAlerts::TYPE];

/// Every device there is.
#[derive(Default)]
pub(super) struct Watchlist {
    devices: HashMap<Uuid, Watched>,
    rules: HashMap<UserId, Rules>,
}

impl Watchlist {
    /// Takes in what happened, in the order of the log.
    pub(super) fn take_notice(&mut self, recorded: &Recorded) -> Result<(), DecodeError> {
        let Ok(id) = recorded.aggregate_id.parse::<Uuid>() else { return Ok(()) };
        if let Some(event) = recorded.decode::<Device>()? {
            let watched = self.devices.entry(id).or_insert_with(|| Watched::new(id, recorded.tenant));
            watched.device_changed(event);
            if watched.is_gone() {
                self.devices.remove(&id);
            }
        } else if let Some(event) = recorded.decode::<AlertRules>()? {
            let rules = self.rules.entry(UserId(id)).or_default();
            rules.rules.apply(event);
            rules.version = recorded.position;
        } else if let Some(event) = recorded.decode::<DeviceAlerts>()?
            && let Some(watched) = self.devices.get_mut(&id)
        {
            watched.alerts_changed(event, recorded.sequence);
        }
        Ok(())
    }

    /// A device, with the rules of its owner, out of the list.
    pub(super) fn take(&mut self, device: Uuid) -> Option<Watched> {
        let mut watched = self.devices.remove(&device)?;
        watched.judge_by(watched.owner().and_then(|owner| self.rules.get(&owner)));
        Some(watched)
    }

    pub(super) fn put_back(&mut self, device: Uuid, watched: Watched) {
        self.devices.insert(device, watched);
    }

    /// The devices that seem to have been silent for too long at `now`, and of which that is not known yet.
    pub(super) fn silent(&mut self, now: DateTime<Utc>) -> Vec<Uuid> {
        let rules = &self.rules;
        let suspects = self.devices.iter_mut().filter_map(|(device, watched)| {
            watched.judge_by(watched.owner().and_then(|owner| rules.get(&owner)));
            watched.is_suspect(now).then_some(*device)
        });
        suspects.collect()
    }
}
