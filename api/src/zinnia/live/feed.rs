//! What live connections are fed with: readings in the order of arrival, and what the log says of alerts, devices and
//! users. Each server feeds its own connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use commands::gateways::readings::StoredReading;
use cqrs_es::Aggregate;
use domain::devices::alert::{DeviceAlerts, DeviceAlertsEvent};
use domain::devices::device::Device;
use domain::event::Recorded;
use domain::identity::user::User;
use domain::log::PAGE_EVENTS_MAX;
use projections::devices::alerts;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::message::Outbound;
use super::registry::{Push, Registry};
use crate::app::{App, Server};
use crate::error::ApiError;
use crate::zinnia::alerts::AlertOut;

const READINGS_PER_PAGE: u32 = 1_000;
/// How often readings are passed over while nobody listens.
const PAUSE_UNHEARD: Duration = Duration::from_millis(20);
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(500);
const FOLLOWED: [&str; 3] = [DeviceAlerts::TYPE, Device::TYPE, User::TYPE];

/// The live connections of this server.
#[derive(Default)]
pub struct LiveFeed(Mutex<Registry>);

/// A connection's place in the feed; it is given up with this value.
pub(super) struct Listener {
    app: App,
    id: u64,
    waiting: mpsc::Receiver<Push>,
}

/// A place for one more connection, if there is one.
pub(super) fn admit(app: &App) -> Option<Listener> {
    let (id, waiting) = app.live.with(|registry| registry.add(app.config.live.connections_max))?;
    Some(Listener { app: Arc::clone(app), id, waiting })
}

impl Listener {
    /// The next push; none when this connection is too slow.
    pub(super) async fn next(&mut self) -> Option<Push> {
        self.waiting.recv().await
    }

    pub(super) fn identify(&self, caller: Uuid) -> bool {
        let per_caller_max = self.app.config.live.connections_per_caller_max;
        self.app.live.with(|registry| registry.identify(self.id, caller, per_caller_max))
    }

    pub(super) fn subscribe(&self, device: Uuid, devices_max: usize) -> bool {
        self.app.live.with(|registry| registry.subscribe(self.id, device, devices_max))
    }

    pub(super) fn unsubscribe(&self, device: Uuid) {
        self.app.live.with(|registry| registry.unsubscribe(self.id, device));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.app.live.with(|registry| registry.remove(self.id));
    }
}

impl LiveFeed {
    fn with<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the readings for ever.
    pub async fn follow_readings(server: Arc<Server>) {
        let mut arrival = None;
        loop {
            if let Err(error) = feed_readings(&server, &mut arrival).await {
                tracing::warn!(%error, "live readings pause");
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
        }
    }

    /// Follows the log for ever.
    pub async fn follow_log(server: Arc<Server>, mut position: u64) {
        loop {
            server.log().grown(position).await;
            match server.log().read_all(position, &FOLLOWED, PAGE_EVENTS_MAX).await {
                Ok(page) => {
                    for event in &page.events {
                        tell_of_event(&server, event).await;
                    }
                    position = page.through;
                }
                Err(error) => {
                    tracing::warn!(%error, "live alerts pause");
                    tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                }
            }
        }
    }
}

/// Feeds one page, or waits. While nobody listens, readings are passed over.
async fn feed_readings(
    server: &Server,
    arrival: &mut Option<u64>,
) -> Result<(), commands::gateways::readings::ReadingsFault> {
    let Some(after) = *arrival else {
        *arrival = Some(server.readings.last_arrival().await?);
        return Ok(());
    };
    server.readings.grown(after).await;
    let last = server.readings.last_arrival().await?;
    // Whoever came meanwhile must miss nothing.
    if server.live.with(|registry| registry.nobody_listens()) {
        *arrival = Some(last);
        tokio::time::sleep(PAUSE_UNHEARD).await;
        return Ok(());
    }
    let page = server.readings.arrived_after(after, READINGS_PER_PAGE).await?;
    *arrival = page.last().map(|reading| reading.arrival).or(*arrival);
    page.into_iter().for_each(|reading| tell_of_reading(server, reading));
    Ok(())
}

fn tell_of_reading(server: &Server, reading: StoredReading) {
    let device = reading.reading.device;
    if server.live.with(|registry| registry.listens(device)) {
        let push = Push::Text(Outbound::battery(reading, server.clock().now()).to_text());
        server.live.with(|registry| registry.tell_of_device(device, &push));
    }
}

async fn tell_of_event(server: &Server, event: &Recorded) {
    let Ok(id) = event.aggregate_id.parse::<Uuid>() else { return };
    let position = event.position;
    match &*event.aggregate_type {
        User::TYPE => server.live.with(|registry| registry.tell_caller(id, &Push::CallerChanged { position })),
        Device::TYPE => server.live.with(|registry| {
            registry.tell_caller(id, &Push::CallerChanged { position });
            registry.tell_of_device(id, &Push::DeviceChanged { device: id, position });
        }),
        _ => {
            if server.live.with(|registry| registry.listens(id))
                && let Err(error) = tell_of_alert(server, id, event).await
            {
                tracing::warn!(error = error.message, "an alert was not pushed");
            }
        }
    }
}

async fn tell_of_alert(server: &Server, device: Uuid, event: &Recorded) -> Result<(), ApiError> {
    let decoded = event.decode::<DeviceAlerts>().map_err(|error| ApiError::internal(&error))?;
    let Some(alert_id) = decoded.as_ref().and_then(alert_of) else { return Ok(()) };
    server.readers.projected(event.position).await?;
    let Some(row) = alerts::find(server.models.read().await, event.tenant, alert_id).await? else { return Ok(()) };
    let push = Push::Text(Outbound::alert(AlertOut::of(row)?, server.clock().now()).to_text());
    server.live.with(|registry| registry.tell_of_device(device, &push));
    Ok(())
}

fn alert_of(event: &DeviceAlertsEvent) -> Option<Uuid> {
    match event {
        DeviceAlertsEvent::ConditionBegan { .. } | DeviceAlertsEvent::ConditionEnded { .. } => None,
        DeviceAlertsEvent::Triggered { alert_id, .. }
        | DeviceAlertsEvent::Worsened { alert_id, .. }
        | DeviceAlertsEvent::Acknowledged { alert_id, .. }
        | DeviceAlertsEvent::Resolved { alert_id, .. }
        | DeviceAlertsEvent::Cleared { alert_id, .. } => Some(*alert_id),
    }
}
