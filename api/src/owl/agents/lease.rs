//! Giving tasks to agents that have room.

use std::time::Duration;

use axum::extract::State;
use domain::compute::capabilities::Capabilities;
use domain::compute::gpu_server::GpuServer;
use domain::compute::scheduling::{Room, Search};
use domain::compute::task::work::Work;
use domain::compute::task::{Task, TaskCommand, TaskStatus};
use projections::compute::tasks;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Agent;
use crate::amount::Amount;
use crate::app::{App, Server};
use crate::error::ApiError;
use crate::extract::Body;
use crate::owl::envelope::{self, Envelope};

/// Longest wait for a task.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How far down the line is looked for a task that fits, and in what steps.
const LOOKED_AT_MAX: u64 = 2_000;
/// How far down the line to look past tasks that this agent cannot run at all.
const LINE_MAX: u64 = 20_000;
const LOOKED_AT: u64 = 100;
/// An agent that waits looks again at least so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most programs, types or images that an agent may name.
const NAMED_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(lease_task))
}

#[derive(Deserialize, ToSchema)]
struct LeaseBody {
    session: u32,
    /// Tasks that it can still take.
    tasks: u32,
    gpus: u32,
    gpu_memory_gb: Amount,
    memory_gb: Amount,
    /// What it can run; everything when it does not say.
    runs: Option<RunsBody>,
    /// How long to wait when there is nothing to do.
    #[serde(default)]
    wait_seconds: u64,
}

/// What an agent can run.
#[derive(Clone, Deserialize, ToSchema)]
struct RunsBody {
    /// Programs that `config.command` may name; null for every one.
    programs: Option<Vec<String>>,
    /// Types of tasks that it has a program of its own for.
    #[serde(default)]
    task_types: Vec<String>,
    /// Images that `config.image` may name.
    #[serde(default)]
    images: Vec<String>,
}

impl RunsBody {
    fn checked(self) -> Result<Capabilities, ApiError> {
        let Self { programs, task_types, images } = self;
        let counts = [programs.as_ref().map_or(0, Vec::len), task_types.len(), images.len()];
        if counts.into_iter().any(|count| count > NAMED_MAX) {
            return Err(ApiError::field("runs", format!("最多{NAMED_MAX}项")));
        }
        Ok(Capabilities { programs, task_types, images })
    }
}

#[derive(Serialize, ToSchema)]
struct LeaseOut {
    /// Null when there is nothing to do.
    task: Option<LeasedOut>,
}

#[derive(Serialize, ToSchema)]
struct LeasedOut {
    task_id: String,
    lease: u32,
    title: String,
    task_type: String,
    #[schema(value_type = Object)]
    config: Value,
    /// Milliseconds that it may still run.
    time_left_ms: i64,
}

#[utoipa::path(post, path = "/api/gpu/agent/lease", operation_id = "lease_task", request_body = LeaseBody,
    responses((status = 200, body = Envelope<LeaseOut>)))]
async fn lease_task(
    State(app): State<App>,
    agent: Agent,
    Body(mut body): Body<LeaseBody>,
) -> Result<Envelope<LeaseOut>, ApiError> {
    let runs = body.runs.take().map(RunsBody::checked).transpose()?;
    let until = Instant::now() + Duration::from_secs(body.wait_seconds).min(WAIT_MAX);
    loop {
        let position = app.readers.position();
        let task = given(&app, &agent, &body, runs.as_ref()).await?;
        let now = Instant::now();
        if task.is_some() || now >= until {
            return Ok(envelope::ok(LeaseOut { task }));
        }
        // Whatever happens may have brought a task, or room for one.
        let _ = tokio::time::timeout(LOOK_EVERY.min(until - now), app.log().grown(position)).await;
        let _ = app.readers.beyond(position).await;
    }
}

/// The first task in line that the agent can run, that fits and can be paid, leased to it.
async fn given(
    app: &Server,
    agent: &Agent,
    body: &LeaseBody,
    runs: Option<&Capabilities>,
) -> Result<Option<LeasedOut>, ApiError> {
    let Some((room, emptied)) = rooms(app, agent, body).await? else { return Ok(None) };
    let mut search = Search::new(room, emptied, app.clock().now());
    let (mut offset, mut looked_at) = (0, 0);
    while looked_at < LOOKED_AT_MAX && offset < LINE_MAX {
        let line = tasks::waiting(&app.models.as_they_are().read, agent.tenant, offset, LOOKED_AT).await?;
        let seen_all = line.len() < usize::try_from(LOOKED_AT).unwrap_or(1);
        offset += LOOKED_AT;
        // Nothing is set aside for what this agent can never run either.
        let mut line = line.into_iter().filter(|row| runs.is_none_or(|runs| can_run(runs, row)));
        let mut line = line.by_ref().inspect(|_| looked_at += 1);
        while let Some(row) = search.next_of(line.by_ref(), tasks::Model::waiting) {
            if let Some(task) = lease(app, agent, body.session, &row.id).await? {
                return Ok(Some(task));
            }
        }
        if seen_all {
            break;
        }
    }
    Ok(None)
}

fn can_run(runs: &Capabilities, row: &tasks::Model) -> bool {
    // It was checked when it was submitted.
    let work = serde_json::from_str::<Work>(&row.config).unwrap_or_default();
    runs.check(&row.task_type, &work).is_ok()
}

/// The room that the server has now, and the one it has when all that runs there has ended; nothing when it may not
/// take a task.
async fn rooms(app: &Server, agent: &Agent, body: &LeaseBody) -> Result<Option<(Room, Room)>, ApiError> {
    let server = agent.in_session(app, body.session).await?;
    let GpuServer::Registered { details, .. } = server else { return Ok(None) };
    // As they are: agents that wait look again with every change, and would otherwise hurry each of them.
    let running = tasks::running_on(&app.models.as_they_are().read, agent.server_id).await?;
    let places = usize::try_from(details.max_concurrent_tasks).unwrap_or(usize::MAX).saturating_sub(running.len());
    let places = u32::try_from(places).unwrap_or(u32::MAX);
    let room = Room {
        tasks: if details.is_active { body.tasks.min(places) } else { 0 },
        gpus: body.gpus,
        gpu_memory_gb: body.gpu_memory_gb.0,
        memory_gb: body.memory_gb.0,
    };
    let emptied = running.iter().fold(room, |room, task| room.with(task.waiting().needs));
    Ok((room.tasks > 0).then_some((room, emptied)))
}

/// Leases one task; nothing when another agent was faster, or its owner cannot pay for it.
async fn lease(app: &Server, agent: &Agent, session: u32, id: &str) -> Result<Option<LeasedOut>, ApiError> {
    let lease = TaskCommand::Lease { server_id: agent.server_id, session };
    match agent.execute::<Task>(app, id, lease).await {
        Ok(_) => {}
        Err(error) if error.code.starts_with("task.") => return Ok(None),
        Err(error) => return Err(error),
    }
    // The process managers hold the estimate meanwhile, and start the task.
    app.settled(&agent.request).await;
    let (task, _) = app.bus.load::<Task>(id).await?;
    let Ok(task) = task.known() else { return Ok(None) };
    let Some(run) = task.run.as_ref().filter(|run| run.server_id == agent.server_id) else { return Ok(None) };
    if task.status != TaskStatus::Running {
        return Ok(None);
    }
    let time_left = task.ends_at().map_or(0, |ends_at| (ends_at - app.clock().now()).num_milliseconds());
    Ok(Some(LeasedOut {
        task_id: id.to_owned(),
        lease: run.lease,
        title: task.request.title.clone(),
        task_type: task.request.task_type.clone(),
        config: task.request.config.clone(),
        time_left_ms: time_left.max(0),
    }))
}
