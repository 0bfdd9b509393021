//! Curtailment: which miners to stop for a while, doing it, and what became of it.

mod history;
mod proposal;
mod request;

use axum::extract::State;
use axum::http::StatusCode;
use domain::hosting::curtailment_run::plan::ExecutionMode;
use domain::hosting::curtailment_run::run::Phase;
use domain::hosting::curtailment_run::{CurtailmentRun, CurtailmentRunCommand};
use domain::hosting::curtailment_selection::Strategy;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::proposal::{PlanOut, Proposal};
use self::request::CurtailmentBody;
use super::crm::text;
use super::envelope::{self, Envelope};
use crate::app::{App, Server};
use crate::auth::{Caller, Full, Permitted, Read, module};
use crate::error::ApiError;
use crate::extract::Body;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(calculate_curtailment))
        .routes(routes!(execute_curtailment))
        .routes(routes!(cancel_curtailment))
        .routes(routes!(restore_curtailment))
        .routes(routes!(list_curtailment_strategies))
        .merge(history::routes())
}

#[derive(Serialize, ToSchema)]
struct CalculationOut {
    plan: PlanOut,
}

#[utoipa::path(post, path = "/hosting/api/curtailment/calculate", operation_id = "calculate_curtailment",
    request_body = CurtailmentBody, responses((status = 200, body = Envelope<CalculationOut>)))]
async fn calculate_curtailment(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CurtailmentExecute>>,
    Body(body): Body<CurtailmentBody>,
) -> Result<Envelope<CalculationOut>, ApiError> {
    let times = body.schedule(app.clock().now())?;
    let proposal = Proposal::of(&app, caller.user.tenant, &body, &times).await?;
    Ok(envelope::ok(CalculationOut { plan: PlanOut::of(&app, caller.user.tenant, &proposal).await? }))
}

#[derive(Serialize, ToSchema)]
struct RunDone {
    plan_id: i64,
    /// `planned`, `executing`, `active`, `restoring`, `completed`, `completed_with_failures` or `cancelled`.
    status: &'static str,
    /// The same in the words of older clients.
    plan_status: &'static str,
    message: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanOut>,
}

#[utoipa::path(post, path = "/hosting/api/curtailment/execute", operation_id = "execute_curtailment",
    request_body = CurtailmentBody, responses((status = 201, body = Envelope<RunDone>)))]
async fn execute_curtailment(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CurtailmentExecute>>,
    Body(body): Body<CurtailmentBody>,
) -> Result<(StatusCode, Envelope<RunDone>), ApiError> {
    let done = match body.plan_id {
        Some(plan_id) => give(&app, &caller, plan_id, CurtailmentRunCommand::Start, "Curtailment started").await?,
        None => plan(&app, &caller, &body).await?,
    };
    Ok((StatusCode::CREATED, envelope::ok(done)))
}

/// Writes a plan down, and starts it when its time has come.
async fn plan(app: &Server, caller: &Caller, body: &CurtailmentBody) -> Result<RunDone, ApiError> {
    // A run that has started holds its miners: they cannot be proposed again.
    if let Some((plan_id, CurtailmentRun::Known(run))) = app.created_before(&caller.request).await? {
        return Ok(done(plan_id, run.phase, run.mode, planned_or_started(run.phase)));
    }
    let now = app.clock().now();
    let schedule = body.schedule(now)?;
    let (mode, start) = (schedule.mode, schedule.mode == ExecutionMode::Auto && schedule.starts_at <= now);
    let tenant = caller.user.tenant;
    // Two at once would choose the same miners; another that comes to this server sees what this one's run holds.
    let _turn = app.turns.take("curtailment_run", &tenant.to_string()).await;
    let proposal = Proposal::of(app, tenant, body, &schedule).await?;
    let plan = Box::new(proposal.plan(schedule, app.config.miners.curtailment_attempts_max));
    let create = |id| CurtailmentRunCommand::Plan { id, plan: plan.clone(), start };
    let plan_id = app.create::<CurtailmentRun>(&caller.request, create).await?;
    let phase = if start { Phase::Executing } else { Phase::Planned };
    let plan = Some(PlanOut::of(app, tenant, &proposal).await?);
    Ok(RunDone { plan, ..done(plan_id, phase, mode, planned_or_started(phase)) })
}

fn planned_or_started(phase: Phase) -> &'static str {
    if phase == Phase::Planned { "Curtailment planned" } else { "Curtailment started" }
}

#[derive(Deserialize, ToSchema)]
struct CancelBody {
    plan_id: i64,
    reason: Option<String>,
}

#[utoipa::path(post, path = "/hosting/api/curtailment/cancel", operation_id = "cancel_curtailment",
    request_body = CancelBody, responses((status = 200, body = Envelope<RunDone>)))]
async fn cancel_curtailment(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CurtailmentExecute>>,
    Body(body): Body<CancelBody>,
) -> Result<Envelope<RunDone>, ApiError> {
    let cancel = CurtailmentRunCommand::Cancel { reason: text(body.reason) };
    give(&app, &caller, body.plan_id, cancel, "Curtailment cancelled").await.map(envelope::ok)
}

#[derive(Deserialize, ToSchema)]
struct RestoreBody {
    plan_id: i64,
}

/// Ends a run before its time: its miners are started again.
#[utoipa::path(post, path = "/hosting/api/curtailment/emergency-restore", operation_id = "restore_curtailment",
    request_body = RestoreBody, responses((status = 200, body = Envelope<RunDone>)))]
async fn restore_curtailment(
    State(app): State<App>,
    Permitted { caller, .. }: Permitted<Full<module::CurtailmentExecute>>,
    Body(body): Body<RestoreBody>,
) -> Result<Envelope<RunDone>, ApiError> {
    give(&app, &caller, body.plan_id, CurtailmentRunCommand::Restore, "Miners are being started")
        .await
        .map(envelope::ok)
}

/// Gives a command to a run that exists.
async fn give(
    app: &Server,
    caller: &Caller,
    plan_id: i64,
    command: CurtailmentRunCommand,
    message: &'static str,
) -> Result<RunDone, ApiError> {
    let receipt = app.execute::<CurtailmentRun>(&caller.request, &plan_id.to_string(), command).await?;
    match receipt.state {
        CurtailmentRun::Known(run) => Ok(done(plan_id, run.phase, run.mode, message)),
        CurtailmentRun::Unknown => Err(ApiError::not_found()),
    }
}

fn done(plan_id: i64, phase: Phase, mode: ExecutionMode, message: &'static str) -> RunDone {
    RunDone { plan_id, status: phase.word(), plan_status: plan_status(phase.word(), mode.word()), message, plan: None }
}

/// The status in the words of older clients.
fn plan_status(phase: &str, mode: &str) -> &'static str {
    match (phase, mode) {
        ("planned", "auto") => "approved",
        ("planned", _) => "pending",
        ("executing" | "active", _) => "executing",
        ("restoring", _) => "recovery_pending",
        ("cancelled", _) => "cancelled",
        (_, _) => "completed",
    }
}

#[derive(Serialize, ToSchema)]
struct StrategiesOut {
    strategies: [StrategyOut; 4],
}

#[derive(Serialize, ToSchema)]
struct StrategyOut {
    id: &'static str,
    name: &'static str,
    name_zh: &'static str,
    description: &'static str,
    description_zh: &'static str,
}

#[utoipa::path(get, path = "/hosting/api/curtailment/strategies", operation_id = "list_curtailment_strategies",
    responses((status = 200, body = Envelope<StrategiesOut>)))]
async fn list_curtailment_strategies(_: Permitted<Read<module::CurtailmentStrategy>>) -> Envelope<StrategiesOut> {
    envelope::ok(StrategiesOut { strategies: Strategy::ALL.map(described) })
}

fn described(strategy: Strategy) -> StrategyOut {
    let (name, name_zh, description, description_zh) = match strategy {
        Strategy::EfficiencyFirst => {
            ("Efficiency First", "效率优先", "Shut down miners with worst efficiency first", "优先关停效率最差的矿机")
        }
        Strategy::PowerFirst => {
            ("Power First", "功率优先", "Shut down miners with highest power first", "优先关停功率最高的矿机")
        }
        Strategy::RevenueFirst => {
            ("Revenue First", "收益优先", "Shut down miners with lowest profit first", "优先关停利润最低的矿机")
        }
        Strategy::TemperatureFirst => (
            "Temperature First",
            "温度优先",
            "Shut down miners with highest temperature first",
            "优先关停温度最高的矿机",
        ),
    };
    StrategyOut { id: strategy.word(), name, name_zh, description, description_zh }
}
