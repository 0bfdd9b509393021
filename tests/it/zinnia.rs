//! Scenarios of Zinnia.

mod device_access;
mod device_callers;
mod devices;
mod security;
mod user_administration;
mod users;
