//! Who calls: the credentials of a request, and the extractors that stand in a handler's signature.
//!
//! A handler takes [`Caller`] (any signed-in user; one whose role only reads is refused changes), [`SignedIn`] (the
//! same without that rule: for the own account), [`Admin`], [`Installer`], or [`Permitted`] with one of HashInsight's
//! permission modules.

pub(crate) mod cookies;
pub(crate) mod first_start;
pub(crate) mod own_account;
pub(crate) mod passwords;
mod permission;
pub(crate) mod recaptcha;
pub(crate) mod registration;
mod sessions;
pub(crate) mod sign_in;
mod tokens;
mod unknown_logins;
pub(crate) mod verification;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use domain::identity::plan::Plan;
use domain::identity::role::Role;
use domain::metadata::{TenantId, UserId};
use uuid::Uuid;

use crate::app::Server;
use crate::error::ApiError;
use crate::request::RequestContext;
use crate::surface::Surface;

pub use permission::{Full, Permitted, Read, module};
pub use sessions::OpenSessions;
pub(crate) use sessions::revoked;
pub use tokens::{Claims, Grant, TokenKind, Tokens};
pub use unknown_logins::UnknownLogins;

/// A user who has shown a valid token of an open session.
#[derive(Debug, Clone)]
pub struct AuthUser {
    pub id: UserId,
    pub tenant: TenantId,
    pub role: Role,
    pub plan: Plan,
    /// The customer whose person the user is.
    pub customer_id: Option<i64>,
    pub session: Uuid,
}

/// What the credentials of a request came to.
#[derive(Clone)]
pub(crate) enum Identity {
    Anonymous,
    Known(AuthUser),
    Refused(ApiError),
}

/// Reads the credentials of a request: a bearer token or, where the product has one, its cookie.
pub(crate) async fn identify(server: &Server, method: &Method, headers: &HeaderMap, surface: Surface) -> Identity {
    let from_cookie = || access_cookie(surface).and_then(|name| cookies::cookie(headers, name));
    let (token, is_cookie) = match (bearer(headers), from_cookie()) {
        (Some(token), _) => (token, false),
        (None, Some(token)) => (token, true),
        (None, None) => return Identity::Anonymous,
    };
    if is_cookie && !method.is_safe() && !cookies::is_same_origin(headers) {
        return Identity::Refused(cross_site());
    }
    let Some(claims) = server.tokens.read(token, TokenKind::Access, surface, server.clock().now()) else {
        return Identity::Refused(ApiError::unauthenticated("Could not validate credentials"));
    };
    match server.sessions.user(server, &claims).await {
        Ok(user) => Identity::Known(user),
        Err(refusal) => Identity::Refused(refusal),
    }
}

/// The cookie in which a browser keeps the access token of a product.
fn access_cookie(surface: Surface) -> Option<&'static str> {
    match surface {
        Surface::HashInsight => Some("session"),
        Surface::Zinnia => Some("access_token"),
        Surface::Bitrun | Surface::Owl | Surface::Platform => None,
    }
}

/// Another site made a browser send its cookies.
pub(crate) fn cross_site() -> ApiError {
    ApiError { code: "cross_site_request", ..ApiError::forbidden("Requests from other sites may not change anything") }
}

/// What stands after `Bearer` in the header `Authorization`.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A signed-in user and the request: what most handlers begin with. Roles that only read are refused changes.
#[derive(Clone)]
pub struct Caller {
    pub user: AuthUser,
    pub request: RequestContext,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let SignedIn(caller) = SignedIn::from_request_parts(parts, state).await?;
        // HashInsight's permission modules say it in more detail.
        let may = parts.method.is_safe() || caller.user.role.writes() || caller.request.surface == Surface::HashInsight;
        if may { Ok(caller) } else { Err(ApiError::forbidden(format!("The role {} only reads", caller.user.role))) }
    }
}

/// A signed-in user in matters of the own account, whatever the role.
#[derive(Clone)]
pub struct SignedIn(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for SignedIn {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let request = RequestContext::from_request_parts(parts, state).await?;
        match parts.extensions.get::<Identity>() {
            Some(Identity::Known(user)) => Ok(Self(Caller { user: user.clone(), request })),
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

/// The owner of the default tenant, who runs the installation.
#[derive(Clone)]
pub struct Installer(pub Caller);

impl Caller {
    /// Whether the user runs the installation.
    pub fn installs(&self) -> bool {
        self.user.role == Role::Owner && self.user.tenant == TenantId::DEFAULT
    }

    /// The customers whose machines and deals alone the user sees: one, or none, for the people of a customer. None for
    /// everybody else, whom this does not restrict.
    pub fn only_of(&self) -> Option<&[i64]> {
        self.user.role.belongs_to_a_customer().then_some(self.user.customer_id.as_slice())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Installer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let forbidden = || ApiError::forbidden("Only the owner of the default tenant may do this");
        if caller.installs() { Ok(Self(caller)) } else { Err(forbidden()) }
    }
}
