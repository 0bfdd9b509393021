//! Who may come in, as lists.

pub mod sessions;
pub mod tenants;
pub mod users;
