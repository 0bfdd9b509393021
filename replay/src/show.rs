//! One aggregate as it was at a moment, and how it came to that.

use domain::log::Log;
use domain::metadata::TenantId;
use serde::Serialize;
use serde_json::Value;

use crate::aggregates::AggregateType;
use crate::error::ReplayError;
use crate::event::EventView;
use crate::moment::Moment;

/// An aggregate and its events up to a moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct History {
    pub aggregate_type: String,
    pub aggregate_id: String,
    /// The tenant that began the stream.
    pub tenant: TenantId,
    /// Number of its events.
    pub version: u64,
    /// Position of its last event.
    pub position: u64,
    /// Without secrets; null where an event cannot be read.
    pub state: Value,
    /// Which event cannot be read, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    pub events: Vec<EventView>,
}

/// The aggregate at `moment`, or now; `None` when it did not exist.
///
/// # Errors
/// When there is no such sort of aggregate, the log does not answer, or the state cannot be shown.
pub async fn show(
    log: &dyn Log,
    aggregate_type: &str,
    aggregate_id: &str,
    moment: Option<Moment>,
) -> Result<Option<History>, ReplayError> {
    let aggregate = AggregateType::named(aggregate_type)?;
    let mut recorded = log.read_stream(aggregate.name, aggregate_id, 0).await?;
    if let Some(moment) = moment {
        let through = moment.position(log).await?;
        recorded.retain(|event| event.position <= through);
    }
    let (Some(first), Some(last)) = (recorded.first(), recorded.last()) else { return Ok(None) };
    let (state, unreadable) = match aggregate.state(&recorded) {
        Ok(state) => (state, None),
        Err(ReplayError::Decode(error)) => (Value::Null, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    Ok(Some(History {
        aggregate_type: aggregate_type.to_owned(),
        aggregate_id: aggregate_id.to_owned(),
        tenant: first.tenant,
        version: last.sequence,
        position: last.position,
        state,
        unreadable,
        events: recorded.iter().map(EventView::of).collect(),
    }))
}
