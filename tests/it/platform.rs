//! Scenarios of the platform's own API.

mod events;
mod projections;
mod rebuild;
mod streams;
mod users;
