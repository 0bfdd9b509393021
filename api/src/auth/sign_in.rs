//! The way in and out, the same for all products: a password opens a session, the session gives tokens.

use chrono::{DateTime, TimeDelta, Utc};
use commands::{CommandContext, CommandError, Receipt};
use domain::event::EventNames as _;
use domain::identity::user::{
    DEVICE_INFO_CHARS_MAX, FAILURES_MAX, NewSession, PasswordCheck, User, UserCommand, UserError, UserEvent,
};
use domain::metadata::UserId;
use projections::identity::users;
use uuid::Uuid;

use super::tokens::{Grant, TokenKind, refresh_hash};
use super::{Caller, passwords};
use crate::app::Server;
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;

/// How long the tokens of a product live.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lives {
    pub(crate) access: TimeDelta,
    /// None where the product has no refresh: the session ends with the access token.
    pub(crate) refresh: Option<TimeDelta>,
}

/// What somebody shows to come in.
pub(crate) struct Credentials {
    /// E-mail address or username.
    pub(crate) login: String,
    pub(crate) password: String,
    pub(crate) device_info: Option<String>,
}

/// An open session: whose it is, and its tokens.
pub(crate) struct Entrance {
    pub(crate) user: users::Model,
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
}

/// The ids and the end of a session that is to be opened or refreshed.
struct Opening {
    session: Uuid,
    refresh: Option<Uuid>,
    expires_at: DateTime<Utc>,
    lives: Lives,
}

impl Opening {
    fn of(server: &Server, session: Uuid, lives: Lives) -> Self {
        let expires_at = server.clock().now() + lives.refresh.unwrap_or(lives.access);
        Self { session, refresh: lives.refresh.map(|_| server.clock().new_id()), expires_at, lives }
    }
}

/// Opens a session for whoever knows the password.
///
/// # Errors
/// `auth.invalid_credentials` with `remaining_attempts`, `user.locked` with `remaining_minutes`, `user.deactivated`.
pub(crate) async fn sign_in(
    server: &Server,
    request: &RequestContext,
    credentials: Credentials,
    lives: Lives,
) -> Result<Entrance, ApiError> {
    if credentials.device_info.as_ref().is_some_and(|info| info.chars().count() > DEVICE_INFO_CHARS_MAX) {
        // Whoever there is: the user would refuse it as well, and tell by that that there is one.
        return Err(CommandError::Refused(UserError::DeviceInfoTooLong).into());
    }
    let Some(user) = users::find_by_login(server.models.read().await, &credentials.login).await? else {
        passwords::matches(credentials.password, None).await?;
        return Err(unknown(server, &credentials.login));
    };
    let (id, tenant) = (user.user_id()?, user.tenant_id()?);
    let opening = Opening::of(server, server.clock().new_id(), lives);
    loop {
        let password = check(server, id, &credentials.password).await?;
        // Whoever does not know the password is nobody.
        let request = if password.matches { request.signed_in(id, tenant) } else { request.within(tenant) };
        let session = NewSession {
            id: opening.session,
            surface: request.surface.name().to_owned(),
            refresh_hash: opening.refresh.map(refresh_hash),
            expires_at: opening.expires_at,
            device_info: credentials.device_info.clone(),
        };
        match give(server, &request, id, UserCommand::SignIn { password, session }).await {
            Ok(receipt) => {
                check_failures(&receipt)?;
                return enter(server, &request, id, &opening).await;
            }
            Err(CommandError::Refused(UserError::PasswordChangedMeanwhile)) => {}
            Err(error) => return Err(refused(error)),
        }
    }
}

/// Exchanges a refresh token for the next pair. A token that was exchanged before closes its session.
///
/// # Errors
/// Unauthenticated when the token, or its session, is not good any more.
pub(crate) async fn refresh(
    server: &Server,
    request: &RequestContext,
    token: &str,
    lives: Lives,
) -> Result<Entrance, ApiError> {
    let claims = server.tokens.read(token, TokenKind::Refresh, request.surface, server.clock().now());
    let claims = claims.ok_or_else(invalid_refresh)?;
    let user = users::find_anywhere(server.models.read().await, claims.sub).await?.ok_or_else(invalid_refresh)?;
    let request = request.signed_in(claims.sub, user.tenant_id()?);
    let opening = Opening::of(server, claims.sid, lives);
    let next = opening.refresh.ok_or_else(invalid_refresh)?;
    let command = UserCommand::Refresh {
        session_id: claims.sid,
        presented_hash: refresh_hash(claims.jti),
        next_hash: refresh_hash(next),
        expires_at: opening.expires_at,
    };
    let receipt = give(server, &request, claims.sub, command).await.map_err(refused)?;
    if receipt.events.iter().any(|event| matches!(event, UserEvent::SessionsClosed { .. })) {
        return Err(invalid_refresh());
    }
    enter(server, &request, claims.sub, &opening).await
}

/// Closes the caller's session.
///
/// # Errors
/// When the log does not answer.
pub(crate) async fn sign_out(server: &Server, caller: &Caller) -> Result<(), ApiError> {
    let command = UserCommand::SignOut { session_id: caller.user.session };
    give(server, &caller.request, caller.user.id, command).await.map_err(refused)?;
    Ok(())
}

/// Closes another session of the caller, which `refresh_token` is of. A token that names none is good for nothing as it
/// is.
///
/// # Errors
/// When the log does not answer.
pub(crate) async fn sign_out_of(server: &Server, caller: &Caller, refresh_token: &str) -> Result<(), ApiError> {
    let (now, surface) = (server.clock().now(), caller.request.surface);
    let named = server.tokens.read(refresh_token, TokenKind::Refresh, surface, now);
    let Some(claims) = named.filter(|named| named.sub == caller.user.id && named.sid != caller.user.session) else {
        return Ok(());
    };
    let command = UserCommand::SignOut { session_id: claims.sid };
    give(server, &caller.request, caller.user.id, command).await.map_err(refused)?;
    Ok(())
}

/// Closes every session of the caller; answers how many there were.
///
/// # Errors
/// When the log does not answer.
pub(crate) async fn sign_out_everywhere(server: &Server, caller: &Caller) -> Result<usize, ApiError> {
    let everywhere = UserCommand::SignOutEverywhere;
    let receipt = give(server, &caller.request, caller.user.id, everywhere).await.map_err(refused)?;
    let closed = |event: &UserEvent| {
        if let UserEvent::SessionsClosed { session_ids, .. } = event { session_ids.len() } else { 0 }
    };
    Ok(receipt.events.iter().map(closed).sum())
}

/// Gives a command to a user and waits until sessions and lists show it. It carries no idempotency key: its answer
/// holds secrets that cannot be had again, so repeating it means doing it again.
///
/// # Errors
/// Why it did nothing.
async fn give(
    server: &Server,
    request: &RequestContext,
    user: UserId,
    command: UserCommand,
) -> Result<Receipt<User>, CommandError<UserError>> {
    let context = CommandContext { key: None, ..request.command() };
    let receipt = server.bus.execute::<User>(&user.to_string(), command, &context).await?;
    request.reached(receipt.position);
    server.settled(request).await;
    let opened = |event: &UserEvent| event.name().0 == "user.session_opened";
    if !receipt.events.iter().all(opened) {
        server.sessions.forget(user);
    }
    Ok(receipt)
}

pub(super) async fn check(server: &Server, user: UserId, password: &str) -> Result<PasswordCheck, ApiError> {
    let (user, _) = server.bus.load::<User>(&user.to_string()).await?;
    let against_hash = user.account().map(|account| account.password_hash.clone()).unwrap_or_default();
    let matches = passwords::matches(password.to_owned(), Some(against_hash.clone())).await?;
    Ok(PasswordCheck { against_hash, matches })
}

/// A wrong password is an event, not a refusal: it counts.
fn check_failures(receipt: &Receipt<User>) -> Result<(), ApiError> {
    let failures = receipt.events.iter().find_map(|event| match event {
        UserEvent::SignInFailed { failures, .. } => Some(*failures),
        UserEvent::Registered { .. }
        | UserEvent::Renamed { .. }
        | UserEvent::ProfileChanged { .. }
        | UserEvent::PasswordChanged { .. }
        | UserEvent::RoleChanged { .. }
        | UserEvent::PlanChanged { .. }
        | UserEvent::CustomerChanged { .. }
        | UserEvent::Deactivated
        | UserEvent::Activated
        | UserEvent::EmailVerified
        | UserEvent::Deleted { .. }
        | UserEvent::Locked { .. }
        | UserEvent::SessionOpened { .. }
        | UserEvent::SessionRefreshed { .. }
        | UserEvent::SessionsClosed { .. } => None,
    });
    failures.map_or(Ok(()), |failures| Err(invalid_credentials(FAILURES_MAX.saturating_sub(failures))))
}

/// Nobody has this address or name; the answer is the one that somebody who has it would get.
fn unknown(server: &Server, login: &str) -> ApiError {
    let login = server.secrets.fingerprint("unknown-login", &[login.trim().to_lowercase().as_bytes()]);
    match server.unknown_logins.fail(login, server.clock().now()) {
        Ok(failures) => invalid_credentials(FAILURES_MAX.saturating_sub(failures)),
        Err(locked) => refused(CommandError::Refused(locked)),
    }
}

async fn enter(server: &Server, request: &RequestContext, id: UserId, opening: &Opening) -> Result<Entrance, ApiError> {
    let user = users::find_anywhere(server.models.read().await, id).await?;
    let user = user.ok_or_else(|| ApiError::internal(&"a session of a user that no list knows"))?;
    let now = server.clock().now();
    let grant = |kind, token, expires_at| {
        let grant = Grant { user: id, session: opening.session, kind, surface: request.surface, id: token, expires_at };
        server.tokens.sign(grant, now)
    };
    let access_token = grant(TokenKind::Access, server.clock().new_id(), now + opening.lives.access)?;
    let refresh_token =
        opening.refresh.map(|token| grant(TokenKind::Refresh, token, opening.expires_at)).transpose()?;
    Ok(Entrance { user, access_token, refresh_token })
}

fn invalid_credentials(remaining_attempts: u32) -> ApiError {
    ApiError::new(ErrorKind::Unauthenticated, "auth.invalid_credentials", "Incorrect email or password")
        .with("remaining_attempts", remaining_attempts)
}

fn invalid_refresh() -> ApiError {
    ApiError::new(ErrorKind::Unauthenticated, "auth.invalid_refresh_token", "Invalid or expired refresh token")
}

pub(super) fn refused(error: CommandError<UserError>) -> ApiError {
    let CommandError::Refused(UserError::Locked { remaining_minutes }) = error else { return error.into() };
    let locked = ApiError::from(error).with("remaining_minutes", remaining_minutes);
    ApiError { retry_after: Some(remaining_minutes.unsigned_abs() * 60), ..locked }
}
