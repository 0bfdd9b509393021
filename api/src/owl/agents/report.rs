//! What agents report of the tasks they run.

use axum::extract::State;
use domain::compute::task::refusal::TaskError;
use domain::compute::task::{Task, TaskCommand};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Agent;
use crate::app::{App, Server};
use crate::error::ApiError;
use crate::extract::{Body, Path};
use crate::owl::envelope::{self, Envelope};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(report_progress)).routes(routes!(complete_task)).routes(routes!(fail_task))
}

impl Agent {
    /// Records what the agent says of a task under a lease of its own.
    async fn report(&self, app: &Server, id: Uuid, lease: u32, report: TaskCommand) -> Result<(), ApiError> {
        let id = id.to_string();
        let (task, _) = app.bus.load::<Task>(&id).await?;
        let run = task.known().ok().and_then(|task| task.run.as_ref());
        if run.is_some_and(|run| run.server_id != self.server_id) {
            return Err(commands::CommandError::Refused(TaskError::LeaseLost(lease)).into());
        }
        self.execute::<Task>(app, &id, report).await?;
        app.handled(&self.request).await;
        Ok(())
    }
}

#[derive(Deserialize, ToSchema)]
struct ProgressBody {
    lease: u32,
    /// Percent.
    progress: f64,
}

#[utoipa::path(post, path = "/api/gpu/agent/tasks/{task_id}/progress", operation_id = "report_progress",
    params(("task_id" = Uuid, Path)), request_body = ProgressBody,
    responses((status = 200, body = Envelope<Value>)))]
async fn report_progress(
    State(app): State<App>,
    agent: Agent,
    Path(id): Path<Uuid>,
    Body(body): Body<ProgressBody>,
) -> Result<Envelope<Value>, ApiError> {
    let progress = TaskCommand::Progress { lease: body.lease, progress: body.progress };
    agent.report(&app, id, body.lease, progress).await?;
    Ok(envelope::ok(Value::Null))
}

#[derive(Deserialize, ToSchema)]
struct CompleteBody {
    lease: u32,
    #[schema(value_type = Object)]
    result: Map<String, Value>,
}

#[utoipa::path(post, path = "/api/gpu/agent/tasks/{task_id}/complete", operation_id = "complete_task",
    params(("task_id" = Uuid, Path)), request_body = CompleteBody,
    responses((status = 200, body = Envelope<Value>)))]
async fn complete_task(
    State(app): State<App>,
    agent: Agent,
    Path(id): Path<Uuid>,
    Body(body): Body<CompleteBody>,
) -> Result<Envelope<Value>, ApiError> {
    let complete = TaskCommand::Complete { lease: body.lease, result: Value::Object(body.result) };
    agent.report(&app, id, body.lease, complete).await?;
    Ok(envelope::ok(Value::Null))
}

#[derive(Deserialize, ToSchema)]
struct FailBody {
    lease: u32,
    error: String,
}

#[utoipa::path(post, path = "/api/gpu/agent/tasks/{task_id}/fail", operation_id = "fail_task",
    params(("task_id" = Uuid, Path)), request_body = FailBody, responses((status = 200, body = Envelope<Value>)))]
async fn fail_task(
    State(app): State<App>,
    agent: Agent,
    Path(id): Path<Uuid>,
    Body(body): Body<FailBody>,
) -> Result<Envelope<Value>, ApiError> {
    let fail = TaskCommand::Fail { lease: body.lease, error: body.error };
    agent.report(&app, id, body.lease, fail).await?;
    Ok(envelope::ok(Value::Null))
}
