//! Who calls: tokens, and the extractors that stand in a handler's signature.

mod permission;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use chrono::{DateTime, TimeDelta, Utc};
use domain::identity::role::Role;
use domain::metadata::{TenantId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::app::Server;
use crate::error::ApiError;
use crate::request::RequestContext;
use crate::secrets::Secrets;
use crate::surface::Surface;

pub use permission::{Full, Permitted, Read, module};

const ISSUER: &str = "corelog";

/// What an access token says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Claims {
    pub sub: UserId,
    pub tenant: TenantId,
    pub role: Role,
    /// The session it belongs to.
    pub sid: Uuid,
    /// The surface it was given for, and is good for.
    pub aud: String,
    pub iss: String,
    #[serde(rename = "type")]
    pub token_type: String,
    pub jti: Uuid,
    pub iat: i64,
    pub exp: i64,
}

/// Makes and checks access tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Tokens {
    /// Tokens signed by a key derived from `secrets`.
    pub fn new(secrets: &Secrets) -> Self {
        let key = secrets.derive("access-tokens");
        Self { encoding: EncodingKey::from_secret(&key), decoding: DecodingKey::from_secret(&key) }
    }

    /// An access token for `surface`, good for `life` from `now` on.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn access(
        &self,
        user: &AuthUser,
        surface: Surface,
        now: DateTime<Utc>,
        life: TimeDelta,
        jti: Uuid,
    ) -> Result<String, ApiError> {
        let claims = Claims {
            sub: user.id,
            tenant: user.tenant,
            role: user.role,
            sid: user.session,
            aud: surface.name().to_owned(),
            iss: ISSUER.to_owned(),
            token_type: "access".to_owned(),
            jti,
            iat: now.timestamp(),
            exp: (now + life).timestamp(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .map_err(|error| ApiError::internal(&error))
    }

    /// The claims of a token given for `surface` (the platform's API takes those of every product).
    pub fn claims(&self, token: &str, surface: Surface, now: DateTime<Utc>) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.validate_exp = false;
        if surface == Surface::Platform {
            validation.set_audience(&Surface::ALL.map(Surface::name));
        } else {
            validation.set_audience(&[surface.name()]);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?.claims;
        (claims.token_type == "access" && claims.exp > now.timestamp()).then_some(claims)
    }
}

/// A user who has shown a valid token.
#[derive(Debug, Clone)]
pub struct AuthUser {
    pub id: UserId,
    pub tenant: TenantId,
    pub role: Role,
    pub session: Uuid,
}

/// What the credentials of a request came to.
#[derive(Clone)]
pub(crate) enum Identity {
    Anonymous,
    Known(AuthUser),
    Refused(ApiError),
}

/// Reads the credentials of a request.
pub(crate) async fn identify(server: &Server, headers: &HeaderMap, surface: Surface) -> Identity {
    let Some(token) = bearer(headers) else { return Identity::Anonymous };
    match server.tokens.claims(token, surface, server.clock().now()) {
        Some(claims) => {
            Identity::Known(AuthUser { id: claims.sub, tenant: claims.tenant, role: claims.role, session: claims.sid })
        }
        None => Identity::Refused(ApiError::unauthenticated("Could not validate credentials")),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A signed-in user and the request: what most handlers begin with.
#[derive(Clone)]
pub struct Caller {
    pub user: AuthUser,
    pub request: RequestContext,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let request = RequestContext::from_request_parts(parts, state).await?;
        match parts.extensions.get::<Identity>() {
            Some(Identity::Known(user)) => Ok(Self { user: user.clone(), request }),
            Some(Identity::Refused(error)) => Err(error.clone()),
            Some(Identity::Anonymous) | None => Err(ApiError::unauthenticated("Not authenticated")),
        }
    }
}

/// A signed-in owner or administrator of a tenant.
#[derive(Clone)]
pub struct Admin(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for Admin {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        if caller.user.role.administers() { Ok(Self(caller)) } else { Err(ApiError::forbidden("Administrators only")) }
    }
}
