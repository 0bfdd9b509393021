//! Who is at the other end of a live connection. Credentials are looked at again whenever something happens to whoever
//! showed them, and from time to time.

use uuid::Uuid;

use super::message::AuthType;
use crate::app::Server;
use crate::auth::{AuthUser, Claims, TokenKind};
use crate::error::{ApiError, ErrorKind};
use crate::request::RequestContext;
use crate::surface::Surface;
use crate::zinnia::access::{self, Need};
use crate::zinnia::device_caller::{DeviceCaller, Purpose, authenticate};

/// Who it is.
pub(super) enum LiveCaller {
    User {
        claims: Claims,
        user: AuthUser,
    },
    /// A device, by what it showed.
    Device {
        id: Uuid,
        credential: String,
    },
}

impl LiveCaller {
    /// # Errors
    /// Unauthenticated when the token is good for nobody.
    pub(super) async fn of(
        server: &Server,
        request: &RequestContext,
        token: String,
        auth_type: AuthType,
    ) -> Result<Self, ApiError> {
        let now = server.clock().now();
        let claims = server.tokens.read(&token, TokenKind::Access, Surface::Zinnia, now);
        if let (AuthType::Jwt, Some(claims)) = (auth_type, claims) {
            let user = server.sessions.user(server, &claims).await?;
            return Ok(Self::User { claims, user });
        }
        let id = known(server, request, &token).await?;
        Ok(Self::Device { id, credential: token })
    }

    pub(super) fn id(&self) -> Uuid {
        match self {
            Self::User { user, .. } => user.id.0,
            Self::Device { id, .. } => *id,
        }
    }

    /// Who it is has to be looked up anew.
    pub(super) fn forget(&self, server: &Server) {
        match self {
            Self::User { user, .. } => server.sessions.forget(user.id),
            Self::Device { id, .. } => server.devices.forget(*id),
        }
    }

    /// Looks again.
    ///
    /// # Errors
    /// Unauthenticated when the session was closed, the token revoked or the key replaced.
    pub(super) async fn check(&mut self, server: &Server, request: &RequestContext) -> Result<(), ApiError> {
        match self {
            Self::User { claims, user } => *user = server.sessions.user(server, claims).await?,
            Self::Device { credential, .. } => {
                known(server, request, credential).await?;
            }
        }
        Ok(())
    }

    /// Whether `device` may be listened to.
    pub(super) async fn may_listen(
        &self,
        server: &Server,
        request: &RequestContext,
        device: Uuid,
    ) -> Result<bool, ApiError> {
        let may = match self {
            Self::User { user, .. } => access::device(server, user, device, Need::Read).await.map(|_| ()),
            Self::Device { id, credential } if *id == device => {
                authenticate(server, request, credential, Purpose::Read).await.map(|_| ())
            }
            Self::Device { .. } => return Ok(false),
        };
        match may {
            Ok(()) => Ok(true),
            Err(error) if is_fault(&error) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The device that reports.
    ///
    /// # Errors
    /// Forbidden for users, and for devices whose token is not good for it.
    pub(super) async fn reporting(&self, server: &Server, request: &RequestContext) -> Result<DeviceCaller, ApiError> {
        match self {
            Self::User { .. } => Err(ApiError::forbidden("只有设备可以上报")),
            Self::Device { credential, .. } => authenticate(server, request, credential, Purpose::Report).await,
        }
    }
}

/// The device of a credential, whatever that is good for.
async fn known(server: &Server, request: &RequestContext, credential: &str) -> Result<Uuid, ApiError> {
    match authenticate(server, request, credential, Purpose::Read).await {
        Err(error) if error.kind == ErrorKind::Forbidden => {
            authenticate(server, request, credential, Purpose::Report).await.map(|caller| caller.device.id)
        }
        outcome => outcome.map(|caller| caller.device.id),
    }
}

/// Whether the server, not the caller, is the reason.
pub(super) fn is_fault(error: &ApiError) -> bool {
    matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Internal | ErrorKind::TooManyRequests)
}
