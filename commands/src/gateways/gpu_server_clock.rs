//! The time after which a server that is not heard counts as offline.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::Aggregate;
use domain::compute::gpu_server::{GpuServer, GpuServerCommand, GpuServerEvent, OfflineCause};
use domain::event::{DecodeError, Recorded};
use uuid::Uuid;

use super::heartbeats::{Heartbeat, Heartbeats};
use super::{Gateway, Notice, unasked};
use crate::bus::CommandBus;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Servers that are watched at the same time.
const SERVERS_AT_ONCE: usize = 10_000;

/// The gateway to the clock, for servers.
pub struct GpuServerClock {
    heartbeats: Arc<Heartbeats>,
    patience: TimeDelta,
}

impl GpuServerClock {
    /// Gives a server up for lost when it was silent for `patience`.
    pub fn new(heartbeats: Arc<Heartbeats>, patience: TimeDelta) -> Self {
        Self { heartbeats, patience }
    }
}

#[async_trait]
impl Gateway for GpuServerClock {
    fn name(&self) -> &'static str {
        "gpu_server_clock"
    }

    fn consumes(&self) -> &'static str {
        GpuServer::TYPE
    }

    fn at_once(&self) -> usize {
        SERVERS_AT_ONCE
    }

    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError> {
        Ok(event.decode::<GpuServer>()?.map_or(Notice::Continues, |event| match event {
            GpuServerEvent::Registered { .. } => Notice::Begins,
            GpuServerEvent::Changed { .. }
            | GpuServerEvent::TokenRenewed { .. }
            | GpuServerEvent::Online { .. }
            | GpuServerEvent::Offline { .. } => Notice::Continues,
            GpuServerEvent::Removed { .. } => Notice::Ends,
        }))
    }

    async fn perform(&self, bus: &CommandBus, id: &str) -> Result<(), String> {
        let server: Uuid = id.parse().map_err(|_| format!("{id} is no id of a server"))?;
        let mut watch = Watch::default();
        loop {
            match bus.last_seen::<GpuServer>(id).await.map_err(|error| error.to_string())? {
                GpuServer::Registered { session, online: true, .. } => {
                    let heard = self.heartbeats.last(server, session);
                    if watch.silence(session, heard.as_ref(), bus.clock().now()) > self.patience {
                        tracing::warn!(server = id, session, "a GPU server is lost: its agent is not heard any more");
                        let lost = GpuServerCommand::Disconnect { session, cause: OfflineCause::HeartbeatLost };
                        unasked::<GpuServer>(bus, id, lost, self.name()).await?;
                    }
                }
                GpuServer::Registered { online: false, .. } => {}
                GpuServer::Unknown | GpuServer::Removed => return Ok(()),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Somebody who listens to a server. What was said before, to another server of ours perhaps, is not known here.
#[derive(Default)]
struct Watch {
    /// The session, and when it was seen first.
    watched: Option<(u32, DateTime<Utc>)>,
}

impl Watch {
    /// How long `session` has said nothing, as far as that can be known here.
    fn silence(&mut self, session: u32, heard: Option<&Heartbeat>, now: DateTime<Utc>) -> TimeDelta {
        let began = match self.watched {
            Some((watched, began)) if watched == session => began,
            _ => now,
        };
        self.watched = Some((session, began));
        now - heard.map_or(began, |heard| heard.at.max(began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_silent_since_it_was_heard_and_never_for_longer_than_anybody_listens() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let heard = |seconds| Some(Heartbeat { session: 1, at: at(seconds), running: vec![], figures: None });
        let mut watch = Watch::default();
        let mut silence =
            |session, heard: Option<Heartbeat>, now| watch.silence(session, heard.as_ref(), at(now)).num_seconds();
        // Heard long ago, before this server led.
        assert_eq!(silence(1, heard(10), 100), 0);
        assert_eq!(silence(1, heard(10), 105), 5);
        assert_eq!(silence(1, heard(104), 106), 2);
        // Another session begins, whose agent was not heard yet.
        assert_eq!((silence(2, None, 200), silence(2, None, 203)), (0, 3));
    }
}
