//! Scenarios of Zinnia.

mod users;
