//! Log lines: of the server, of what users did, of tasks; as pages and as files.

mod download;
mod query;
mod tasks;

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::gateways::log_lines::{Line, LineFilter, LinePage, Source};
use domain::metadata::UserId;
use projections::identity::users;
use projections::{Page, Paging};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::envelope::{self, ListEnvelope};
use crate::app::{App, Server};
use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::Query;
use query::{first_moment, level, moment_after, search};

const PAGE_SIZE_DEFAULT: u64 = 50;
const PAGE_SIZE_MAX: u64 = 200;
/// How long a list of actions waits for the last of them.
const WAIT_FOR_ACTIONS: Duration = Duration::from_secs(2);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list_system_lines))
        .routes(routes!(list_user_actions))
        .merge(tasks::routes())
        .merge(download::routes())
}

#[derive(Deserialize)]
struct SystemQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    level: Option<String>,
    start_date: Option<String>,
    end_date: Option<String>,
    search: Option<String>,
}

/// A line of the server's own log.
#[derive(Clone, Serialize, ToSchema)]
struct SystemLineOut {
    id: i64,
    timestamp: DateTime<Utc>,
    level: &'static str,
    message: String,
    /// The part of the server that said it.
    source: Option<String>,
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
    request_id: Option<Uuid>,
    user_id: Option<Uuid>,
}

impl From<Line> for SystemLineOut {
    fn from(Line { id, line }: Line) -> Self {
        let mut fields = line.fields;
        let source = fields.remove("target").and_then(|target| target.as_str().map(str::to_owned));
        Self {
            id,
            timestamp: line.at,
            level: line.level.name(),
            message: line.message,
            source,
            fields,
            request_id: line.request_id,
            user_id: line.user.map(|user| user.0),
        }
    }
}

#[utoipa::path(get, path = "/api/logs/system", operation_id = "list_system_lines",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("level" = Option<String>, Query),
        ("start_date" = Option<String>, Query, description = "A day, or a time with offset"),
        ("end_date" = Option<String>, Query, description = "A day (included), or a time with offset"),
        ("search" = Option<String>, Query, description = "Words that all stand in the line, or begin so; the newest 1,000 matches are shown")),
    responses((status = 200, body = ListEnvelope<SystemLineOut>)))]
async fn list_system_lines(
    State(app): State<App>,
    Admin(caller): Admin,
    Query(query): Query<SystemQuery>,
) -> Result<ListEnvelope<SystemLineOut>, ApiError> {
    let filter = LineFilter {
        level: level(query.level.as_deref())?,
        from: first_moment("start_date", query.start_date.as_deref())?,
        before: moment_after("end_date", query.end_date.as_deref())?,
        search: search(query.search)?,
        ..LineFilter::all(caller.user.tenant, Source::System)
    };
    let paging = paging(query.page, query.page_size);
    let page = app.log_lines.page(&filter, paging.offset(), paging.per_page).await?;
    Ok(shown(page, paging, SystemLineOut::from))
}

#[derive(Deserialize)]
struct ActionsQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    user_id: Option<Uuid>,
    start_date: Option<String>,
    end_date: Option<String>,
    search: Option<String>,
}

/// Something that somebody did.
#[derive(Clone, Serialize, ToSchema)]
struct ActionOut {
    id: i64,
    timestamp: DateTime<Utc>,
    /// Null for somebody who was not signed in.
    user_id: Option<Uuid>,
    username: Option<String>,
    /// The event's name, such as `recharge_code.redeemed`.
    action: String,
    resource_type: Option<Value>,
    resource_id: Option<Value>,
    ip_address: Option<Value>,
    /// The product through which it was done.
    surface: Option<Value>,
    request_id: Option<Uuid>,
    /// Where the event stands in the log.
    position: Option<Value>,
}

impl ActionOut {
    fn of(Line { id, line }: Line, names: &HashMap<String, String>) -> Self {
        let mut fields = line.fields;
        let user_id = line.user.map(|user| user.0);
        Self {
            id,
            timestamp: line.at,
            user_id,
            username: user_id.and_then(|user| names.get(&user.to_string()).cloned()),
            action: line.message,
            resource_type: fields.remove("resource_type"),
            resource_id: fields.remove("resource_id"),
            ip_address: fields.remove("ip_address"),
            surface: fields.remove("surface"),
            request_id: line.request_id,
            position: fields.remove("position"),
        }
    }
}

#[utoipa::path(get, path = "/api/logs/user-actions", operation_id = "list_user_actions",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("user_id" = Option<Uuid>, Query),
        ("start_date" = Option<String>, Query, description = "A day, or a time with offset"),
        ("end_date" = Option<String>, Query, description = "A day (included), or a time with offset"),
        ("search" = Option<String>, Query, description = "Words of the action's name; the newest 1,000 matches are shown")),
    responses((status = 200, body = ListEnvelope<ActionOut>)))]
async fn list_user_actions(
    State(app): State<App>,
    Admin(caller): Admin,
    Query(query): Query<ActionsQuery>,
) -> Result<ListEnvelope<ActionOut>, ApiError> {
    let filter = LineFilter {
        user: query.user_id.map(UserId),
        from: first_moment("start_date", query.start_date.as_deref())?,
        before: moment_after("end_date", query.end_date.as_deref())?,
        search: search(query.search)?,
        ..LineFilter::all(caller.user.tenant, Source::Action)
    };
    let followed = actions_are_followed(&app).await?;
    let paging = paging(query.page, query.page_size);
    let mut page = app.log_lines.page(&filter, paging.offset(), paging.per_page).await?;
    page.total_is_exact &= followed;
    let ids = page.lines.iter().filter_map(|line| line.line.user).collect::<Vec<_>>();
    let names = users::names(app.models.read().await, caller.user.tenant, &ids).await?;
    Ok(shown(page, paging, |line| ActionOut::of(line, &names)))
}

/// Waits until everything that is in the log now is among the actions. False when that takes too long, which it does
/// only where a long log is read for the first time.
async fn actions_are_followed(server: &Server) -> Result<bool, ApiError> {
    let head = server.log().head().await?;
    Ok(tokio::time::timeout(WAIT_FOR_ACTIONS, server.actions.reach(head)).await.is_ok())
}

fn paging(page: Option<u64>, page_size: Option<u64>) -> Paging {
    Paging::new(page, page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)
}

fn shown<T: Clone>(page: LinePage, paging: Paging, show: impl Fn(Line) -> T) -> ListEnvelope<T> {
    let exact = page.total_is_exact;
    let list = envelope::page(Page { rows: page.lines, total: page.total, paging }, show);
    if exact { list } else { list.counted_up_to_total() }
}
