//! Scenarios of the platform's own API.

mod projections;
