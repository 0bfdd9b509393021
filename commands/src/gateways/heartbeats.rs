//! What the agents of GPU servers last said: measurements, kept in memory and forgotten by a restart.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// One heartbeat of an agent.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    pub session: u32,
    /// When it was received.
    pub at: DateTime<Utc>,
    /// The (task, lease) pairs that the agent runs.
    pub running: Vec<(Uuid, u32)>,
    /// None in the first moment of a session.
    pub figures: Option<Measured>,
}

/// What an agent measured on its machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Percent.
    pub cpu_usage: f64,
    pub memory_used_gb: f64,
    pub memory_total_gb: f64,
    pub gpus: Vec<MeasuredGpu>,
    /// Why no GPU is measured, when none is.
    pub gpu_note: Option<String>,
}

/// One GPU of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct MeasuredGpu {
    pub name: String,
    /// Percent.
    pub usage: f64,
    pub memory_used_gb: f64,
    pub memory_total_gb: f64,
}

/// The last heartbeat of each server; nobody is heard yet by default.
#[derive(Default)]
pub struct Heartbeats(RwLock<HashMap<Uuid, Heartbeat>>);

impl Heartbeats {
    /// Keeps a heartbeat, unless a later session has been heard.
    pub fn hear(&self, server: Uuid, heartbeat: Heartbeat) {
        let mut heard = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if heard.get(&server).is_none_or(|last| last.session <= heartbeat.session) {
            heard.insert(server, heartbeat);
        }
    }

    /// The last heartbeat of a session of a server.
    pub fn last(&self, server: Uuid, session: u32) -> Option<Heartbeat> {
        let heard = self.0.read().unwrap_or_else(PoisonError::into_inner);
        heard.get(&server).filter(|last| last.session == session).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_session_is_not_heard_any_more() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let heartbeat = |session, seconds| Heartbeat { session, at: at(seconds), running: vec![], figures: None };
        let (heartbeats, server) = (Heartbeats::default(), Uuid::from_u128(1));
        heartbeats.hear(server, heartbeat(1, 10));
        heartbeats.hear(server, heartbeat(2, 20));
        heartbeats.hear(server, heartbeat(1, 30));
        assert_eq!((heartbeats.last(server, 1), heartbeats.last(server, 2)), (None, Some(heartbeat(2, 20))));
    }
}
