//! Read models: each list is a table, each table a fold over the log.
//!
//! A [`Projection`] says which rows an event touches and folds it; the [`Runner`] does the rest for all of them. The
//! same fold serves the live table, a rebuild, a list as it was at a past moment, and the audit.

mod beside;
mod catalogue;
pub mod checkpoint;
pub mod database;
mod decimal_text;
mod difference;
mod page;
mod projection;
mod projector;
mod read_ahead;
mod rows;
mod runner;
pub mod scratch;
mod shown;
mod writer;

pub mod billing;
pub mod compute;
pub mod crm;
pub mod devices;
pub mod hosting;
pub mod identity;
pub mod platform;
pub mod trading;

pub use beside::Beside;
pub use catalogue::catalogue;
pub use database::{ReadModels, Tables};
pub use decimal_text::DecimalText;
pub use difference::{Comparison, Difference, DifferenceKind, FieldDifference};
pub use page::{Page, Paging};
pub use projection::{Projection, ProjectionError};
pub use projector::{AnyProjector, Projector, ShownRow};
pub use read_ahead::ReadAhead;
pub use runner::{ProjectionStatus, Runner, Statuses};
pub use writer::{Changes, Shape};
