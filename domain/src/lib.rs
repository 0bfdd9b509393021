//! Aggregates, events and the rules of the business: no I/O, clock, randomness, SQL or HTTP.
//!
//! The kernel (`aggregate`, `event`, `log`, `metadata`, `payload`, `plain_text`, `refusal`, `text`) is what every context builds on; a context is a
//! module of its own and never uses another one. Time and new ids come in with the command.

pub mod aggregate;
pub mod event;
pub mod log;
pub mod metadata;
pub mod payload;
pub mod plain_text;
pub mod refusal;
pub mod text;

pub mod billing;
pub mod compute;
pub mod crm;
pub mod devices;
pub mod hosting;
pub mod identity;
pub mod platform;
pub mod trading;

pub use aggregate::{Decider, Now};
pub use event::{DecodeError, EventNames, Recorded, Upcaster};
pub use metadata::{Metadata, TenantId, UserId};
pub use refusal::{Refusal, RefusalKind};
pub use text::Text;
