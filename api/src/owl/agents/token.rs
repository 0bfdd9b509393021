//! The tokens of agents: which server, and a secret of which only a keyed hash is kept.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::error::{ApiError, ErrorKind};
use crate::secrets::Secrets;

const PREFIX: &str = "owl_agent_";
const SECRET_BYTES: usize = 32;

/// A token that somebody shows.
pub(super) struct Shown {
    pub(super) server_id: Uuid,
    secret: Vec<u8>,
}

/// A fresh token for a server, and the hash that is kept of it.
pub(crate) fn fresh(secrets: &Secrets, server_id: Uuid) -> (String, String) {
    let secret: [u8; SECRET_BYTES] = rand::random();
    let token = format!("{PREFIX}{}_{}", server_id.simple(), BASE64URL_NOPAD.encode(&secret));
    (token, hash(secrets, server_id, &secret))
}

fn hash(secrets: &Secrets, server_id: Uuid, secret: &[u8]) -> String {
    HEXLOWER.encode(&secrets.fingerprint("agent-token", &[server_id.as_bytes(), secret]))
}

/// The token in the headers of a request, if there is one.
pub(super) fn shown(headers: &HeaderMap) -> Option<Shown> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (server_id, secret) = token.trim().strip_prefix(PREFIX)?.split_once('_')?;
    let secret = BASE64URL_NOPAD.decode(secret.as_bytes()).ok()?;
    Some(Shown { server_id: Uuid::try_parse(server_id).ok()?, secret })
}

impl Shown {
    /// Whether it is the token that `kept` is the hash of.
    pub(super) fn is_of(&self, secrets: &Secrets, kept: &str) -> bool {
        hash(secrets, self.server_id, &self.secret).as_bytes().ct_eq(kept.as_bytes()).into()
    }
}

/// No token, or not that of a server.
pub(super) fn refused() -> ApiError {
    ApiError::unauthenticated("This is not the token of a GPU server")
}

/// The answer with the token was lost, and tokens are stored nowhere.
pub(crate) fn shown_once() -> ApiError {
    let sentence = "a token was made under this key before, and is shown only once: ask for a new one";
    ApiError::new(ErrorKind::IllegalState, "agent.token_shown_once", sentence)
}
