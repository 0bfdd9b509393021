//! The time after which a server that is not heard counts as offline.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
/// Who has not looked for so long was stopped, and heard nothing either: what agents said meanwhile is yet to be read.
const LOOKED_WITHIN: Duration = Duration::from_secs(2);
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
                    if watch.silence(session, heard.as_ref(), bus.clock().now(), Instant::now()) > self.patience {
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
    /// The session, and since when it has been listened to without a break.
    watched: Option<(u32, DateTime<Utc>)>,
    /// When it was looked at last.
    looked: Option<Instant>,
}

impl Watch {
    /// How long `session` has said nothing, as far as that can be known here.
    fn silence(&mut self, session: u32, heard: Option<&Heartbeat>, now: DateTime<Utc>, look: Instant) -> TimeDelta {
        let listened = self.looked.replace(look).is_some_and(|looked| look - looked <= LOOKED_WITHIN);
        let began = match self.watched {
            Some((watched, began)) if watched == session && listened => began,
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
        let (mut watch, look) = (Watch::default(), Instant::now());
        let mut silence = |session, heard: Option<Heartbeat>, now| {
            watch.silence(session, heard.as_ref(), at(now), look).num_seconds()
        };
        // Heard long ago, before this server led.
        assert_eq!(silence(1, heard(10), 100), 0);
        assert_eq!(silence(1, heard(10), 105), 5);
        assert_eq!(silence(1, heard(104), 106), 2);
        // Another session begins, whose agent was not heard yet.
        assert_eq!((silence(2, None, 200), silence(2, None, 203)), (0, 3));
    }

    #[test]
    fn a_silence_in_which_the_listener_was_stopped_is_none() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let heard = Heartbeat { session: 1, at: at(100), running: vec![], figures: None };
        let (mut watch, began) = (Watch::default(), Instant::now());
        let mut silence = |now: u64| {
            let look = began + Duration::from_secs(now - 100);
            watch.silence(1, Some(&heard), at(now.cast_signed()), look).num_seconds()
        };
        assert_eq!((silence(100), silence(101)), (0, 1));
        // Stopped for a minute. What the agent said meanwhile waits in its connection.
        assert_eq!((silence(161), silence(162), silence(164)), (0, 1, 3));
    }
}
