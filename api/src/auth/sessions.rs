//! Which sessions are open: looked up once in the read models, then kept in memory until the log says otherwise.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::log::{Log, LogError, PAGE_EVENTS_MAX};
use domain::metadata::UserId;
use lru::LruCache;
use projections::identity::{sessions, users};
use uuid::Uuid;

use super::AuthUser;
use super::tokens::Claims;
use crate::app::Server;
use crate::error::ApiError;

/// Sessions kept in memory.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(9_999);
/// How often the log is looked at for what other servers did; what this one did counts at once.
const INTERVAL: Duration = Duration::from_millis(20);
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(100);
/// Events of a user that leave open sessions as they are.
const HARMLESS: [&str; 6] = [
    "user.email_verified",
    "user.registered",
    "user.renamed",
    "user.profile_changed",
    "user.session_opened",
    "user.sign_in_failed",
];

/// A session that was found open.
#[derive(Clone)]
struct Open {
    user: AuthUser,
    expires_at: DateTime<Utc>,
}

struct Known {
    open: LruCache<Uuid, Open>,
    /// Counts what was forgotten, so that nothing looked up before is kept after.
    forgotten: u64,
    /// The log was looked at up to here.
    seen: u64,
}

/// The sessions that were found open, on this server.
pub struct OpenSessions(Mutex<Known>);

impl OpenSessions {
    /// None yet; the log is followed from `position` on.
    pub fn following(position: u64) -> Self {
        Self(Mutex::new(Known { open: LruCache::new(KEPT_MAX), forgotten: 0, seen: position }))
    }

    /// Lets `user` in without a registration or a password behind it: for tests of everything else.
    pub fn admit(&self, user: AuthUser, expires_at: DateTime<Utc>) {
        self.with(|known| known.open.put(user.session, Open { user, expires_at }));
    }

    /// The sessions of `user` are looked up anew from now on.
    pub fn forget(&self, user: UserId) {
        self.with(|known| {
            known.forgotten += 1;
            let theirs = known.open.iter().filter(|(_, open)| open.user.id == user).map(|(id, _)| *id);
            for id in theirs.collect::<Vec<_>>() {
                known.open.pop(&id);
            }
        });
    }

    /// The user of the session that `claims` names.
    ///
    /// # Errors
    /// Unauthenticated when it is closed or over; unavailable when the read models do not answer.
    pub async fn user(&self, server: &Server, claims: &Claims) -> Result<AuthUser, ApiError> {
        let now = server.clock().now();
        let (kept, forgotten, seen) =
            self.with(|known| (known.open.get(&claims.sid).cloned(), known.forgotten, known.seen));
        let open = if let Some(open) = kept {
            open
        } else {
            server.readers.projected(seen).await?;
            let open = look_up(server, claims.sid).await?.ok_or_else(revoked)?;
            self.keep(claims.sid, &open, forgotten);
            open
        };
        if open.user.id == claims.sub && open.expires_at > now { Ok(open.user) } else { Err(revoked()) }
    }

    /// Follows the log for ever, and forgets the sessions of users to whom something happened.
    pub async fn follow(server: Arc<Server>) {
        let sessions = &server.sessions;
        loop {
            let seen = sessions.with(|known| known.seen);
            server.log().grown(seen).await;
            if let Err(error) = sessions.catch_up(server.log().as_ref(), seen).await {
                tracing::warn!(%error, "what other servers did to sessions is not known");
                sessions.with(|known| {
                    known.forgotten += 1;
                    known.open.clear();
                });
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    async fn catch_up(&self, log: &dyn Log, seen: u64) -> Result<(), LogError> {
        let page = log.read_all(seen, &["user"], PAGE_EVENTS_MAX).await?;
        // First, so that whoever looks up what is forgotten from here on waits for what made it so.
        self.with(|known| known.seen = page.through);
        for event in page.events.iter().filter(|event| !HARMLESS.contains(&&*event.event_type)) {
            if let Ok(user) = event.aggregate_id.parse() {
                self.forget(UserId(user));
            }
        }
        Ok(())
    }

    fn keep(&self, id: Uuid, open: &Open, forgotten: u64) {
        self.with(|known| {
            if known.forgotten == forgotten {
                known.open.put(id, open.clone());
            }
        });
    }

    fn with<T>(&self, work: impl FnOnce(&mut Known) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn look_up(server: &Server, id: Uuid) -> Result<Option<Open>, ApiError> {
    let Some(session) =
        sessions::find(server.models.read().await, id).await?.filter(|session| session.closed_at.is_none())
    else {
        return Ok(None);
    };
    let Ok(user) = session.user_id.parse().map(UserId) else { return Ok(None) };
    let Some(user) = users::find_anywhere(server.models.read().await, user).await?.filter(|user| user.is_active) else {
        return Ok(None);
    };
    let user = AuthUser {
        id: user.user_id()?,
        tenant: user.tenant_id()?,
        role: user.role()?,
        plan: user.plan()?,
        customer_id: user.customer_id,
        session: id,
    };
    Ok(Some(Open { user, expires_at: session.expires_at }))
}

/// The session was closed, or is over.
pub(crate) fn revoked() -> ApiError {
    ApiError { code: "token_revoked", ..ApiError::unauthenticated("Token has been revoked") }
}
