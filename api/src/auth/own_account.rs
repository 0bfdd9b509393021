//! What a signed-in user changes about the own account, the same for all products.

use commands::{CommandContext, CommandError};
use domain::identity::user::{User, UserCommand, UserError};
use domain::identity::username::claim_id;

use super::passwords::{self, Policy};
use super::registration::{give_back, of_user, take};
use super::sign_in::check;
use super::{Caller, sign_in};
use crate::app::Server;
use crate::error::ApiError;

/// Replaces the password and closes all sessions but this one.
///
/// # Errors
/// What is wrong with the new password (`new_password`), or `user.wrong_password`.
pub(crate) async fn change_password(
    server: &Server,
    caller: &Caller,
    (current, new): (String, String),
    policy: Policy,
) -> Result<(), ApiError> {
    if let Some(objection) = policy.objection(&new) {
        return Err(ApiError::field("new_password", objection));
    }
    let (id, keep, context) = (caller.user.id, Some(caller.user.session), caller.request.command());
    loop {
        let current = check(server, id, &current).await?;
        // Whoever repeats a request shows what was the password before: the bus knows the command by its key.
        let password_hash = if current.matches { passwords::hash(new.clone()).await? } else { String::new() };
        let command = UserCommand::ChangePassword { current, password_hash, keep };
        match server.bus.execute::<User>(&id.to_string(), command, &context).await {
            Ok(receipt) => {
                caller.request.note(&id.to_string(), &receipt)?;
                server.settled(&caller.request).await;
                server.sessions.forget(id);
                return Ok(());
            }
            Err(CommandError::Refused(UserError::PasswordChangedMeanwhile)) => {}
            Err(error) => return Err(sign_in::refused(error)),
        }
    }
}

/// Changes what is given: the username, and the name of the person.
///
/// # Errors
/// What is wrong with them, or `username.taken`; then nothing was changed.
pub(crate) async fn change_profile(
    server: &Server,
    caller: &Caller,
    username: Option<String>,
    name: Option<String>,
) -> Result<(), ApiError> {
    let stream = caller.user.id.to_string();
    let profile = name.map(|name| UserCommand::ChangeProfile { name: Some(name), metadata: None });
    if let Some(profile) = &profile {
        // A name that is refused must not leave the username changed.
        let rehearsal = CommandContext { dry_run: true, key: None, ..caller.request.command() };
        server.bus.execute::<User>(&stream, profile.clone(), &rehearsal).await.map_err(of_user)?;
    }
    if let Some(username) = username {
        rename(server, caller, username).await?;
    }
    if let Some(profile) = profile {
        let receipt = server.bus.execute::<User>(&stream, profile, &caller.request.command()).await.map_err(of_user)?;
        caller.request.reached(receipt.position);
    }
    server.settled(&caller.request).await;
    Ok(())
}

async fn rename(server: &Server, caller: &Caller, username: String) -> Result<(), ApiError> {
    let (owner, stream) = (caller.user.id, caller.user.id.to_string());
    let command = UserCommand::Rename { username: username.clone() };
    let (context, claiming) = (caller.request.command(), caller.request.command());
    let rehearsal = CommandContext { dry_run: true, ..context.clone() };
    let rehearsed = server.bus.execute::<User>(&stream, command.clone(), &rehearsal).await.map_err(of_user)?;
    if rehearsed.repeated || rehearsed.events.is_empty() {
        return Ok(());
    }
    let (user, _) = server.bus.load::<User>(&stream).await?;
    let present = user.account().ok().and_then(|account| account.username.as_deref()).map(claim_id);
    // The same name with other capitals is the user's already.
    let is_new = present.as_deref() != Some(&claim_id(&username));
    if is_new {
        take(server, &username, owner, claiming).await?;
    }
    let renamed = server.bus.execute::<User>(&stream, command, &context).await;
    if let (Err(error), true) = (&renamed, is_new) {
        give_back(server, &username, owner, error, caller.request.command()).await;
    }
    caller.request.reached(renamed.map_err(of_user)?.position);
    Ok(())
}
