//! The events of a tenant, filtered and paged.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use replay::aggregates::AggregateType;
use replay::events::{EventFilter, known_event, page};
use replay::{EventView, Moment, NoMoment};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::{App, Server};
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::Query;

const LIMIT_DEFAULT: usize = 100;
const LIMIT_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_events))
}

/// A filter that is not known would be one that does not filter.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    #[serde(rename = "type")]
    event_type: Option<String>,
    stream: Option<String>,
    actor: Option<String>,
    from: Option<String>,
    to: Option<String>,
    after: Option<u64>,
    limit: Option<usize>,
}

#[derive(Serialize, ToSchema)]
struct EventsOut {
    events: Vec<EventOut>,
    /// Everything up to this position was looked at. Later, `after` this position gives what has come since.
    through: u64,
    /// `after` for the next page; null when there is none. A page may hold fewer events than `limit`, or none, and
    /// still have a next one.
    next: Option<u64>,
    /// The highest position of the log.
    head: u64,
}

/// An event. Secrets in its payload are blanked.
#[derive(Serialize, ToSchema)]
pub(super) struct EventOut {
    position: u64,
    event_id: Uuid,
    #[serde(rename = "type")]
    event_type: String,
    version: u16,
    aggregate_type: String,
    aggregate_id: String,
    /// Place in the stream of its aggregate, from 1.
    sequence: u64,
    recorded_at: DateTime<Utc>,
    /// Who did it: `user:<id>`, `process:<name>`, `gateway:<name>`, `anonymous` or `system`.
    actor: String,
    payload: Value,
    metadata: Value,
    /// Names of the fields that were blanked.
    redacted: Vec<&'static str>,
}

impl From<EventView> for EventOut {
    fn from(view: EventView) -> Self {
        Self {
            actor: view.about("actor").to_owned(),
            position: view.position,
            event_id: view.event_id,
            event_type: view.event_type,
            version: view.event_version,
            aggregate_type: view.aggregate_type,
            aggregate_id: view.aggregate_id,
            sequence: view.sequence,
            recorded_at: view.recorded_at,
            payload: view.payload,
            metadata: view.metadata,
            redacted: view.redacted,
        }
    }
}

#[utoipa::path(get, path = "/platform/v1/events", operation_id = "list_events",
    params(
        ("type" = Option<String>, Query, description = "An event's name, or what it begins with up to a dot"),
        ("stream" = Option<String>, Query, description = "`<aggregate_type>/<id>`"),
        ("actor" = Option<String>, Query, description = "Such as `user:<id>` or `process:<name>`"),
        ("from" = Option<String>, Query, description = "From this position or time on"),
        ("to" = Option<String>, Query, description = "Up to this position or time"),
        ("after" = Option<u64>, Query, description = "`next` of the page before"),
        ("limit" = Option<usize>, Query, description = "From 1 to 1000; 100 when missing")),
    responses((status = 200, body = EventsOut)))]
async fn list_events(
    State(app): State<App>,
    Admin(caller): Admin,
    Query(query): Query<EventsQuery>,
) -> Result<Json<EventsOut>, ApiError> {
    let limit = limit(query.limit)?;
    let (after, through) = part(&app, &query).await?;
    let filter = EventFilter {
        tenant: Some(caller.user.tenant),
        event_type: query.event_type.map(known_type).transpose()?,
        actor: query.actor,
        stream: query.stream.as_deref().map(stream).transpose()?,
    };
    let page = page(app.log().as_ref(), &filter, (after, through), limit).await?;
    let events = page.events.iter().map(|event| EventView::of(event).into()).collect();
    let next = page.more.then_some(page.through);
    Ok(Json(EventsOut { events, through: page.through, next, head: app.log().head().await? }))
}

/// The part of the log that the query is about: after a position, up to another.
async fn part(server: &Server, query: &EventsQuery) -> Result<(u64, u64), ApiError> {
    let log = server.log().as_ref();
    let (from, to) = (moment("from", query.from.as_deref())?, moment("to", query.to.as_deref())?);
    if from.zip(to).is_some_and(|(from, to)| from.is_after(to)) {
        return Err(ApiError::field("to", "is before from"));
    }
    let from = match from {
        Some(moment) => moment.before(log).await?,
        None => 0,
    };
    let through = match to {
        Some(moment) => moment.position(log).await?,
        None => log.head().await?,
    };
    let after = from.max(query.after.unwrap_or(0));
    Ok((after, through.max(after)))
}

pub(super) fn moment(field: &'static str, text: Option<&str>) -> Result<Option<Moment>, ApiError> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|fault: NoMoment| ApiError::field(field, fault))
}

/// A number of events within limits.
pub(super) fn limit(limit: Option<usize>) -> Result<usize, ApiError> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if (1..=LIMIT_MAX).contains(&limit) {
        Ok(limit)
    } else {
        Err(ApiError::field("limit", format!("must be between 1 and {LIMIT_MAX}")))
    }
}

fn known_type(event_type: String) -> Result<String, ApiError> {
    known_event(&event_type).map_err(|error| ApiError::field("type", error.to_string()))?;
    Ok(event_type)
}

fn stream(text: &str) -> Result<(String, String), ApiError> {
    let Some((sort, id)) = text.split_once('/') else {
        return Err(ApiError::field("stream", "must be <aggregate_type>/<id>"));
    };
    AggregateType::named(sort).map_err(|error| ApiError::field("stream", error.to_string()))?;
    Ok((sort.to_owned(), id.to_owned()))
}
