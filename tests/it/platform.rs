//! Scenarios of the platform's own API.

mod dry_run;
mod events;
mod projections;
mod rebuild;
mod streams;
mod users;
