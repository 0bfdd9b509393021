//! How a user says no.

use chrono::{DateTime, TimeDelta, Utc};

use crate::identity::role::Role;
use crate::identity::username::{CHARS_MAX, CHARS_MIN};
use crate::refusal::{Refusal, RefusalKind};

use super::{DEVICE_INFO_CHARS_MAX, METADATA_BYTES_MAX, NAME_CHARS_MAX, SESSION_DAYS_MAX};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    #[error("there is no such user")]
    NotFound,
    #[error("the e-mail address is registered already")]
    AlreadyRegistered,
    #[error("this is not an e-mail address")]
    EmailInvalid,
    #[error("a username has between {CHARS_MIN} and {CHARS_MAX} letters, digits, `_`, `.` or `-`")]
    UsernameInvalid,
    #[error("a name has between 1 and {NAME_CHARS_MAX} characters, none of them a control character")]
    NameOutOfRange,
    #[error("the metadata of a user may have {METADATA_BYTES_MAX} bytes at most")]
    MetadataTooLarge,
    #[error("the device may be described in {DEVICE_INFO_CHARS_MAX} characters at most")]
    DeviceInfoTooLong,
    #[error("passwords are kept as argon2id hashes only")]
    HashInvalid,
    #[error("the role `{role}` is not theirs to give or to manage")]
    RoleNotTheirs { role: Role },
    #[error("users of the role `{role}` belong to no customer; clients and customers do")]
    NobodysPerson { role: Role },
    #[error("nobody deactivates or demotes themselves")]
    Oneself,
    #[error("the current password is not right")]
    WrongPassword,
    #[error("the password was changed while it was compared")]
    PasswordChangedMeanwhile,
    #[error("the account is deactivated")]
    Deactivated,
    #[error("the account is locked for another {remaining_minutes} minutes")]
    Locked { remaining_minutes: i64 },
    #[error("there is such a session already")]
    SessionExists,
    #[error("a session ends in the future, within {SESSION_DAYS_MAX} days")]
    SessionExpiryOutOfRange,
    #[error("the session is closed")]
    SessionClosed,
    #[error("the session has expired")]
    SessionExpired,
}

impl UserError {
    /// Locked from `now` `until` then, in minutes that have begun.
    pub fn locked(until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self::Locked { remaining_minutes: (until - now + TimeDelta::seconds(59)).num_minutes().max(1) }
    }
}

impl Refusal for UserError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRegistered | Self::SessionExists => RefusalKind::AlreadyExists,
            Self::EmailInvalid
            | Self::UsernameInvalid
            | Self::NameOutOfRange
            | Self::MetadataTooLarge
            | Self::DeviceInfoTooLong
            | Self::HashInvalid
            | Self::SessionExpiryOutOfRange => RefusalKind::Invalid,
            Self::RoleNotTheirs { .. } | Self::Oneself | Self::Deactivated => RefusalKind::Forbidden,
            Self::WrongPassword | Self::SessionClosed | Self::SessionExpired => RefusalKind::Unauthenticated,
            Self::PasswordChangedMeanwhile | Self::NobodysPerson { .. } => RefusalKind::IllegalState,
            Self::Locked { .. } => RefusalKind::LimitExceeded,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "user.not_found",
            Self::AlreadyRegistered => "user.already_registered",
            Self::EmailInvalid => "user.email_invalid",
            Self::UsernameInvalid => "user.username_invalid",
            Self::NameOutOfRange => "user.name_out_of_range",
            Self::MetadataTooLarge => "user.metadata_too_large",
            Self::DeviceInfoTooLong => "user.device_info_too_long",
            Self::HashInvalid => "user.hash_invalid",
            Self::RoleNotTheirs { .. } => "user.role_not_theirs",
            Self::NobodysPerson { .. } => "user.nobodys_person",
            Self::Oneself => "user.oneself",
            Self::WrongPassword => "user.wrong_password",
            Self::PasswordChangedMeanwhile => "user.password_changed_meanwhile",
            Self::Deactivated => "user.deactivated",
            Self::Locked { .. } => "user.locked",
            Self::SessionExists => "user.session_exists",
            Self::SessionExpiryOutOfRange => "user.session_expiry_out_of_range",
            Self::SessionClosed => "user.session_closed",
            Self::SessionExpired => "user.session_expired",
        }
    }
}
