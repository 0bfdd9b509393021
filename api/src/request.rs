//! What is known of a request before its handler runs, and what its answer will say besides its body.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use commands::{Clock, CommandContext, Receipt};
use domain::aggregate::Decider;
use domain::event::EventNames as _;
use domain::identity::plan::Plan;
use domain::log::CommandKey;
use domain::metadata::{Metadata, TenantId, UserId};
use replay::aggregates::AggregateType;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::error::ApiError;
use crate::limits::Standing;
use crate::surface::Surface;

tokio::task_local! {
    /// The request that this task serves, and for whom.
    static CURRENT: (Uuid, OnceLock<UserId>);
}

/// Serves a request; while it lasts, log lines name it.
pub(crate) async fn serving<T>(id: Uuid, work: impl Future<Output = T>) -> T {
    CURRENT.scope((id, OnceLock::new()), work).await
}

/// The request that is being served, and whose it is, once that is known.
pub(crate) fn current() -> Option<(Uuid, Option<UserId>)> {
    CURRENT.try_with(|(id, user)| (*id, user.get().copied())).ok()
}

/// The request in whose course commands are given. Cheap to clone.
#[derive(Clone)]
pub struct RequestContext {
    pub id: Uuid,
    pub surface: Surface,
    pub tenant: TenantId,
    pub user: Option<UserId>,
    /// What the user has subscribed to; none for whoever is not signed in.
    pub plan: Option<Plan>,
    /// The device that calls for itself.
    pub device: Option<Uuid>,
    pub remote_addr: IpAddr,
    /// The version in `If-Match`.
    pub if_match: Option<u64>,
    /// Nothing is to be done, only said what would be (`?dry_run=true` on the platform).
    pub dry_run: bool,
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
    /// The handler answers for the moment that `as_of` names.
    looks_back: AtomicBool,
    /// The read models did not show in time what its commands did.
    late: AtomicBool,
    /// What a dry run would append.
    rehearsed: Mutex<Vec<RehearsedEvent>>,
    /// Whether the first command that did something had been carried out before, for the same request.
    repeats: OnceLock<bool>,
    /// How the caller stands with the limit that counted the request.
    standing: OnceLock<Standing>,
}

/// An event that a dry run did not append. Secrets in its payload are blanked.
#[derive(Clone, Serialize, utoipa::ToSchema)]
pub struct RehearsedEvent {
    aggregate_type: &'static str,
    aggregate_id: String,
    #[serde(rename = "type")]
    event_type: &'static str,
    version: u16,
    payload: Value,
}

impl RequestContext {
    /// A request that nothing is known of yet.
    pub(crate) fn new(id: Uuid, surface: Surface, remote_addr: IpAddr, clock: Clock) -> Self {
        Self {
            id,
            surface,
            tenant: TenantId::DEFAULT,
            user: None,
            plan: None,
            device: None,
            remote_addr,
            if_match: None,
            dry_run: false,
            key: None,
            clock,
            progress: Arc::default(),
        }
    }

    /// What the next command of this request carries. Each has a key of its own when the client sent one.
    pub fn command(&self) -> CommandContext {
        match self.progress.commands.fetch_add(1, Ordering::Relaxed) {
            0 => self.first_command(),
            ordinal => self.command_for(&ordinal.to_string()),
        }
    }

    /// What the first command of this request carries, to look for what it did before.
    pub fn first_command(&self) -> CommandContext {
        self.under(self.key.clone())
    }

    /// What a command for one `purpose` carries, in a request that does not give the same commands each time: repeated,
    /// the command has the same key whatever stands before it.
    pub fn command_for(&self, purpose: &str) -> CommandContext {
        let of_purpose = |key: &CommandKey| CommandKey {
            key: format!("{}#{purpose}", key.key),
            fingerprint: key.fingerprint.clone(),
        };
        self.under(self.key.as_ref().map(of_purpose))
    }

    fn under(&self, key: Option<CommandKey>) -> CommandContext {
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
        CommandContext { key, dry_run: self.dry_run, ..CommandContext::new(metadata) }
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
        // Outside of a request there is nothing to name.
        let _ = CURRENT.try_with(|(_, known)| known.set(user));
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

    /// Takes note of what a command on the aggregate `id` did or, in a dry run, would do.
    ///
    /// # Errors
    /// When an event cannot be shown.
    pub fn note<A: Decider>(&self, id: &str, receipt: &Receipt<A>) -> Result<(), ApiError> {
        self.reached(receipt.position);
        if !receipt.events.is_empty() {
            // Those after the first say less: who comes second may still be the first to give the next command.
            let _ = self.progress.repeats.set(receipt.repeated);
        }
        if !self.dry_run {
            return Ok(());
        }
        let rehearsed = receipt.events.iter().map(|event| rehearsed::<A>(id, event)).collect::<Result<Vec<_>, _>>()?;
        self.progress.rehearsed.lock().unwrap_or_else(PoisonError::into_inner).extend(rehearsed);
        Ok(())
    }

    /// What the commands of a dry run would append, in their order.
    pub fn rehearsed(&self) -> Vec<RehearsedEvent> {
        self.progress.rehearsed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says that the same request, under the same key, was carried out before.
    pub(crate) fn repeats_another(&self) {
        let _ = self.progress.repeats.set(true);
    }

    /// Whether the same request, under the same key, came before and was carried out, or is being carried out.
    pub(crate) fn repeats(&self) -> bool {
        self.progress.repeats.get().copied().unwrap_or_default()
    }

    pub(crate) fn stands(&self, standing: Standing) {
        // A request is counted once.
        let _ = self.progress.standing.set(standing);
    }

    pub(crate) fn standing(&self) -> Option<Standing> {
        self.progress.standing.get().copied()
    }

    /// Says that the answer depends on `position`.
    pub fn reached(&self, position: u64) {
        self.progress.position.fetch_max(position, Ordering::Relaxed);
    }

    /// Says that the answer is of the moment that was asked for.
    pub(crate) fn looks_back(&self) {
        self.progress.looks_back.store(true, Ordering::Relaxed);
    }

    pub(crate) fn knows_the_past(&self) -> bool {
        self.progress.looks_back.load(Ordering::Relaxed)
    }

    /// Says that the read models do not show yet what the commands of this request did.
    pub(crate) fn falls_behind(&self) {
        self.progress.late.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_late(&self) -> bool {
        self.progress.late.load(Ordering::Relaxed)
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

fn rehearsed<A: Decider>(id: &str, event: &A::Event) -> Result<RehearsedEvent, ApiError> {
    let (event_type, version) = event.name();
    let mut payload = serde_json::to_value(event).map_err(|error| ApiError::internal(&error))?;
    AggregateType::named(A::TYPE)?.redact(&mut payload);
    Ok(RehearsedEvent { aggregate_type: A::TYPE, aggregate_id: id.to_owned(), event_type, version, payload })
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| ApiError::internal(&"a route without a request context"))
    }
}
