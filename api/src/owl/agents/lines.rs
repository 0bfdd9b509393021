//! What tasks say while they run, as their agents hand it in.

use axum::extract::State;
use commands::gateways::log_lines::{Level, LineFilter, NewLine, Source};
use domain::compute::task::Task;
use domain::compute::task::refusal::TaskError;
use domain::metadata::UserId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Agent;
use crate::app::{App, Server};
use crate::error::ApiError;
use crate::extract::{Body, Path};
use crate::owl::envelope::{self, Envelope};

/// Most lines of one request.
const LINES_MAX: usize = 2_000;
/// Most lines that are kept of one task: who says more is not listened to any longer.
const LINES_OF_TASK_MAX: u64 = 200_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(keep_lines))
}

#[derive(Deserialize, ToSchema)]
struct LinesBody {
    lease: u32,
    lines: Vec<LineBody>,
}

#[derive(Deserialize, ToSchema)]
struct LineBody {
    /// `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
    level: String,
    message: String,
}

#[derive(Serialize, ToSchema)]
struct LinesOut {
    kept: usize,
    /// Lines that were not kept because the task has said too much.
    dropped: usize,
}

#[utoipa::path(post, path = "/api/gpu/agent/tasks/{task_id}/logs", operation_id = "keep_task_lines",
    params(("task_id" = Uuid, Path)), request_body = LinesBody,
    responses((status = 200, body = Envelope<LinesOut>)))]
async fn keep_lines(
    State(app): State<App>,
    agent: Agent,
    Path(id): Path<Uuid>,
    Body(body): Body<LinesBody>,
) -> Result<Envelope<LinesOut>, ApiError> {
    if body.lines.len() > LINES_MAX {
        return Err(ApiError::field("lines", format!("最多{LINES_MAX}行")));
    }
    let owner = agent.owner_of_run(&app, id, body.lease).await?;
    let lines =
        body.lines.into_iter().map(|line| agent.line(&app, (id, owner), line)).collect::<Result<Vec<_>, _>>()?;
    let said = LineFilter { task: Some(id), ..LineFilter::all(agent.tenant, Source::Task) };
    let said = app.log_lines.page(&said, 0, 1).await?.total;
    let room = usize::try_from(LINES_OF_TASK_MAX.saturating_sub(said)).unwrap_or(usize::MAX);
    let (kept, dropped) = (lines.len().min(room), lines.len().saturating_sub(room));
    app.line_queue.keep(lines.into_iter().take(kept).collect()).await?;
    Ok(envelope::ok(LinesOut { kept, dropped }))
}

impl Agent {
    /// Whose task it is that this agent runs under `lease`.
    async fn owner_of_run(&self, app: &Server, id: Uuid, lease: u32) -> Result<UserId, ApiError> {
        let (task, _) = app.bus.load::<Task>(&id.to_string()).await?;
        let lost = || commands::CommandError::Refused(TaskError::LeaseLost(lease));
        let known = task.known().map_err(commands::CommandError::Refused)?;
        let holds = known.run.as_ref().is_some_and(|run| run.lease == lease && run.server_id == self.server_id);
        if holds { Ok(known.owner) } else { Err(lost().into()) }
    }

    fn line(&self, app: &Server, (task, owner): (Uuid, UserId), said: LineBody) -> Result<NewLine, ApiError> {
        let level: Level = said
            .level
            .parse()
            .map_err(|_| ApiError::field("level", "必须是 DEBUG、INFO、WARNING、ERROR 或 CRITICAL"))?;
        let line = NewLine::new(app.clock().now(), self.tenant, Source::Task, level, said.message);
        Ok(NewLine { task: Some(task), user: Some(owner), request_id: Some(self.request.id), ..line })
    }
}
