//! The time after which a server that is not heard counts as offline.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use cqrs_es::Aggregate;
use domain::compute::gpu_server::{GpuServer, GpuServerCommand, GpuServerEvent, OfflineCause};
use domain::event::{DecodeError, Recorded};
use uuid::Uuid;

use super::fleet::Fleet;
use super::{Gateway, Notice, unasked};
use crate::bus::CommandBus;

const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Servers that are watched at the same time.
const SERVERS_AT_ONCE: usize = 10_000;

/// The gateway to the clock, for servers.
pub struct GpuServerClock {
    fleet: Arc<Fleet>,
    patience: TimeDelta,
}

impl GpuServerClock {
    /// Gives a server up for lost when it was silent for `patience`.
    pub fn new(fleet: Arc<Fleet>, patience: TimeDelta) -> Self {
        Self { fleet, patience }
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
        loop {
            let (state, _) = bus.load::<GpuServer>(id).await.map_err(|error| error.to_string())?;
            match state {
                GpuServer::Registered { session, online: true, .. } => {
                    let silent = bus.clock().now() - self.fleet.silent_since(server, session);
                    if silent > self.patience {
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
