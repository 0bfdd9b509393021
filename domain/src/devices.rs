//! Battery devices: what they are and who may use them, what they report, and the alerts that this raises.

pub mod alert;
pub mod alert_rule;
pub mod alert_type;
pub mod device;
pub mod drain;
pub mod notification;
pub mod notification_preferences;
pub mod rapid_drain;
pub mod reading;
