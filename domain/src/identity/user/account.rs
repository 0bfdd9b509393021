//! What is known of a registered user, and the rules of each change.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::identity::plan::Plan;
use crate::identity::role::Role;
use crate::identity::username;
use crate::metadata::UserId;
use crate::plain_text;

use super::sessions::{Session, Sessions};
use super::{
    Administrator, CloseReason, DEVICE_INFO_CHARS_MAX, EMAIL_BYTES_MAX, METADATA_BYTES_MAX, NAME_CHARS_MAX, NewSession,
    PasswordCheck, UserError, UserEvent,
};

/// Wrong passwords in a row that lock an account.
pub const FAILURES_MAX: u32 = 5;
/// How long it stays locked, in minutes.
pub const LOCK_MINUTES: i64 = 15;

/// A registered user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: UserId,
    pub email: String,
    pub username: Option<String>,
    pub name: Option<String>,
    pub password_hash: String,
    pub role: Role,
    /// None until one was given: then it goes by the role.
    pub plan: Option<Plan>,
    /// The customer whose person the user is.
    pub customer_id: Option<i64>,
    pub active: bool,
    pub email_verified: bool,
    pub metadata: Map<String, Value>,
    /// Wrong passwords since the last right one or the last lock.
    pub failures: u32,
    pub locked_until: Option<DateTime<Utc>>,
    pub sessions: Sessions,
}

impl Account {
    pub(super) fn new(
        id: UserId,
        email: String,
        username: Option<String>,
        name: Option<String>,
        (password_hash, role): (String, Role),
    ) -> Self {
        Self {
            id,
            email,
            username,
            name,
            password_hash,
            role,
            plan: None,
            customer_id: None,
            active: true,
            email_verified: false,
            metadata: Map::new(),
            failures: 0,
            locked_until: None,
            sessions: Sessions::default(),
        }
    }

    pub(super) fn rename(&self, username: String) -> Result<Vec<UserEvent>, UserError> {
        check_username(Some(&username))?;
        if self.username.as_ref() == Some(&username) {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::Renamed { from: self.username.clone(), to: username }])
    }

    pub(super) fn change_profile(
        &self,
        name: Option<&str>,
        metadata: Option<Map<String, Value>>,
    ) -> Result<Vec<UserEvent>, UserError> {
        let name = checked_name(name)?.filter(|name| self.name.as_ref() != Some(name));
        let metadata = metadata.filter(|metadata| *metadata != self.metadata);
        if metadata.as_ref().is_some_and(|metadata| json_bytes(metadata) > METADATA_BYTES_MAX) {
            return Err(UserError::MetadataTooLarge);
        }
        if name.is_none() && metadata.is_none() {
            return Ok(vec![]);
        }
        Ok(vec![UserEvent::ProfileChanged { name, metadata }])
    }

    pub(super) fn change_password(
        &self,
        current: &PasswordCheck,
        password_hash: String,
        keep: Option<Uuid>,
    ) -> Result<Vec<UserEvent>, UserError> {
        if !self.password_matches(current)? {
            return Err(UserError::WrongPassword);
        }
        check_hash(&password_hash)?;
        let mut events = vec![UserEvent::PasswordChanged { password_hash }];
        events.extend(self.sessions.close_all_but(keep, CloseReason::PasswordChanged));
        Ok(events)
    }

    /// Whoever reads the mail of the address is its user, so this verifies the address as well.
    pub(super) fn reset_password(&self, password_hash: String) -> Result<Vec<UserEvent>, UserError> {
        check_hash(&password_hash)?;
        let mut events = vec![UserEvent::PasswordChanged { password_hash }];
        events.extend(self.sessions.close_all_but(None, CloseReason::PasswordChanged));
        events.extend(self.verify_email());
        Ok(events)
    }

    pub(super) fn verify_email(&self) -> Vec<UserEvent> {
        if self.email_verified { vec![] } else { vec![UserEvent::EmailVerified] }
    }

    /// Sessions end first: who looks at them afterwards finds no user.
    pub(super) fn delete(&self, by: Administrator) -> Result<Vec<UserEvent>, UserError> {
        self.check_managed(by)?;
        let mut events = self.sessions.close_all_but(None, CloseReason::Deactivated);
        events.push(UserEvent::Deleted { username: self.username.clone() });
        Ok(events)
    }

    pub(super) fn change_role(&self, role: Role, by: Administrator) -> Result<Vec<UserEvent>, UserError> {
        self.check_managed(by)?;
        if !by.role.manages(role) {
            return Err(UserError::RoleNotTheirs { role });
        }
        Ok(if role == self.role { vec![] } else { vec![UserEvent::RoleChanged { role }] })
    }

    pub(super) fn change_plan(&self, plan: Plan, by: Administrator) -> Result<Vec<UserEvent>, UserError> {
        self.check_managed(by)?;
        Ok(if self.plan == Some(plan) { vec![] } else { vec![UserEvent::PlanChanged { plan }] })
    }

    pub(super) fn change_customer(
        &self,
        customer_id: Option<i64>,
        by: Administrator,
    ) -> Result<Vec<UserEvent>, UserError> {
        self.check_managed(by)?;
        if customer_id.is_some() && !self.role.belongs_to_a_customer() {
            return Err(UserError::NobodysPerson { role: self.role });
        }
        Ok(if self.customer_id == customer_id { vec![] } else { vec![UserEvent::CustomerChanged { customer_id }] })
    }

    pub(super) fn deactivate(&self, by: Administrator) -> Result<Vec<UserEvent>, UserError> {
        self.check_managed(by)?;
        if !self.active {
            return Ok(vec![]);
        }
        let mut events = vec![UserEvent::Deactivated];
        events.extend(self.sessions.close_all_but(None, CloseReason::Deactivated));
        Ok(events)
    }

    pub(super) fn activate(&self, by: Administrator) -> Result<Vec<UserEvent>, UserError> {
        self.check_managed(by)?;
        Ok(if self.active { vec![] } else { vec![UserEvent::Activated] })
    }

    /// A right password is told of a deactivated account, a wrong one is not.
    pub(super) fn sign_in(
        &self,
        password: &PasswordCheck,
        session: NewSession,
        now: DateTime<Utc>,
    ) -> Result<Vec<UserEvent>, UserError> {
        self.check_unlocked(now)?;
        if session.device_info.as_ref().is_some_and(|info| info.chars().count() > DEVICE_INFO_CHARS_MAX) {
            return Err(UserError::DeviceInfoTooLong);
        }
        if !self.password_matches(password)? {
            return Ok(self.fail(session.surface, now));
        }
        if !self.active {
            return Err(UserError::Deactivated);
        }
        self.sessions.open(session, now)
    }

    fn fail(&self, surface: String, now: DateTime<Utc>) -> Vec<UserEvent> {
        let failures = self.failures.saturating_add(1);
        let mut events = vec![UserEvent::SignInFailed { surface, failures }];
        if failures >= FAILURES_MAX {
            events.push(UserEvent::Locked { until: now + TimeDelta::minutes(LOCK_MINUTES) });
        }
        events
    }

    fn check_unlocked(&self, now: DateTime<Utc>) -> Result<(), UserError> {
        match self.locked_until {
            Some(until) if until > now => Err(UserError::locked(until, now)),
            Some(_) | None => Ok(()),
        }
    }

    fn password_matches(&self, check: &PasswordCheck) -> Result<bool, UserError> {
        if check.against_hash == self.password_hash {
            Ok(check.matches)
        } else {
            Err(UserError::PasswordChangedMeanwhile)
        }
    }

    fn check_managed(&self, by: Administrator) -> Result<(), UserError> {
        if by.id == self.id {
            Err(UserError::Oneself)
        } else if by.role.manages(self.role) {
            Ok(())
        } else {
            Err(UserError::RoleNotTheirs { role: self.role })
        }
    }

    pub(super) fn apply(&mut self, event: UserEvent) {
        match event {
            // An address is registered and deleted once; `User::apply` does both.
            UserEvent::Registered { .. } | UserEvent::Deleted { .. } => {}
            UserEvent::EmailVerified => self.email_verified = true,
            UserEvent::Renamed { to, .. } => self.username = Some(to),
            UserEvent::ProfileChanged { name, metadata } => {
                self.name = name.or_else(|| self.name.take());
                if let Some(metadata) = metadata {
                    self.metadata = metadata;
                }
            }
            // Wrong tries were at the old one, and whoever replaced it has shown another way who they are.
            UserEvent::PasswordChanged { password_hash } => {
                self.password_hash = password_hash;
                self.failures = 0;
                self.locked_until = None;
            }
            UserEvent::RoleChanged { role } => self.role = role,
            UserEvent::PlanChanged { plan } => self.plan = Some(plan),
            UserEvent::CustomerChanged { customer_id } => self.customer_id = customer_id,
            UserEvent::Deactivated => self.active = false,
            UserEvent::Activated => self.active = true,
            UserEvent::SignInFailed { failures, .. } => self.failures = failures,
            UserEvent::Locked { until } => {
                self.failures = 0;
                self.locked_until = Some(until);
            }
            UserEvent::SessionOpened { session_id, refresh_hash, expires_at, .. } => {
                self.failures = 0;
                self.locked_until = None;
                self.sessions.insert(session_id, Session { refresh_hash, expires_at });
            }
            UserEvent::SessionRefreshed { session_id, refresh_hash, expires_at } => {
                self.sessions.insert(session_id, Session { refresh_hash: Some(refresh_hash), expires_at });
            }
            UserEvent::SessionsClosed { session_ids, .. } => self.sessions.remove(&session_ids),
        }
    }
}

/// Everything that is wrong with what somebody registers with.
pub fn objections(email: &str, username: Option<&str>, name: Option<&str>) -> Vec<UserError> {
    let checks = [checked_email(email).map(|_| ()), check_username(username), checked_name(name).map(|_| ())];
    checks.into_iter().filter_map(Result::err).collect()
}

/// Not a full reading of RFC 5322: one `@` between a local part and a host with a dot (or `localhost`), no blanks.
pub(super) fn checked_email(email: &str) -> Result<String, UserError> {
    let email = email.trim();
    let parts = email.split_once('@').filter(|_| email.len() <= EMAIL_BYTES_MAX);
    let is_plain =
        |part: &str| !part.contains(|c: char| c.is_whitespace() || c.is_control() || "@<>()[],;:\\\"".contains(c));
    match parts {
        Some((local, host))
            if !local.is_empty()
                && local.len() <= 64
                && is_plain(local)
                && is_plain(host)
                && (host == "localhost" || host.contains('.'))
                && !host.split('.').any(str::is_empty) =>
        {
            Ok(email.to_owned())
        }
        Some(_) | None => Err(UserError::EmailInvalid),
    }
}

pub(super) fn check_username(username: Option<&str>) -> Result<(), UserError> {
    if username.is_none_or(username::is_valid) { Ok(()) } else { Err(UserError::UsernameInvalid) }
}

pub(super) fn checked_name(name: Option<&str>) -> Result<Option<String>, UserError> {
    match name.map(str::trim) {
        Some(name) if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !plain_text::is_line(name) => {
            Err(UserError::NameOutOfRange)
        }
        name => Ok(name.map(str::to_owned)),
    }
}

pub(super) fn check_hash(password_hash: &str) -> Result<(), UserError> {
    if password_hash.starts_with("$argon2id$") { Ok(()) } else { Err(UserError::HashInvalid) }
}

fn json_bytes(metadata: &Map<String, Value>) -> usize {
    serde_json::to_vec(metadata).map_or(usize::MAX, |bytes| bytes.len())
}
