//! What a task said while it ran: for its owner, and for administrators.

use axum::extract::State;
use chrono::{DateTime, Utc};
use commands::gateways::log_lines::{Line, LineFilter, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::query::{level, search};
use super::{paging, shown};
use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Path, Query};
use crate::owl::envelope::ListEnvelope;
use crate::owl::tasks::own_task;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_task_lines))
}

#[derive(Deserialize)]
struct TaskLinesQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    level: Option<String>,
    search: Option<String>,
}

/// A line that a task said.
#[derive(Clone, Serialize, ToSchema)]
struct TaskLineOut {
    id: i64,
    task_id: Option<Uuid>,
    timestamp: DateTime<Utc>,
    level: &'static str,
    message: String,
    #[schema(value_type = Object)]
    fields: Map<String, Value>,
}

impl From<Line> for TaskLineOut {
    fn from(Line { id, line }: Line) -> Self {
        Self {
            id,
            task_id: line.task,
            timestamp: line.at,
            level: line.level.name(),
            message: line.message,
            fields: line.fields,
        }
    }
}

#[utoipa::path(get, path = "/api/logs/tasks/{task_id}", operation_id = "list_task_lines",
    params(("task_id" = Uuid, Path), ("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query),
        ("level" = Option<String>, Query), ("search" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<TaskLineOut>)))]
async fn list_task_lines(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<TaskLinesQuery>,
) -> Result<ListEnvelope<TaskLineOut>, ApiError> {
    own_task(&app, &caller, id).await?;
    let filter = LineFilter {
        task: Some(id),
        level: level(query.level.as_deref())?,
        search: search(query.search)?,
        ..LineFilter::all(caller.user.tenant, Source::Task)
    };
    let paging = paging(query.page, query.page_size);
    let page = app.log_lines.page(&filter, paging.offset(), paging.per_page).await?;
    Ok(shown(page, paging, TaskLineOut::from))
}
