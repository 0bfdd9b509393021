//! Scenarios of Zinnia.

mod device_access;
mod devices;
mod users;
