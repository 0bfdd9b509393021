//! Confirm the claim on a username once a user bears it, and release the one that was given up.

use async_trait::async_trait;
use domain::event::Recorded;
use domain::identity::user::{User, UserEvent};
use domain::identity::username::{Username, UsernameCommand, claim_id};
use domain::metadata::{Metadata, TenantId, UserId};

use super::{Process, ProcessError};
use crate::bus::CommandBus;
use crate::context::CommandContext;

/// The process manager.
pub struct ConfirmUsernameOnUse;

#[async_trait]
impl Process for ConfirmUsernameOnUse {
    fn name(&self) -> &'static str {
        "confirm_username_on_use"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["user"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let (given_up, borne) = match event.decode::<User>()? {
            Some(UserEvent::Deleted { username: Some(username) }) => (Some(username), None),
            Some(UserEvent::Registered { username: Some(username), .. }) => (None, Some(username)),
            Some(UserEvent::Renamed { from, to }) => (from, Some(to)),
            Some(
                UserEvent::Registered { username: None, .. }
                | UserEvent::ProfileChanged { .. }
                | UserEvent::PasswordChanged { .. }
                | UserEvent::RoleChanged { .. }
                | UserEvent::PlanChanged { .. }
                | UserEvent::CustomerChanged { .. }
                | UserEvent::Deactivated
                | UserEvent::Activated
                | UserEvent::EmailVerified
                | UserEvent::Deleted { username: None }
                | UserEvent::SignInFailed { .. }
                | UserEvent::Locked { .. }
                | UserEvent::SessionOpened { .. }
                | UserEvent::SessionRefreshed { .. }
                | UserEvent::SessionsClosed { .. },
            )
            | None => return Ok(None),
        };
        let owner = event.aggregate_id.parse().map(UserId).map_err(|_| ProcessError::Refused("no user's id".into()))?;
        let mut position = None;
        if let Some(borne) = &borne {
            let confirm = UsernameCommand::Confirm { owner };
            position = Some(self.claim(bus, event, (borne, "confirm"), confirm).await?);
        }
        if let Some(given_up) = given_up.filter(|name| borne.as_deref().map(claim_id) != Some(claim_id(name))) {
            let release = UsernameCommand::Release { owner };
            position = Some(self.claim(bus, event, (&given_up, "release"), release).await?);
        }
        Ok(position)
    }
}

impl ConfirmUsernameOnUse {
    async fn claim(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        (username, purpose): (&str, &str),
        command: UsernameCommand,
    ) -> Result<u64, ProcessError> {
        let context = self.of_default_tenant(bus, event, purpose)?;
        Ok(bus.execute::<Username>(&claim_id(username), command, &context).await?.position)
    }

    /// Claims belong to the default tenant, whosesoever user it is.
    fn of_default_tenant(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        purpose: &str,
    ) -> Result<CommandContext, ProcessError> {
        let context = self.context(bus, event, purpose)?;
        Ok(CommandContext { metadata: Metadata { tenant: TenantId::DEFAULT, ..context.metadata }, ..context })
    }
}
