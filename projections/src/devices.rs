//! Lists about battery devices.

pub mod alert_rules;
pub mod alerts;
pub mod notification_preferences;
pub mod push_subscriptions;
