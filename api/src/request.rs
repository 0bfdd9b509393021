//! What is known of a request before its handler runs, and what its answer will say besides its body.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use commands::{Clock, CommandContext};
use domain::log::CommandKey;
use domain::metadata::{Metadata, TenantId, UserId};
use uuid::Uuid;

use crate::error::ApiError;
use crate::surface::Surface;

/// The request in whose course commands are given. Cheap to clone.
#[derive(Clone)]
pub struct RequestContext {
    pub id: Uuid,
    pub surface: Surface,
    pub tenant: TenantId,
    pub user: Option<UserId>,
    /// The device that calls for itself.
    pub device: Option<Uuid>,
    pub remote_addr: IpAddr,
    /// The version in `If-Match`.
    pub if_match: Option<u64>,
    pub(crate) key: Option<CommandKey>,
    pub(crate) clock: Clock,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    /// Commands given so far.
    commands: AtomicU64,
    /// Highest position of their events.
    position: AtomicU64,
    /// Version of the one resource that was changed; 0 for none.
    version: AtomicU64,
}

impl RequestContext {
    /// A request that nothing is known of yet.
    pub(crate) fn new(id: Uuid, surface: Surface, remote_addr: IpAddr, clock: Clock) -> Self {
        Self {
            id,
            surface,
            tenant: TenantId::DEFAULT,
            user: None,
            device: None,
            remote_addr,
            if_match: None,
            key: None,
            clock,
            progress: Arc::default(),
        }
    }

    /// What the next command of this request carries. Each has a key of its own when the client sent one.
    pub fn command(&self) -> CommandContext {
        let ordinal = self.progress.commands.fetch_add(1, Ordering::Relaxed);
        let key = self.key.as_ref().map(|key| CommandKey {
            key: if ordinal == 0 { key.key.clone() } else { format!("{}#{ordinal}", key.key) },
            fingerprint: key.fingerprint.clone(),
        });
        let command_id = self.clock.new_id();
        let actor: Cow<'static, str> = match (self.user, self.device) {
            (Some(user), _) => format!("user:{user}").into(),
            (None, Some(device)) => format!("device:{device}").into(),
            (None, None) => "anonymous".into(),
        };
        let metadata = Metadata {
            request_id: self.id,
            remote_addr: Some(self.remote_addr.to_string()),
            ..Metadata::of(self.tenant, actor, self.surface.name(), command_id)
        };
        CommandContext { key, ..CommandContext::new(metadata) }
    }

    /// The id of the one `thing` that this request makes. A repeated request (with the client's key) makes the same id,
    /// so it finds what the first one made.
    pub fn id_for(&self, thing: &str) -> Uuid {
        match &self.key {
            Some(key) => Uuid::new_v5(&self.tenant.0, format!("{thing}/{}", key.key).as_bytes()),
            None => self.clock.new_id(),
        }
    }

    /// The same request on behalf of `user`, who has just proved who that is.
    #[must_use]
    pub fn signed_in(&self, user: UserId, tenant: TenantId) -> Self {
        Self { user: Some(user), tenant, ..self.clone() }
    }

    /// The same request in the name of a device, which has just shown its credentials.
    #[must_use]
    pub fn of_device(&self, device: Uuid, tenant: TenantId) -> Self {
        Self { user: None, device: Some(device), tenant, ..self.clone() }
    }

    /// The same request about what belongs to `tenant`.
    #[must_use]
    pub fn within(&self, tenant: TenantId) -> Self {
        Self { tenant, ..self.clone() }
    }

    /// Says that the answer depends on `position`.
    pub fn reached(&self, position: u64) {
        self.progress.position.fetch_max(position, Ordering::Relaxed);
    }

    /// Says that the answer is about version `sequence` of the one resource it shows.
    pub fn version(&self, sequence: u64) {
        self.progress.version.store(sequence, Ordering::Relaxed);
    }

    /// The position that the answer depends on; 0 when it depends on none.
    pub fn position(&self) -> u64 {
        self.progress.position.load(Ordering::Relaxed)
    }

    pub(crate) fn etag(&self) -> Option<u64> {
        Some(self.progress.version.load(Ordering::Relaxed)).filter(|version| *version > 0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal(&"a route without a request context"))
    }
}
