//! A tenant: an organisation whose rows nobody else sees. Only the owner of the default tenant makes tenants, and
//! their streams belong to the default tenant.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::plain_text;
use crate::refusal::{Refusal, RefusalKind};

/// Longest name, in characters.
pub const NAME_CHARS_MAX: usize = 100;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantEvent {
    Created { name: String },
    Renamed { name: String },
}

event_names!(TenantEvent {
    Created => "tenant.created" 1,
    Renamed => "tenant.renamed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    #[error("there is no such tenant")]
    NotFound,
    #[error("this tenant exists already")]
    AlreadyCreated,
    #[error("a tenant's name has between 1 and {NAME_CHARS_MAX} characters, none of them a control character")]
    NameOutOfRange,
}

impl Refusal for TenantError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyCreated => RefusalKind::AlreadyExists,
            Self::NameOutOfRange => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "tenant.not_found",
            Self::AlreadyCreated => "tenant.already_created",
            Self::NameOutOfRange => "tenant.name_out_of_range",
        }
    }
}

#[derive(Debug, Clone)]
pub enum TenantCommand {
    /// Brings a tenant into being.
    Create { name: String },
    /// Gives it another name.
    Rename { name: String },
}

/// Whether a tenant exists and what it is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tenant {
    #[default]
    Unknown,
    Created {
        name: String,
    },
}

impl Decider for Tenant {
    fn decide(&self, command: TenantCommand, _now: DateTime<Utc>) -> Result<Vec<TenantEvent>, TenantError> {
        match (command, self) {
            (TenantCommand::Create { name }, Self::Unknown) => Ok(vec![TenantEvent::Created { name: checked(&name)? }]),
            (TenantCommand::Create { .. }, Self::Created { .. }) => Err(TenantError::AlreadyCreated),
            (TenantCommand::Rename { .. }, Self::Unknown) => Err(TenantError::NotFound),
            (TenantCommand::Rename { name }, Self::Created { name: present }) => {
                let name = checked(&name)?;
                Ok(if name == *present { vec![] } else { vec![TenantEvent::Renamed { name }] })
            }
        }
    }
}

fn checked(name: &str) -> Result<String, TenantError> {
    let name = name.trim();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !plain_text::is_line(name) {
        return Err(TenantError::NameOutOfRange);
    }
    Ok(name.to_owned())
}

impl cqrs_es::Aggregate for Tenant {
    const TYPE: &'static str = "tenant";
    type Command = TenantCommand;
    type Event = TenantEvent;
    type Error = TenantError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: TenantEvent) {
        match event {
            TenantEvent::Created { name } | TenantEvent::Renamed { name } => *self = Self::Created { name },
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn create(name: &str) -> TenantCommand {
        TenantCommand::Create { name: name.into() }
    }
    fn rename(name: &str) -> TenantCommand {
        TenantCommand::Rename { name: name.into() }
    }
    fn created(name: &str) -> TenantEvent {
        TenantEvent::Created { name: name.into() }
    }
    fn renamed(name: &str) -> TenantEvent {
        TenantEvent::Renamed { name: name.into() }
    }
    fn given(events: Vec<TenantEvent>) -> cqrs_es::test::AggregateTestExecutor<Tenant> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn a_tenant_is_created_once() {
        given(vec![]).when(create(" Acme ")).then_expect_events(vec![created("Acme")]);
        given(vec![created("Acme")]).when(create("Acme")).then_expect_error(TenantError::AlreadyCreated);
    }

    #[test]
    fn a_tenant_is_renamed() {
        given(vec![created("Acme")]).when(rename("Ajax")).then_expect_events(vec![renamed("Ajax")]);
        given(vec![created("Acme"), renamed("Ajax")]).when(rename("Ajax")).then_expect_events(vec![]);
        given(vec![]).when(rename("Ajax")).then_expect_error(TenantError::NotFound);
    }

    #[test]
    fn a_name_is_neither_empty_nor_endless() {
        given(vec![]).when(create("  ")).then_expect_error(TenantError::NameOutOfRange);
        given(vec![created("Acme")])
            .when(rename(&"x".repeat(NAME_CHARS_MAX + 1)))
            .then_expect_error(TenantError::NameOutOfRange);
    }
}
