//! Scenarios of Zinnia.

mod alert_rules;
mod alerts;
mod alerts_of_a_phone;
mod device_access;
mod devices;
mod live;
mod notifications;
mod silence;
mod users;
