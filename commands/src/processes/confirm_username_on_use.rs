//! Confirm the claim on a username once a user bears it, and release the one that was given up for it.

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
            Some(UserEvent::Registered { username: Some(username), .. }) => (None, username),
            Some(UserEvent::Renamed { from, to }) => (from, to),
            Some(
                UserEvent::Registered { username: None, .. }
                | UserEvent::ProfileChanged { .. }
                | UserEvent::PasswordChanged { .. }
                | UserEvent::RoleChanged { .. }
                | UserEvent::PlanChanged { .. }
                | UserEvent::CustomerChanged { .. }
                | UserEvent::Deactivated
                | UserEvent::Activated
                | UserEvent::SignInFailed { .. }
                | UserEvent::Locked { .. }
                | UserEvent::SessionOpened { .. }
                | UserEvent::SessionRefreshed { .. }
                | UserEvent::SessionsClosed { .. },
            )
            | None => return Ok(None),
        };
        let owner = event.aggregate_id.parse().map(UserId).map_err(|_| ProcessError::Refused("no user's id".into()))?;
        let confirm = self.context(event, "confirm", bus)?;
        let receipt = bus.execute::<Username>(&claim_id(&borne), UsernameCommand::Confirm { owner }, &confirm).await?;
        let Some(given_up) = given_up.filter(|given_up| claim_id(given_up) != claim_id(&borne)) else {
            return Ok(Some(receipt.position));
        };
        let release = self.context(event, "release", bus)?;
        let receipt =
            bus.execute::<Username>(&claim_id(&given_up), UsernameCommand::Release { owner }, &release).await?;
        Ok(Some(receipt.position))
    }
}

impl ConfirmUsernameOnUse {
    /// Claims belong to the default tenant, whosesoever user it is.
    fn context(&self, event: &Recorded, purpose: &str, bus: &CommandBus) -> Result<CommandContext, ProcessError> {
        let actor = format!("process:{}", self.name());
        let context = CommandContext::caused_by(event, actor, purpose, bus.clock().new_id())?;
        Ok(CommandContext { metadata: Metadata { tenant: TenantId::DEFAULT, ..context.metadata }, ..context })
    }
}
