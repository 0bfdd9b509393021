//! What tasks say while they run, as their agents hand it in.
//!
//! Agents number the lines of a run. What was kept and is told again, because the answer was lost, is known by its number:
//! the numbers stand in the fields of the lines, so that a restart of the server does not forget them.

use std::num::NonZeroU32;

use axum::extract::State;
use commands::gateways::log_lines::{Level, Line, LineFilter, NewLine, Source};
use domain::compute::task::Task;
use domain::compute::task::refusal::TaskError;
use domain::metadata::UserId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
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
    /// The number of the first line in this run, from 1. Without it, lines that are told again are kept again.
    #[schema(value_type = Option<u32>)]
    first: Option<NonZeroU32>,
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
    let lines = body.lines.into_iter().map(|line| agent.line(&app, (id, owner), line));
    let mut lines = lines.collect::<Result<Vec<_>, _>>()?;
    if body.first.is_some() {
        // What was told before, and whose answer was lost, may still be on its way.
        app.line_queue.flush().await?;
    }
    let said = LineFilter { task: Some(id), ..LineFilter::all(agent.tenant, Source::Task) };
    let said = app.log_lines.page(&said, 0, 1).await?;
    if let Some(first) = body.first {
        let first = u64::from(first.get());
        number(&mut lines, body.lease, first);
        lines.drain(..repeated(said.lines.first(), body.lease, first).min(lines.len()));
    }
    let room = usize::try_from(LINES_OF_TASK_MAX.saturating_sub(said.total)).unwrap_or(usize::MAX);
    let (kept, dropped) = (lines.len().min(room), lines.len().saturating_sub(room));
    app.line_queue.keep(lines.into_iter().take(kept).collect()).await?;
    Ok(envelope::ok(LinesOut { kept, dropped }))
}

/// Writes into each line which one of its run it is.
fn number(lines: &mut [NewLine], lease: u32, first: u64) {
    for (line, number) in lines.iter_mut().zip(first..) {
        line.fields = Map::from_iter([("lease".to_owned(), json!(lease)), ("line".to_owned(), json!(number))]);
    }
}

/// How many lines from number `first` on were kept before, if `last` is the last one that was kept of the task.
fn repeated(last: Option<&Line>, lease: u32, first: u64) -> usize {
    let of = |name: &str| last.and_then(|last| last.line.fields.get(name)).and_then(Value::as_u64);
    match (of("lease"), of("line")) {
        (Some(of), Some(last)) if of == u64::from(lease) => {
            usize::try_from((last + 1).saturating_sub(first)).unwrap_or(usize::MAX)
        }
        _ => 0,
    }
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
