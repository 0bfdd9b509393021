//! Lists about battery devices.

pub mod alert_rules;
pub mod alerts;
pub mod device_shares;
pub mod device_tokens;
#[expect(clippy::module_inception, reason = "the list of devices, in the context of devices")]
pub mod devices;
pub mod notification_preferences;
pub mod push_subscriptions;
pub mod token_uses;
