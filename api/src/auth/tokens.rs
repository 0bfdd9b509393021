//! Tokens: what they say, and that it was this installation that said it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::metadata::UserId;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::ApiError;
use crate::secrets::Secrets;
use crate::surface::Surface;

const ISSUER: &str = "corelog";

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Requests.
    Access,
    /// The next pair of tokens, once.
    Refresh,
}

/// What a token says. Role and tenant are not in it: they are looked up, so that a change counts at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub sub: UserId,
    /// The session it belongs to.
    pub sid: Uuid,
    #[serde(rename = "type")]
    pub kind: TokenKind,
    /// The surface it was given for, and is good for.
    pub aud: String,
    pub iss: String,
    pub jti: Uuid,
    pub iat: i64,
    pub exp: i64,
}

/// Whose token, for what and until when.
#[derive(Debug, Clone, Copy)]
pub struct Grant {
    pub user: UserId,
    pub session: Uuid,
    pub kind: TokenKind,
    pub surface: Surface,
    /// The token's own id.
    pub id: Uuid,
    pub expires_at: DateTime<Utc>,
}

/// What a token of a device says. It shares no required field with [`Claims`] beyond the registered ones, so neither is
/// taken for the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceClaims {
    #[serde(rename = "device_id")]
    pub device: Uuid,
    /// The position of the event since which the sessions of the device are good.
    pub since: u64,
    #[serde(rename = "type")]
    pub kind: TokenKind,
    pub aud: String,
    pub iss: String,
    pub iat: i64,
    pub exp: i64,
}

/// What the audience of devices is called.
const DEVICES: &str = "zinnia-devices";

/// Makes and checks tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// What is asked of the tokens of users, by the surface that they are shown to, and of those of devices.
    validations: HashMap<Surface, Validation>,
    validation_of_devices: Validation,
}

/// Tokens that this installation signed, for one of `audiences`. Their time is judged by the server's clock.
fn validation(audiences: &[&str]) -> Validation {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(audiences);
    validation.validate_exp = false;
    validation
}

/// The audiences whose tokens `surface` takes: the platform's API takes those of every product.
fn audiences(surface: Surface) -> Vec<&'static str> {
    match surface {
        Surface::Platform => Surface::ALL.map(Surface::name).to_vec(),
        Surface::HashInsight | Surface::Zinnia | Surface::Bitrun | Surface::Owl => vec![surface.name()],
    }
}

impl Tokens {
    /// Tokens signed by a key derived from `secrets`.
    pub fn new(secrets: &Secrets) -> Self {
        let key = secrets.derive("tokens");
        Self {
            encoding: EncodingKey::from_secret(&key),
            decoding: DecodingKey::from_secret(&key),
            validations: Surface::ALL.map(|surface| (surface, validation(&audiences(surface)))).into(),
            validation_of_devices: validation(&[DEVICES]),
        }
    }

    /// The token for `grant`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign(&self, grant: Grant, now: DateTime<Utc>) -> Result<String, ApiError> {
        let claims = Claims {
            sub: grant.user,
            sid: grant.session,
            kind: grant.kind,
            aud: grant.surface.name().to_owned(),
            iss: ISSUER.to_owned(),
            jti: grant.id,
            iat: now.timestamp(),
            exp: grant.expires_at.timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|error| ApiError::internal(&error))
    }

    /// A token of `kind` for the sessions of `device` since the position `since`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn sign_for_device(
        &self,
        (device, since): (Uuid, u64),
        kind: TokenKind,
        (now, expires_at): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<String, ApiError> {
        let claims = DeviceClaims {
            device,
            since,
            kind,
            aud: DEVICES.to_owned(),
            iss: ISSUER.to_owned(),
            iat: now.timestamp(),
            exp: expires_at.timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|error| ApiError::internal(&error))
    }

    /// The claims of a token of a device that is good for `kind` at `now`.
    pub fn read_of_device(&self, token: &str, kind: TokenKind, now: DateTime<Utc>) -> Option<DeviceClaims> {
        let claims =
            jsonwebtoken::decode::<DeviceClaims>(token, &self.decoding, &self.validation_of_devices).ok()?.claims;
        (claims.kind == kind && claims.exp > now.timestamp()).then_some(claims)
    }

    /// The claims of a token that is good for `kind` on `surface` at `now`.
    pub fn read(&self, token: &str, kind: TokenKind, surface: Surface, now: DateTime<Utc>) -> Option<Claims> {
        let validation = self.validations.get(&surface)?;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, validation).ok()?.claims;
        (claims.kind == kind && claims.exp > now.timestamp()).then_some(claims)
    }
}

/// What is kept of a refresh token: enough to know it again, too little to make it.
pub(crate) fn refresh_hash(id: Uuid) -> String {
    data_encoding::HEXLOWER.encode(&Sha256::digest(id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }
    fn tokens(key: &str) -> Tokens {
        Tokens::new(&Secrets::from_hex(&key.repeat(64)).unwrap())
    }
    fn grant(kind: TokenKind) -> Grant {
        Grant {
            user: UserId(Uuid::from_u128(1)),
            session: Uuid::from_u128(2),
            kind,
            surface: Surface::Zinnia,
            id: Uuid::from_u128(3),
            expires_at: noon() + TimeDelta::minutes(15),
        }
    }

    #[test]
    fn a_token_is_good_for_its_surface_its_kind_and_its_time() {
        let token = tokens("a").sign(grant(TokenKind::Access), noon()).unwrap();
        let read =
            |kind, surface, minutes| tokens("a").read(&token, kind, surface, noon() + TimeDelta::minutes(minutes));
        assert_eq!(read(TokenKind::Access, Surface::Zinnia, 14).unwrap().sid, Uuid::from_u128(2));
        assert!(read(TokenKind::Access, Surface::Platform, 14).is_some());
        assert!(read(TokenKind::Access, Surface::Owl, 14).is_none());
        assert!(read(TokenKind::Refresh, Surface::Zinnia, 14).is_none());
        assert!(read(TokenKind::Access, Surface::Zinnia, 15).is_none());
    }

    #[test]
    fn a_token_of_another_installation_or_algorithm_is_none() {
        let token = tokens("a").sign(grant(TokenKind::Access), noon()).unwrap();
        assert!(tokens("b").read(&token, TokenKind::Access, Surface::Zinnia, noon()).is_none());
        let unsigned = data_encoding::BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT"}"#);
        let payload = token.split('.').nth(1).unwrap();
        assert!(
            tokens("a").read(&format!("{unsigned}.{payload}."), TokenKind::Access, Surface::Zinnia, noon()).is_none()
        );
    }
}
