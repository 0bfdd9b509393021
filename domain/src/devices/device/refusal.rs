//! How a device says no.

use crate::refusal::{Refusal, RefusalKind};

use super::{
    METADATA_BYTES_MAX, NAME_CHARS_MAX, SHARES_MAX, TOKEN_HOURS_MAX, TOKEN_NETWORKS_MAX, TOKEN_RATE_MAX, TOKENS_MAX,
    TYPE_CHARS_MAX,
};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    #[error("there is no such device")]
    NotFound,
    #[error("there is such a device already")]
    AlreadyRegistered,
    #[error("a name has between 1 and {NAME_CHARS_MAX} printable characters")]
    NameOutOfRange,
    #[error("a type has between 1 and {TYPE_CHARS_MAX} printable characters")]
    TypeOutOfRange,
    #[error("the metadata of a device may have {METADATA_BYTES_MAX} bytes at most")]
    MetadataTooLarge,
    #[error("the metadata of a device may not hold the character NUL")]
    MetadataHasNul,
    #[error("low_battery_threshold must be between 1 and 100")]
    LowThresholdOutOfRange,
    #[error("critical_battery_threshold must be between 1 and 100")]
    CriticalThresholdOutOfRange,
    #[error("critical_battery_threshold must be below low_battery_threshold")]
    CriticalNotBelowLow,
    #[error("report_interval_seconds must be between 10 and 3600")]
    IntervalOutOfRange,
    #[error("high_temperature_threshold must be between -40 and 200")]
    TemperatureOutOfRange,
    #[error("rapid_drain_threshold must be between 1 and 100")]
    DrainOutOfRange,
    #[error("offline_after_seconds must be between 30 and 604800")]
    SilenceOutOfRange,
    #[error("a token lives between 1 and {TOKEN_HOURS_MAX} hours")]
    TokenLifeOutOfRange,
    #[error("rate_limit_per_minute must be between 1 and {TOKEN_RATE_MAX}")]
    TokenRateOutOfRange,
    #[error("a token is bound to {TOKEN_NETWORKS_MAX} networks at most")]
    TooManyNetworks,
    #[error("a device has {TOKENS_MAX} valid tokens at most")]
    TooManyTokens,
    #[error("there is no such token")]
    TokenNotFound,
    #[error("a device is not shared with its owner")]
    SharedWithOwner,
    #[error("a device is shared with {SHARES_MAX} people at most")]
    TooManyShares,
    #[error("the device is not shared with this user")]
    NotShared,
    #[error("the device is disabled")]
    Disabled,
}

impl Refusal for DeviceError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound | Self::TokenNotFound | Self::NotShared => RefusalKind::NotFound,
            Self::AlreadyRegistered => RefusalKind::AlreadyExists,
            Self::NameOutOfRange
            | Self::TypeOutOfRange
            | Self::MetadataTooLarge
            | Self::MetadataHasNul
            | Self::LowThresholdOutOfRange
            | Self::CriticalThresholdOutOfRange
            | Self::CriticalNotBelowLow
            | Self::IntervalOutOfRange
            | Self::TemperatureOutOfRange
            | Self::DrainOutOfRange
            | Self::SilenceOutOfRange
            | Self::TokenLifeOutOfRange
            | Self::TokenRateOutOfRange
            | Self::TooManyNetworks
            | Self::SharedWithOwner => RefusalKind::Invalid,
            Self::TooManyTokens | Self::TooManyShares => RefusalKind::IllegalState,
            Self::Disabled => RefusalKind::Forbidden,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "device.not_found",
            Self::AlreadyRegistered => "device.already_registered",
            Self::NameOutOfRange => "device.name_out_of_range",
            Self::TypeOutOfRange => "device.type_out_of_range",
            Self::MetadataTooLarge => "device.metadata_too_large",
            Self::MetadataHasNul => "device.metadata_has_nul",
            Self::LowThresholdOutOfRange => "device.low_threshold_out_of_range",
            Self::CriticalThresholdOutOfRange => "device.critical_threshold_out_of_range",
            Self::CriticalNotBelowLow => "device.critical_not_below_low",
            Self::IntervalOutOfRange => "device.interval_out_of_range",
            Self::TemperatureOutOfRange => "device.temperature_out_of_range",
            Self::DrainOutOfRange => "device.drain_out_of_range",
            Self::SilenceOutOfRange => "device.silence_out_of_range",
            Self::TokenLifeOutOfRange => "device.token_life_out_of_range",
            Self::TokenRateOutOfRange => "device.token_rate_out_of_range",
            Self::TooManyNetworks => "device.too_many_networks",
            Self::TooManyTokens => "device.too_many_tokens",
            Self::TokenNotFound => "device.token_not_found",
            Self::SharedWithOwner => "device.shared_with_owner",
            Self::TooManyShares => "device.too_many_shares",
            Self::NotShared => "device.not_shared",
            Self::Disabled => "device.disabled",
        }
    }
}
