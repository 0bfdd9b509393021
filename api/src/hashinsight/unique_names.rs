//! Sites and miners come into being together with a name that nobody else of the tenant has.

use commands::{CommandContext, CommandError, Receipt};
use domain::aggregate::Decider;
use domain::hosting::unique_name::{NameOf, UniqueName, UniqueNameCommand, UniqueNameError, stream_id};
use domain::metadata::TenantId;
use projections::hosting::{miners, sites};

use crate::app::Server;
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;

/// A name that is about to be taken.
#[derive(Debug, Clone)]
pub(super) struct Name {
    of: NameOf,
    text: String,
    /// Who has it by the log, and does not exist.
    missing: Option<i64>,
}

impl Name {
    /// The name, unless something that exists has it.
    ///
    /// # Errors
    /// That it is in use, or that the log or the read models do not answer.
    pub(super) async fn free(app: &Server, request: &RequestContext, of: NameOf, text: &str) -> Result<Self, ApiError> {
        let (state, _) = app.bus.load::<UniqueName>(&stream_id(request.tenant, of, text)).await?;
        let missing = match state {
            UniqueName::Free => None,
            UniqueName::Taken { holder, .. } if exists(app, request.tenant, of, holder).await? => {
                // A request that is repeated finds its own work; the bus knows it by its key.
                if request.key.is_none() {
                    return Err(in_use(of));
                }
                None
            }
            UniqueName::Taken { holder, .. } => Some(holder),
        };
        Ok(Self { of, text: text.to_owned(), missing })
    }

    /// Takes the name for `holder` and brings it into being by `command`; the name is free again when that is refused.
    /// `purpose` tells apart what one request gives names to.
    ///
    /// # Errors
    /// That the name is in use, what the command was refused for, or that the log does not answer.
    pub(super) async fn give<A: Decider>(
        self,
        app: &Server,
        request: &RequestContext,
        purpose: &str,
        (holder, command): (i64, A::Command),
    ) -> Result<Receipt<A>, ApiError> {
        let taking = request.command_for(&format!("{purpose}/name"));
        let stream = stream_id(request.tenant, self.of, &self.text);
        let take = UniqueNameCommand::Take { holder, missing: self.missing };
        let mut taken = app.bus.execute::<UniqueName>(&stream, take.clone(), &taking).await;
        if taken.as_ref().is_ok_and(|taken| taken.repeated) {
            // An attempt that failed may have given it back; whoever still has it takes nothing.
            let anew = CommandContext { key: None, ..taking.clone() };
            taken = app.bus.execute::<UniqueName>(&stream, take, &anew).await;
        }
        match taken {
            Ok(receipt) => request.reached(receipt.position),
            Err(CommandError::Refused(UniqueNameError::InUse { .. })) => return Err(in_use(self.of)),
            Err(error) => return Err(error.into()),
        }
        let created = app.bus.execute::<A>(&holder.to_string(), command, &request.command_for(purpose)).await;
        match &created {
            Ok(receipt) => request.reached(receipt.position),
            // It may have been appended all the same: whoever wants the name later finds out.
            Err(CommandError::Log(_)) => {}
            Err(_) => free(app, &stream, holder, CommandContext { key: None, ..taking }).await,
        }
        Ok(created?)
    }
}

/// Should this fail as well, the name may be taken over after a while.
async fn free(app: &Server, stream: &str, holder: i64, context: CommandContext) {
    if let Err(error) = app.bus.execute::<UniqueName>(stream, UniqueNameCommand::Free { holder }, &context).await {
        tracing::warn!(%error, stream, "a name stays taken");
    }
}

async fn exists(app: &Server, tenant: TenantId, of: NameOf, id: i64) -> Result<bool, ApiError> {
    let db = app.models.read().await;
    Ok(match of {
        NameOf::Site => sites::find(db, tenant, id).await?.is_some(),
        NameOf::Miner => miners::find(db, tenant, id).await?.is_some(),
    })
}

fn in_use(of: NameOf) -> ApiError {
    let (code, message) = match of {
        NameOf::Site => ("site.slug_in_use", "a site with this slug exists already"),
        NameOf::Miner => ("miner.serial_number_in_use", "a miner with this serial number exists already"),
    };
    ApiError::new(ErrorKind::AlreadyExists, code, message)
}
