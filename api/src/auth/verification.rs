//! Codes that are mailed to addresses: sent, shown, used. Whether an address is known is not told.

use chrono::TimeDelta;
use commands::CommandContext;
use commands::gateways::mail::{self, Letter};
use domain::identity::user::{EMAIL_BYTES_MAX, UserError};
use domain::identity::verification::{
    LIFE_MINUTES, Purpose, TRIES_MAX, Verification, VerificationCommand, VerificationError, VerificationEvent,
    verification_id,
};
use domain::metadata::TenantId;
use domain::platform::mail::Mail;
use rand::RngExt;

use crate::app::Server;
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;

/// A code for an address, as somebody shows it.
pub(crate) struct Shown<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) email: &'a str,
    pub(crate) code: &'a str,
}

/// Makes a code for `email`; `letter` says in what words it is mailed, or that it is mailed to nobody.
///
/// # Errors
/// `verification.too_soon` with `Retry-After`; or that the address is none.
pub(crate) async fn send(
    server: &Server,
    request: &RequestContext,
    (purpose, email): (Purpose, &str),
    letter: impl FnOnce(&str) -> Option<(&'static str, String)>,
) -> Result<(), ApiError> {
    let email = address(email)?;
    // Codes belong to addresses, not to users of a tenant.
    let request = request.within(TenantId::DEFAULT);
    let code = format!("{:06}", rand::rng().random_range(0..1_000_000));
    let code_hash = hash(server, &Shown { purpose, email, code: &code });
    let command = VerificationCommand::Issue { purpose, code_hash };
    let issued =
        server.bus.execute::<Verification>(&verification_id(purpose, email), command, &keyless(&request)).await;
    request.reached(issued.map_err(refused)?.position);
    if let Some((subject, text)) = letter(&code) {
        let send_before = Some(server.clock().now() + TimeDelta::minutes(LIFE_MINUTES));
        let (id, to) = (server.clock().new_id(), email.to_owned());
        let letter = Letter { to, subject: subject.to_owned(), text, send_before };
        let command = mail::request(&server.secrets, id, letter);
        let asked = server.bus.execute::<Mail>(&id.to_string(), command, &keyless(&request)).await?;
        request.reached(asked.position);
    }
    server.settled(&request).await;
    Ok(())
}

/// What is done with a shown code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    Verify,
    Check,
    Use,
}

/// Does `deed` with a code.
///
/// # Errors
/// `verification.wrong` with the tries that remain, or `verification.invalid`.
pub(crate) async fn show(
    server: &Server,
    request: &RequestContext,
    shown: &Shown<'_>,
    deed: Deed,
) -> Result<(), ApiError> {
    let presented_hash = hash(server, shown);
    let command = match deed {
        Deed::Verify => VerificationCommand::Verify { presented_hash },
        Deed::Check => VerificationCommand::Check { presented_hash },
        Deed::Use => VerificationCommand::Use { presented_hash },
    };
    let (request, id) = (request.within(TenantId::DEFAULT), verification_id(shown.purpose, shown.email));
    let receipt = server.bus.execute::<Verification>(&id, command, &keyless(&request)).await.map_err(refused)?;
    match receipt.events.first() {
        Some(VerificationEvent::Failed { failures }) => Err(wrong(TRIES_MAX.saturating_sub(*failures))),
        Some(VerificationEvent::Issued { .. } | VerificationEvent::Verified | VerificationEvent::Used) | None => Ok(()),
    }
}

/// Codes are made anew when a request is repeated, so the commands carry no key.
fn keyless(request: &RequestContext) -> CommandContext {
    CommandContext { key: None, ..request.command() }
}

fn hash(server: &Server, shown: &Shown<'_>) -> String {
    let email = shown.email.trim().to_lowercase();
    let parts = [shown.purpose.name().as_bytes(), email.as_bytes(), shown.code.trim().as_bytes()];
    data_encoding::HEXLOWER.encode(&server.secrets.fingerprint("verification-code", &parts))
}

/// Only what can be mailed to.
fn address(email: &str) -> Result<&str, ApiError> {
    let email = email.trim();
    let plain = !email.contains(|c: char| c.is_whitespace() || c.is_control());
    let parts = email.split_once('@').filter(|(local, host)| !local.is_empty() && !host.is_empty());
    if email.len() <= EMAIL_BYTES_MAX && plain && parts.is_some_and(|(_, host)| !host.contains('@')) {
        Ok(email)
    } else {
        Err(commands::CommandError::Refused(UserError::EmailInvalid).into())
    }
}

fn wrong(remaining: u32) -> ApiError {
    ApiError::new(ErrorKind::Invalid, "verification.wrong", "The code is wrong").with("remaining_attempts", remaining)
}

fn refused(error: commands::CommandError<VerificationError>) -> ApiError {
    let commands::CommandError::Refused(VerificationError::TooSoon { seconds }) = error else { return error.into() };
    let refusal = ApiError::from(error).with("seconds", seconds);
    ApiError { retry_after: Some(seconds.unsigned_abs()), ..refusal }
}
