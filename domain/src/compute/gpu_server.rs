//! A server that runs tasks: registered by an administrator, online while its agent is heard.
//!
//! Each time an agent connects, a new session begins; what an earlier one still says is refused. What the machine has is in
//! the event that begins a session; how much of it is used are measurements, and no events.

mod refusal;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::UserId;
use crate::plain_text;

pub use refusal::GpuServerError;

/// Most tasks that one server may run at the same time.
pub const TASKS_MAX: u32 = 64;
const NAME_CHARS_MAX: usize = 100;
const HOST_CHARS_MAX: usize = 255;
const DESCRIPTION_CHARS_MAX: usize = 500;

/// What an administrator says of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerDetails {
    pub name: String,
    /// Where it is, for people.
    pub host: String,
    pub port: u16,
    pub description: Option<String>,
    pub max_concurrent_tasks: u32,
    /// Whether it is given tasks.
    pub is_active: bool,
}

/// A change of some details; the others stay as they are when it is carried out.
#[derive(Debug, Clone, Default)]
pub struct ServerChange {
    pub name: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub description: Option<String>,
    pub max_concurrent_tasks: Option<u32>,
    pub is_active: Option<bool>,
}

impl ServerChange {
    fn of(self, present: &ServerDetails) -> ServerDetails {
        ServerDetails {
            name: self.name.unwrap_or_else(|| present.name.clone()),
            host: self.host.unwrap_or_else(|| present.host.clone()),
            port: self.port.unwrap_or(present.port),
            description: self.description.or_else(|| present.description.clone()),
            max_concurrent_tasks: self.max_concurrent_tasks.unwrap_or(present.max_concurrent_tasks),
            is_active: self.is_active.unwrap_or(present.is_active),
        }
    }
}

/// What the machine has, as its agent found it when its session began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Equipment {
    pub gpu_count: u32,
    /// GB: of the GPUs, or of the machine where there are none.
    pub memory_gb: Decimal,
}

/// Why a server went offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OfflineCause {
    /// It was not heard for too long.
    HeartbeatLost,
    /// Its agent said goodbye.
    Left,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GpuServerEvent {
    Registered {
        details: ServerDetails,
        /// Of the agent's token, which is shown once and stored nowhere.
        token_hash: String,
        by: UserId,
    },
    Changed {
        details: ServerDetails,
        by: UserId,
    },
    /// The old token is worth nothing any more.
    TokenRenewed {
        token_hash: String,
        by: UserId,
    },
    Online {
        session: u32,
        /// None from agents that do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        equipment: Option<Equipment>,
    },
    Offline {
        session: u32,
        cause: OfflineCause,
    },
    Removed {
        by: UserId,
    },
}

event_names!(GpuServerEvent {
    Registered => "gpu_server.registered" 1,
    Changed => "gpu_server.changed" 1,
    TokenRenewed => "gpu_server.token_renewed" 1,
    Online => "gpu_server.online" 1,
    Offline => "gpu_server.offline" 1,
    Removed => "gpu_server.removed" 1,
});

#[derive(Debug, Clone)]
pub enum GpuServerCommand {
    Register {
        details: ServerDetails,
        token_hash: String,
        by: UserId,
    },
    Change {
        change: ServerChange,
        by: UserId,
    },
    RenewToken {
        token_hash: String,
        by: UserId,
    },
    /// Its agent begins a session.
    Connect {
        equipment: Option<Equipment>,
    },
    /// The session is over.
    Disconnect {
        session: u32,
        cause: OfflineCause,
    },
    Remove {
        by: UserId,
    },
}

/// A server, if it is registered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GpuServer {
    #[default]
    Unknown,
    Registered {
        details: ServerDetails,
        token_hash: String,
        /// The last session; 0 before the first.
        session: u32,
        online: bool,
    },
    Removed,
}

impl ServerDetails {
    /// Everything that is wrong with them.
    pub fn objections(&self) -> Vec<GpuServerError> {
        let within =
            |text: &str, max: usize| (1..=max).contains(&text.trim().chars().count()) && plain_text::is_line(text);
        let is_description = |text: &str| text.chars().count() <= DESCRIPTION_CHARS_MAX && plain_text::are_lines(text);
        let checks = [
            (within(&self.name, NAME_CHARS_MAX), GpuServerError::NameOutOfRange),
            (within(&self.host, HOST_CHARS_MAX), GpuServerError::HostOutOfRange),
            (self.description.as_deref().is_none_or(is_description), GpuServerError::DescriptionOutOfRange),
            ((1..=TASKS_MAX).contains(&self.max_concurrent_tasks), GpuServerError::TasksOutOfRange),
        ];
        checks.into_iter().filter_map(|(holds, objection)| (!holds).then_some(objection)).collect()
    }

    fn check(&self) -> Result<(), GpuServerError> {
        self.objections().into_iter().next().map_or(Ok(()), Err)
    }
}

impl GpuServer {
    /// Whether `session` is the present one and its agent is heard.
    pub fn is_online(&self, session: u32) -> bool {
        matches!(self, Self::Registered { online: true, session: present, .. } if *present == session)
    }
}

impl Decider for GpuServer {
    const SECRET_FIELDS: &'static [&'static str] = &["token_hash"];

    fn decide(&self, command: GpuServerCommand, _: DateTime<Utc>) -> Result<Vec<GpuServerEvent>, GpuServerError> {
        if let GpuServerCommand::Register { details, token_hash, by } = command {
            details.check()?;
            return match self {
                Self::Unknown => Ok(vec![GpuServerEvent::Registered { details, token_hash, by }]),
                Self::Registered { .. } | Self::Removed => Err(GpuServerError::AlreadyRegistered),
            };
        }
        let Self::Registered { details: present, session, online, .. } = self else {
            return Err(GpuServerError::NotFound);
        };
        match command {
            GpuServerCommand::Register { .. } => Err(GpuServerError::AlreadyRegistered),
            GpuServerCommand::Change { change, by } => {
                let details = change.of(present);
                details.check()?;
                Ok(if details == *present { vec![] } else { vec![GpuServerEvent::Changed { details, by }] })
            }
            GpuServerCommand::RenewToken { token_hash, by } => {
                Ok(vec![GpuServerEvent::TokenRenewed { token_hash, by }])
            }
            GpuServerCommand::Connect { equipment } => {
                Ok(vec![GpuServerEvent::Online { session: session + 1, equipment }])
            }
            GpuServerCommand::Disconnect { session: of, cause } => {
                let ends = *online && of == *session;
                Ok(if ends { vec![GpuServerEvent::Offline { session: of, cause }] } else { vec![] })
            }
            GpuServerCommand::Remove { by } => Ok(vec![GpuServerEvent::Removed { by }]),
        }
    }
}

impl cqrs_es::Aggregate for GpuServer {
    const TYPE: &'static str = "gpu_server";
    type Command = GpuServerCommand;
    type Event = GpuServerEvent;
    type Error = GpuServerError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: GpuServerEvent) {
        match (&mut *self, event) {
            (_, GpuServerEvent::Registered { details, token_hash, .. }) => {
                *self = Self::Registered { details, token_hash, session: 0, online: false };
            }
            (Self::Registered { details: present, .. }, GpuServerEvent::Changed { details, .. }) => *present = details,
            (Self::Registered { token_hash: present, .. }, GpuServerEvent::TokenRenewed { token_hash, .. }) => {
                *present = token_hash;
            }
            (Self::Registered { session: present, online, .. }, GpuServerEvent::Online { session, .. }) => {
                (*present, *online) = (session, true);
            }
            (Self::Registered { online, .. }, GpuServerEvent::Offline { .. }) => *online = false,
            (_, GpuServerEvent::Removed { .. }) => *self = Self::Removed,
            (
                Self::Unknown | Self::Removed,
                GpuServerEvent::Changed { .. }
                | GpuServerEvent::TokenRenewed { .. }
                | GpuServerEvent::Online { .. }
                | GpuServerEvent::Offline { .. },
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests;
