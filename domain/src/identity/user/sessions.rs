//! The sessions of a user: a bounded number, each with at most one refresh token that is good once.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{CloseReason, NewSession, UserError, UserEvent};

/// Most sessions a user may have; the one that would end first makes room.
pub const SESSIONS_MAX: usize = 50;
/// How far ahead a session may end, in days.
pub const SESSION_DAYS_MAX: i64 = 31;

/// One way in that is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub refresh_hash: Option<String>,
    pub expires_at: DateTime<Utc>,
}

/// All of them, by their id. A session past its end stays until it is crowded out or closed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions(BTreeMap<Uuid, Session>);

impl Sessions {
    /// Whether session `id` is open at `now`.
    pub fn is_open(&self, id: Uuid, now: DateTime<Utc>) -> bool {
        self.0.get(&id).is_some_and(|session| session.expires_at > now)
    }

    pub(super) fn open(&self, session: NewSession, now: DateTime<Utc>) -> Result<Vec<UserEvent>, UserError> {
        if self.0.contains_key(&session.id) {
            return Err(UserError::SessionExists);
        }
        check_expiry(session.expires_at, now)?;
        let mut events = self.crowded_out();
        let NewSession { id: session_id, surface, refresh_hash, expires_at, device_info } = session;
        events.push(UserEvent::SessionOpened { session_id, surface, refresh_hash, expires_at, device_info });
        Ok(events)
    }

    pub(super) fn refresh(
        &self,
        session_id: Uuid,
        presented_hash: &str,
        next_hash: String,
        expires_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<UserEvent>, UserError> {
        let session = self.0.get(&session_id).ok_or(UserError::SessionClosed)?;
        let present_hash = session.refresh_hash.as_deref().ok_or(UserError::SessionClosed)?;
        if session.expires_at <= now {
            return Err(UserError::SessionExpired);
        }
        if present_hash != presented_hash {
            return Ok(self.close(&[session_id], CloseReason::RefreshReused));
        }
        check_expiry(expires_at, now)?;
        Ok(vec![UserEvent::SessionRefreshed { session_id, refresh_hash: next_hash, expires_at }])
    }

    /// Ends those of `ids` that are there.
    pub(super) fn close(&self, ids: &[Uuid], reason: CloseReason) -> Vec<UserEvent> {
        let session_ids: Vec<Uuid> = ids.iter().filter(|id| self.0.contains_key(id)).copied().collect();
        if session_ids.is_empty() { vec![] } else { vec![UserEvent::SessionsClosed { session_ids, reason }] }
    }

    pub(super) fn close_all_but(&self, keep: Option<Uuid>, reason: CloseReason) -> Vec<UserEvent> {
        let others: Vec<Uuid> = self.0.keys().filter(|id| Some(**id) != keep).copied().collect();
        self.close(&others, reason)
    }

    pub(super) fn insert(&mut self, id: Uuid, session: Session) {
        self.0.insert(id, session);
    }

    pub(super) fn remove(&mut self, ids: &[Uuid]) {
        self.0.retain(|id, _| !ids.contains(id));
    }

    fn crowded_out(&self) -> Vec<UserEvent> {
        if self.0.len() < SESSIONS_MAX {
            return vec![];
        }
        let first_to_end = self.0.iter().min_by_key(|(id, session)| (session.expires_at, **id)).map(|(id, _)| *id);
        self.close(first_to_end.as_slice(), CloseReason::CrowdedOut)
    }
}

fn check_expiry(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), UserError> {
    if expires_at <= now || expires_at > now + TimeDelta::days(SESSION_DAYS_MAX) {
        return Err(UserError::SessionExpiryOutOfRange);
    }
    Ok(())
}
