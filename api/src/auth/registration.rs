//! New users, the same for all products: the username is claimed, the user registered, the claim confirmed.

use commands::{CommandContext, CommandError, Receipt};
use domain::identity::role::Role;
use domain::identity::user::{Registrar, User, UserCommand, UserError, objections, user_id};
use domain::identity::username::{Username, UsernameCommand, UsernameError, claim_id};
use domain::metadata::{Metadata, TenantId, UserId};

use super::passwords::{self, Policy};
use crate::app::Server;
use crate::error::ApiError;
use crate::request::RequestContext;

/// Who is to be registered.
#[derive(Clone)]
pub(crate) struct Registration {
    pub(crate) email: String,
    pub(crate) username: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) password: String,
    pub(crate) role: Role,
    pub(crate) by: Registrar,
}

impl Registration {
    /// Somebody who comes from outside.
    pub(crate) fn public(email: String, username: Option<String>, name: Option<String>, password: String) -> Self {
        Self { email, username, name, password, role: Role::User, by: Registrar::Public }
    }

    /// What is wrong with the fields themselves, whoever else is registered.
    fn wrong(&self, policy: Policy) -> Option<ApiError> {
        let refusals = objections(&self.email, self.username.as_deref(), self.name.as_deref());
        let errors = refusals.into_iter().map(|refusal| of_user(CommandError::Refused(refusal)));
        let of_password = policy.objection(&self.password).map(|objection| ApiError::field("password", objection));
        ApiError::of_all(errors.chain(of_password))
    }

    fn command(&self, password_hash: String) -> UserCommand {
        UserCommand::Register {
            email: self.email.clone(),
            username: self.username.clone(),
            name: self.name.clone(),
            password_hash,
            role: self.role,
            by: self.by,
        }
    }
}

/// Registers a user in the tenant of `request`.
///
/// # Errors
/// What is wrong with the fields, everything at once; `user.already_registered`, `username.taken`, or what else a rule
/// refused.
pub(crate) async fn register(
    server: &Server,
    request: &RequestContext,
    registration: &Registration,
    policy: Policy,
) -> Result<UserId, ApiError> {
    if let Some(wrong) = registration.wrong(policy) {
        return Err(wrong);
    }
    let id = user_id(&registration.email);
    let registered = {
        // Whoever registers the same address at the same time is told that it is taken, not that the username is.
        let _turn = server.turns.take("registration", &id.to_string()).await;
        carry_out(server, registration, || request.command()).await?
    };
    if let (Some(claim), Some(username)) = (&registered.claim, &registration.username) {
        request.note(&claim_id(username), claim)?;
    }
    request.note(&id.to_string(), &registered.user)?;
    server.settled(request).await;
    Ok(id)
}

/// What a registration did.
pub(crate) struct Registered {
    /// The username taken, unless there is none or all this was done before.
    claim: Option<Receipt<Username>>,
    pub(crate) user: Receipt<User>,
}

/// Registers a user with the contexts that `context` makes, one for each command.
///
/// # Errors
/// `user.already_registered`, `username.taken`, or what else a rule refused.
pub(crate) async fn carry_out(
    server: &Server,
    registration: &Registration,
    context: impl Fn() -> CommandContext,
) -> Result<Registered, ApiError> {
    let id = user_id(&registration.email);
    let stream = id.to_string();
    let context_of_user = context();
    // First a rehearsal: a registration that a rule refuses claims no username and hashes no password.
    let rehearsal = CommandContext { dry_run: true, ..context_of_user.clone() };
    let rehearsed =
        server.bus.execute::<User>(&stream, registration.command("$argon2id$".to_owned()), &rehearsal).await;
    let rehearsed = rehearsed.map_err(of_user)?;
    if rehearsed.repeated {
        return Ok(Registered { claim: None, user: rehearsed });
    }
    let password_hash = passwords::hash(registration.password.clone()).await?;
    let claimed = match &registration.username {
        Some(username) => Some(take(server, username, id, context()).await?),
        None => None,
    };
    let registered = server.bus.execute::<User>(&stream, registration.command(password_hash), &context_of_user).await;
    if let (Err(error), Some(username)) = (&registered, &registration.username) {
        give_back(server, username, id, error, context()).await;
    }
    Ok(Registered { claim: claimed, user: registered.map_err(of_user)? })
}

/// Takes `username` for `owner`. An attempt that failed may have taken it under the same key and given it back.
pub(super) async fn take(
    server: &Server,
    username: &str,
    owner: UserId,
    context: CommandContext,
) -> Result<Receipt<Username>, ApiError> {
    let taken = claim(server, username, UsernameCommand::Take { owner }, context.clone()).await?;
    if !taken.repeated || server.bus.load::<Username>(&claim_id(username)).await?.0.owner() == Some(owner) {
        return Ok(taken);
    }
    claim(server, username, UsernameCommand::Take { owner }, CommandContext { key: None, ..context }).await
}

/// Gives `username` back, unless what it was taken for may have been appended all the same. A claim that stays lapses.
pub(super) async fn give_back(
    server: &Server,
    username: &str,
    owner: UserId,
    why: &CommandError<UserError>,
    context: CommandContext,
) {
    if !matches!(why, CommandError::Log(_)) {
        let context = CommandContext { key: None, ..context };
        let _ = claim(server, username, UsernameCommand::Release { owner }, context).await;
    }
}

/// Commands the claim on `username`. Claims are the default tenant's.
async fn claim(
    server: &Server,
    username: &str,
    command: UsernameCommand,
    context: CommandContext,
) -> Result<Receipt<Username>, ApiError> {
    let metadata = Metadata { tenant: TenantId::DEFAULT, ..context.metadata };
    let context = CommandContext { metadata, ..context };
    let claimed = server.bus.execute::<Username>(&claim_id(username), command, &context).await;
    claimed.map_err(|error: CommandError<UsernameError>| error.into())
}

/// An address of another tenant is taken, not missing; a refusal that is about one field says which.
pub(super) fn of_user(error: CommandError<UserError>) -> ApiError {
    let field = match &error {
        CommandError::Foreign => return CommandError::Refused(UserError::AlreadyRegistered).into(),
        CommandError::Refused(UserError::EmailInvalid) => "email",
        CommandError::Refused(UserError::UsernameInvalid) => "username",
        CommandError::Refused(UserError::NameOutOfRange) => "name",
        CommandError::Refused(_)
        | CommandError::Stale { .. }
        | CommandError::KeyReused
        | CommandError::Unfit(_)
        | CommandError::Contended
        | CommandError::Log(_) => return error.into(),
    };
    let refusal = ApiError::from(error);
    ApiError::field_by(refusal.code, field, refusal.message)
}
