//! Who may come in: users, their names, their roles, and the organisations they belong to.

pub mod plan;
pub mod role;
pub mod tenant;
pub mod user;
pub mod username;
pub mod verification;

pub use plan::Plan;
pub use role::Role;
pub use user::user_id;
