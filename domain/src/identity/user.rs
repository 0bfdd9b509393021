//! A user: one person, one password, the same in all four products.
//!
//! The stream is named after the e-mail address, so an address is unique in the whole installation and a sign-in
//! needs no look-up. Passwords are hashed and compared outside; commands carry the outcome.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::identity::plan::Plan;
use crate::identity::role::Role;
use crate::metadata::UserId;

mod account;
mod refusal;
mod sessions;
#[cfg(test)]
mod tests;

pub use account::{Account, FAILURES_MAX, LOCK_MINUTES, objections};
pub use refusal::UserError;
pub use sessions::{SESSION_DAYS_MAX, SESSIONS_MAX, Session, Sessions};

/// Longest e-mail address, in bytes (RFC 5321).
pub const EMAIL_BYTES_MAX: usize = 254;
/// Longest name of a person, in characters.
pub const NAME_CHARS_MAX: usize = 100;
/// Largest metadata of a user, in bytes of JSON.
pub const METADATA_BYTES_MAX: usize = 16 * 1024;
/// Longest description of the device that signs in, in characters.
pub const DEVICE_INFO_CHARS_MAX: usize = 255;

/// Names the user of an e-mail address; addresses that differ in case only are one user.
pub fn user_id(email: &str) -> UserId {
    UserId(Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("mailto:{}", email.trim().to_lowercase()).as_bytes()))
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserEvent {
    Registered {
        user_id: UserId,
        email: String,
        username: Option<String>,
        name: Option<String>,
        /// Argon2id in PHC form.
        password_hash: String,
        role: Role,
    },
    Renamed {
        from: Option<String>,
        to: String,
    },
    /// What is absent stays as it was.
    ProfileChanged {
        name: Option<String>,
        metadata: Option<Map<String, Value>>,
    },
    PasswordChanged {
        password_hash: String,
    },
    RoleChanged {
        role: Role,
    },
    PlanChanged {
        plan: Plan,
    },
    /// The customer whose person the user is; none any more when it is absent.
    CustomerChanged {
        customer_id: Option<i64>,
    },
    Deactivated,
    Activated,
    /// The user has shown a code that was mailed to the address.
    EmailVerified,
    /// The user is gone for good; the address stays taken, the username becomes free.
    Deleted {
        username: Option<String>,
    },
    SignInFailed {
        surface: String,
        /// Wrong passwords in a row, this one included.
        failures: u32,
    },
    Locked {
        until: DateTime<Utc>,
    },
    SessionOpened {
        session_id: Uuid,
        surface: String,
        /// SHA-256 of the refresh token, in hex; none where the product has no refresh.
        refresh_hash: Option<String>,
        expires_at: DateTime<Utc>,
        device_info: Option<String>,
    },
    SessionRefreshed {
        session_id: Uuid,
        refresh_hash: String,
        expires_at: DateTime<Utc>,
    },
    SessionsClosed {
        session_ids: Vec<Uuid>,
        reason: CloseReason,
    },
}

event_names!(UserEvent {
    Registered => "user.registered" 1,
    Renamed => "user.renamed" 1,
    ProfileChanged => "user.profile_changed" 1,
    PasswordChanged => "user.password_changed" 1,
    RoleChanged => "user.role_changed" 1,
    PlanChanged => "user.plan_changed" 1,
    CustomerChanged => "user.customer_changed" 1,
    Deactivated => "user.deactivated" 1,
    Activated => "user.activated" 1,
    EmailVerified => "user.email_verified" 1,
    Deleted => "user.deleted" 1,
    SignInFailed => "user.sign_in_failed" 1,
    Locked => "user.locked" 1,
    SessionOpened => "user.session_opened" 1,
    SessionRefreshed => "user.session_refreshed" 1,
    SessionsClosed => "user.sessions_closed" 1,
});

/// Why sessions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The user signed out of this one.
    SignedOut,
    /// The user signed out everywhere.
    SignedOutEverywhere,
    /// A refresh token was used a second time: somebody else may have it.
    RefreshReused,
    /// The password is another one now.
    PasswordChanged,
    /// The user may no longer come in.
    Deactivated,
    /// The oldest made room for a new one.
    CrowdedOut,
}

#[derive(Debug, Clone)]
pub enum UserCommand {
    /// Brings a user into being.
    Register {
        email: String,
        username: Option<String>,
        name: Option<String>,
        password_hash: String,
        role: Role,
        by: Registrar,
    },
    /// Takes another username, whose claim is held already.
    Rename { username: String },
    /// Changes what is given.
    ChangeProfile { name: Option<String>, metadata: Option<Map<String, Value>> },
    /// Replaces the password and ends all sessions but `keep`.
    ChangePassword { current: PasswordCheck, password_hash: String, keep: Option<Uuid> },
    /// Replaces the password of whoever has shown a code that was mailed to the address, and ends all sessions.
    ResetPassword { password_hash: String },
    /// Notes that the user has shown a code that was mailed to the address.
    VerifyEmail,
    /// Gives the user another role.
    ChangeRole { role: Role, by: Administrator },
    /// Puts the user on another plan.
    ChangePlan { plan: Plan, by: Administrator },
    /// Says whose person the user is.
    ChangeCustomer { customer_id: Option<i64>, by: Administrator },
    /// Shuts the user out.
    Deactivate { by: Administrator },
    /// Ends the user for good.
    Delete { by: Administrator },
    /// Lets the user in again.
    Activate { by: Administrator },
    /// Opens a session, or counts a wrong password.
    SignIn { password: PasswordCheck, session: NewSession },
    /// Exchanges a refresh token for the next one. A token that was exchanged before ends the session.
    Refresh { session_id: Uuid, presented_hash: String, next_hash: String, expires_at: DateTime<Utc> },
    /// Ends one session.
    SignOut { session_id: Uuid },
    /// Ends all sessions.
    SignOutEverywhere,
}

/// Who registers a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registrar {
    /// The user, from outside.
    Public,
    /// A user of this role.
    Role(Role),
    /// The first start of the server.
    Installation,
}

/// Who acts on another user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Administrator {
    pub id: UserId,
    pub role: Role,
}

/// What comparing a password found, and against which hash, so that a change in between is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordCheck {
    pub against_hash: String,
    pub matches: bool,
}

/// A session to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSession {
    pub id: Uuid,
    pub surface: String,
    pub refresh_hash: Option<String>,
    pub expires_at: DateTime<Utc>,
    pub device_info: Option<String>,
}

/// Whether there is such a user, and the account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum User {
    #[default]
    Unknown,
    Registered(Box<Account>),
    Deleted,
}

impl User {
    /// The account.
    ///
    /// # Errors
    /// [`UserError::NotFound`] when there is none.
    pub fn account(&self) -> Result<&Account, UserError> {
        match self {
            Self::Unknown | Self::Deleted => Err(UserError::NotFound),
            Self::Registered(account) => Ok(account),
        }
    }
}

impl Decider for User {
    const SECRET_FIELDS: &'static [&'static str] = &["password_hash", "refresh_hash"];

    fn decide(&self, command: UserCommand, now: DateTime<Utc>) -> Result<Vec<UserEvent>, UserError> {
        match command {
            UserCommand::Register { email, username, name, password_hash, role, by } => {
                if *self != Self::Unknown {
                    return Err(UserError::AlreadyRegistered);
                }
                by.may_give(role)?;
                let email = account::checked_email(&email)?;
                account::check_username(username.as_deref())?;
                account::check_hash(&password_hash)?;
                let name = account::checked_name(name.as_deref())?;
                let user_id = user_id(&email);
                Ok(vec![UserEvent::Registered { user_id, email, username, name, password_hash, role }])
            }
            UserCommand::Rename { username } => self.account()?.rename(username),
            UserCommand::ChangeProfile { name, metadata } => self.account()?.change_profile(name.as_deref(), metadata),
            UserCommand::ChangePassword { current, password_hash, keep } => {
                self.account()?.change_password(&current, password_hash, keep)
            }
            UserCommand::ResetPassword { password_hash } => self.account()?.reset_password(password_hash),
            UserCommand::VerifyEmail => Ok(self.account()?.verify_email()),
            UserCommand::Delete { by } => self.account()?.delete(by),
            UserCommand::ChangeRole { role, by } => self.account()?.change_role(role, by),
            UserCommand::ChangePlan { plan, by } => self.account()?.change_plan(plan, by),
            UserCommand::ChangeCustomer { customer_id, by } => self.account()?.change_customer(customer_id, by),
            UserCommand::Deactivate { by } => self.account()?.deactivate(by),
            UserCommand::Activate { by } => self.account()?.activate(by),
            UserCommand::SignIn { password, session } => self.account()?.sign_in(&password, session, now),
            UserCommand::Refresh { session_id, presented_hash, next_hash, expires_at } => {
                self.account()?.sessions.refresh(session_id, &presented_hash, next_hash, expires_at, now)
            }
            UserCommand::SignOut { session_id } => {
                Ok(self.account()?.sessions.close(&[session_id], CloseReason::SignedOut))
            }
            UserCommand::SignOutEverywhere => {
                Ok(self.account()?.sessions.close_all_but(None, CloseReason::SignedOutEverywhere))
            }
        }
    }
}

impl Registrar {
    fn may_give(self, role: Role) -> Result<(), UserError> {
        let may = match self {
            Self::Public => role == Role::User,
            Self::Role(own) => own.manages(role),
            Self::Installation => true,
        };
        if may { Ok(()) } else { Err(UserError::RoleNotTheirs { role }) }
    }
}

impl cqrs_es::Aggregate for User {
    const TYPE: &'static str = "user";
    type Command = UserCommand;
    type Event = UserEvent;
    type Error = UserError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: UserEvent) {
        match (self, event) {
            (user, UserEvent::Registered { user_id, email, username, name, password_hash, role }) => {
                *user = Self::Registered(Box::new(Account::new(user_id, email, username, name, (password_hash, role))));
            }
            (user @ Self::Registered(_), UserEvent::Deleted { .. }) => *user = Self::Deleted,
            (Self::Registered(account), event) => account.apply(event),
            (Self::Unknown | Self::Deleted, _) => {}
        }
    }
}
