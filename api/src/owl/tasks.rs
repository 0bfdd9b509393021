//! Tasks: submitted, watched, cancelled, run again and deleted by their owners.

mod out;
mod terms;

use axum::extract::State;
use domain::compute::task::refusal::TaskError;
use domain::compute::task::work::TaskRequest;
use domain::compute::task::{Task, TaskCommand};
use domain::refusal::Refusal;
use projections::Paging;
use projections::compute::tasks::{self, SortBy, Wanted};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::out::{NewTaskOut, TaskOut};
use super::envelope::{self, Envelope, ListEnvelope};
use super::maintenance::WorkGiver;
use super::whole_numbers::whole;
use crate::app::{App, Server};
use crate::as_of::Lists;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Body, Path, Query};
use crate::fault::Fault;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_task, list_tasks))
        .routes(routes!(get_task, delete_task))
        .routes(routes!(cancel_task))
        .routes(routes!(retry_task))
}

#[derive(Deserialize, ToSchema)]
struct CreateTaskBody {
    title: String,
    description: Option<String>,
    /// `training`, `inference`, `data_processing` or a word of one's own.
    task_type: String,
    /// 1 to 5; 5 is served first. 1 when missing.
    #[serde(default, deserialize_with = "whole")]
    priority: Option<u32>,
    /// Minutes.
    #[serde(default, deserialize_with = "whole")]
    estimated_duration: Option<u32>,
    /// `command`, `image`, `gpu_count`, `memory_gb`, `timeout_seconds`, `ttl_seconds`, and whatever the program reads.
    #[schema(value_type = Option<Object>)]
    config: Option<Map<String, Value>>,
}

#[utoipa::path(post, path = "/api/tasks", operation_id = "create_task", request_body = CreateTaskBody,
    responses((status = 200, body = Envelope<NewTaskOut>)))]
async fn create_task(
    State(app): State<App>,
    WorkGiver(caller): WorkGiver,
    Body(body): Body<CreateTaskBody>,
) -> Result<Envelope<NewTaskOut>, ApiError> {
    let request = TaskRequest {
        title: body.title,
        description: body.description,
        task_type: body.task_type,
        priority: body.priority.map_or(1, |priority| u8::try_from(priority).unwrap_or(u8::MAX)),
        estimated_minutes: body.estimated_duration,
        config: Value::Object(body.config.unwrap_or_default()),
    };
    // What is wrong is told before anything is looked up.
    if let Some(wrong) = ApiError::of_all(request.objections().iter().map(of_field)) {
        return Err(wrong);
    }
    let terms = terms::in_force(&app, &caller).await?;
    let _turn = app.turns.take("task", &caller.user.id.to_string()).await;
    let submit = TaskCommand::Submit {
        owner: caller.user.id,
        request,
        timeout_seconds: terms.timeout_seconds,
        ttl_seconds: terms.ttl_seconds,
        allowance: terms.allowance(&app, &caller).await?,
    };
    let id = caller.request.id_for("task");
    let submitted = app.change::<Task>(&caller.request, &id.to_string(), submit).await?;
    Ok(envelope::ok(NewTaskOut::of(id, &submitted)?))
}

/// What is wrong with one field. Of `config` more can be said than its code does.
fn of_field(objection: &TaskError) -> ApiError {
    if let TaskError::Config(fault) = *objection {
        ApiError::field_by(objection.code(), "config", fault)
    } else {
        ApiError::field_by(objection.code(), "", objection.to_string())
    }
}

#[derive(Deserialize)]
struct TasksQuery {
    page: Option<u64>,
    page_size: Option<u64>,
    status: Option<String>,
    task_type: Option<String>,
    sort_by: Option<String>,
    sort_order: Option<String>,
}

impl TasksQuery {
    fn wanted(self) -> Result<Wanted, ApiError> {
        static STATUSES: [&str; 6] = ["pending", "running", "completed", "failed", "cancelled", "timed_out"];
        let status = self.status.filter(|status| !status.is_empty());
        let status = status.map(|asked| STATUSES.into_iter().find(|status| *status == asked).ok_or(asked));
        let status = status.transpose().map_err(|_| ApiError::field("status", Fault::NoneOf(&STATUSES)))?;
        let sort_by = match self.sort_by.as_deref() {
            None | Some("" | "created_at") => SortBy::Created,
            Some("updated_at") => SortBy::Updated,
            Some("priority") => SortBy::Priority,
            Some(_) => {
                return Err(ApiError::field("sort_by", Fault::NoneOf(&["created_at", "updated_at", "priority"])));
            }
        };
        let ascending = match self.sort_order.as_deref() {
            None | Some("" | "desc") => false,
            Some("asc") => true,
            Some(_) => return Err(ApiError::field("sort_order", Fault::NoneOf(&["asc", "desc"]))),
        };
        let task_type = self.task_type.filter(|task_type| !task_type.is_empty());
        Ok(Wanted { status, task_type, sort_by, ascending })
    }
}

#[utoipa::path(get, path = "/api/tasks", operation_id = "list_tasks",
    params(("page" = Option<u64>, Query), ("page_size" = Option<u64>, Query), ("status" = Option<String>, Query),
        ("task_type" = Option<String>, Query), ("sort_by" = Option<String>, Query),
        ("sort_order" = Option<String>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = ListEnvelope<TaskOut>)))]
async fn list_tasks(
    lists: Lists,
    caller: Caller,
    Query(query): Query<TasksQuery>,
) -> Result<ListEnvelope<TaskOut>, ApiError> {
    let paging = Paging::new(query.page, query.page_size, 20, 100);
    let wanted = query.wanted()?;
    let db = lists.of(&["tasks", "task_counts"]).await?;
    let page = tasks::list(&db, caller.user.tenant, caller.user.id, &wanted, paging).await?;
    Ok(envelope::page(page, TaskOut::from))
}

/// The caller's task; an administrator's is every task of the tenant.
///
/// # Errors
/// Not found.
pub(super) async fn own_task(app: &Server, caller: &Caller, id: Uuid) -> Result<tasks::Model, ApiError> {
    let row = tasks::find(app.models.read().await, caller.user.tenant, id).await?;
    let seen = |row: &tasks::Model| row.user_id == caller.user.id.to_string() || caller.user.role.administers();
    row.filter(seen).ok_or_else(ApiError::not_found)
}

#[utoipa::path(get, path = "/api/tasks/{task_id}", operation_id = "get_task", params(("task_id" = Uuid, Path)),
    responses((status = 200, body = Envelope<TaskOut>)))]
async fn get_task(State(app): State<App>, caller: Caller, Path(id): Path<Uuid>) -> Result<Envelope<TaskOut>, ApiError> {
    Ok(envelope::ok(TaskOut::from(own_task(&app, &caller, id).await?)))
}

#[utoipa::path(post, path = "/api/tasks/{task_id}/cancel", operation_id = "cancel_task",
    params(("task_id" = Uuid, Path)), responses((status = 200, body = Envelope<TaskOut>)))]
async fn cancel_task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<TaskOut>, ApiError> {
    own_task(&app, &caller, id).await?;
    app.change::<Task>(&caller.request, &id.to_string(), TaskCommand::Cancel { by: caller.user.id }).await?;
    Ok(envelope::ok(TaskOut::from(own_task(&app, &caller, id).await?)))
}

#[utoipa::path(post, path = "/api/tasks/{task_id}/retry", operation_id = "retry_task",
    params(("task_id" = Uuid, Path)), responses((status = 200, body = Envelope<TaskOut>)))]
async fn retry_task(
    State(app): State<App>,
    WorkGiver(caller): WorkGiver,
    Path(id): Path<Uuid>,
) -> Result<Envelope<TaskOut>, ApiError> {
    let owner = own_task(&app, &caller, id).await?.user_id;
    if owner != caller.user.id.to_string() {
        return Err(ApiError::forbidden("Only its owner, who pays for it, runs a task again"));
    }
    let terms = terms::in_force(&app, &caller).await?;
    let _turn = app.turns.take("task", &owner).await;
    let retry = TaskCommand::Retry { by: caller.user.id, allowance: terms.allowance(&app, &caller).await? };
    app.change::<Task>(&caller.request, &id.to_string(), retry).await?;
    Ok(envelope::ok(TaskOut::from(own_task(&app, &caller, id).await?)))
}

#[utoipa::path(delete, path = "/api/tasks/{task_id}", operation_id = "delete_task",
    params(("task_id" = Uuid, Path)), responses((status = 200, body = Envelope<Value>)))]
async fn delete_task(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Envelope<Value>, ApiError> {
    own_task(&app, &caller, id).await?;
    app.change::<Task>(&caller.request, &id.to_string(), TaskCommand::Delete { by: caller.user.id }).await?;
    Ok(envelope::ok(Value::Null))
}
