//! History: read models rebuilt and proved, aggregates and lists as they were, exports, imports, audits. Each subcommand
//! of `corelog` about history has a module; `api` prints what they return, and serves some of it.

pub mod aggregates;
pub mod audit;
mod continuity;
pub mod diff;
mod end_record;
mod error;
mod event;
pub mod events;
pub mod export;
pub mod import;
pub mod list;
mod moment;
mod progress;
pub mod rebuild;
mod redemptions;
pub mod show;
pub mod verify;

pub use error::ReplayError;
pub use event::EventView;
pub use moment::{Moment, NoMoment};
pub use progress::Progress;

use projections::{AnyProjector, catalogue};

/// The projection of this name, or all of them.
///
/// # Errors
/// [`ReplayError::UnknownProjection`].
pub fn projections_named(name: Option<&str>) -> Result<Vec<Box<dyn AnyProjector>>, ReplayError> {
    let mut projectors = catalogue();
    if let Some(name) = name {
        projectors.retain(|projector| projector.name() == name);
        if projectors.is_empty() {
            let known = catalogue().iter().map(|projector| projector.name()).collect::<Vec<_>>().join(", ");
            return Err(ReplayError::UnknownProjection { name: name.to_owned(), known });
        }
    }
    Ok(projectors)
}
