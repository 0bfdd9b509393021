//! One aggregate: its state at a moment, and how it came to that.

use axum::Json;
use axum::extract::State;
use replay::ReplayError;
use replay::show::show;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::events::{EventOut, limit, moment};
use crate::app::App;
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::{Path, Query};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_stream))
}

/// A filter that is not known would be one that does not filter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    as_of: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
struct StreamOut {
    aggregate_type: String,
    aggregate_id: String,
    /// Sequence of its last event at that moment.
    version: u64,
    /// Position of that event.
    position: u64,
    /// The state after that event; null where an event cannot be read. Secrets are blanked.
    state: Value,
    /// Which event cannot be read, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
    events: Vec<EventOut>,
    /// `after` for the next events; null when there are none.
    next: Option<u64>,
}

#[utoipa::path(get, path = "/platform/v1/streams/{aggregate_type}/{aggregate_id}", operation_id = "get_stream",
    params(
        ("aggregate_type" = String, Path), ("aggregate_id" = String, Path),
        ("as_of" = Option<String>, Query, description = "A position or a time; now when missing"),
        ("after" = Option<u64>, Query, description = "Events after this sequence"),
        ("limit" = Option<usize>, Query, description = "Events, from 1 to 1000; 100 when missing")),
    responses((status = 200, body = StreamOut)))]
async fn get_stream(
    State(app): State<App>,
    Admin(caller): Admin,
    Path((aggregate_type, aggregate_id)): Path<(String, String)>,
    Query(query): Query<StreamQuery>,
) -> Result<Json<StreamOut>, ApiError> {
    let (as_of, limit) = (moment("as_of", query.as_of.as_deref())?, limit(query.limit)?);
    caller.request.looks_back();
    let history = match show(app.log().as_ref(), &aggregate_type, &aggregate_id, as_of).await {
        Err(ReplayError::UnknownAggregate { .. }) => None,
        shown => shown?,
    };
    let of_tenant = history.filter(|history| history.tenant == caller.user.tenant);
    let mut history = of_tenant.ok_or_else(ApiError::not_found)?;
    caller.request.version(history.version);
    let after = query.after.unwrap_or(0);
    history.events.retain(|event| event.sequence > after);
    let more = history.events.len() > limit;
    history.events.truncate(limit);
    let next = history.events.last().filter(|_| more).map(|event| event.sequence);
    Ok(Json(StreamOut {
        aggregate_type: history.aggregate_type,
        aggregate_id: history.aggregate_id,
        version: history.version,
        position: history.position,
        state: history.state,
        unreadable: history.unreadable,
        events: history.events.into_iter().map(EventOut::from).collect(),
        next,
    }))
}
