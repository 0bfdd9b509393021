//! Scenarios of Zinnia.

mod battery;
mod battery_crash;
mod battery_days;
mod device_access;
mod devices;
mod mqtt;
mod users;
