//! Scenarios of Zinnia.

mod alert_rules;
mod alerts;
mod alerts_of_a_phone;
mod battery;
mod battery_crash;
mod battery_days;
mod device_access;
mod device_callers;
mod devices;
mod live;
mod mqtt;
mod notifications;
mod secrets;
mod security;
mod silence;
mod user_administration;
mod users;
