//! Running strategies: one cycle on demand.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use domain::trading::candle::{BadSymbol, Candle, Timeframe};
use domain::trading::config::StrategyConfig;
use domain::trading::order::OrderOutcome;
use domain::trading::quant_strategy::{CycleInput, QuantStrategy, QuantStrategyCommand, QuantStrategyEvent};
use domain::trading::verdict::AccountSnapshot;
use projections::trading::{decisions, quant_strategies as rows};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{accounts, quant_strategies};
use crate::app::{App, Server};
use crate::auth::{AuthUser, Caller};
use crate::error::ApiError;
use crate::extract::Path;

/// Candles that an indicator is computed from: with Wilder's smoothing, what lies further back no longer shows.
const CANDLES_LOOKED_AT: u32 = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(trigger_worker))
}

#[derive(Serialize, ToSchema)]
struct TriggerOut {
    message: String,
    /// Always null: the cycle is over when the answer comes.
    job_id: Option<String>,
    decision_id: String,
    success: bool,
}

/// One cycle: read candles, decide, record the decision; the process managers carry it out before the answer is given.
#[utoipa::path(post, path = "/api/v1/workers/{strategy_id}/trigger", operation_id = "trigger_worker",
    params(("strategy_id" = Uuid, Path)), responses((status = 200, body = TriggerOut)))]
async fn trigger_worker(
    State(app): State<App>,
    caller: Caller,
    Path(strategy_id): Path<Uuid>,
) -> Result<Json<TriggerOut>, ApiError> {
    // A stop waits until the order of the cycle is carried out.
    let _turn = app.turns.take("quant_strategy", &strategy_id.to_string()).await;
    let strategy = quant_strategies::find(&app, &caller.user, strategy_id).await?;
    let decision_id = caller.request.id_for("decision");
    let input = look(&app, &caller.user, &strategy, decision_id).await?;
    let start = QuantStrategyCommand::StartCycle(input);
    let receipt = app.execute::<QuantStrategy>(&caller.request, &strategy.id, start).await?;
    let Some(QuantStrategyEvent::CycleStarted { decision_id, .. }) = receipt.events.first() else {
        return Err(ApiError::internal(&"a cycle without its event"));
    };
    let row = decisions::find(app.models.read().await, caller.user.tenant, caller.user.id, *decision_id).await?;
    Ok(Json(TriggerOut::of(*decision_id, row.as_ref())?))
}

impl TriggerOut {
    /// Without a row the read models are late: the decision is made, its outcome will show.
    fn of(decision_id: Uuid, row: Option<&decisions::Model>) -> Result<Self, ApiError> {
        let (success, message) = match row.map(decisions::Model::came_to).transpose()?.flatten() {
            Some(OrderOutcome::Filled(_)) => (true, "order filled".to_owned()),
            Some(OrderOutcome::Refused { reason, .. }) => (false, format!("order refused: {reason}")),
            None => (true, "decision recorded".to_owned()),
        };
        let action = row.map_or_else(String::new, |row| format!("{}: ", row.action));
        Ok(Self { message: format!("{action}{message}"), job_id: None, decision_id: decision_id.to_string(), success })
    }
}

/// What the strategy sees now.
async fn look(
    app: &Server,
    user: &AuthUser,
    strategy: &rows::Model,
    decision_id: Uuid,
) -> Result<CycleInput, ApiError> {
    let began = app.clock().now();
    let (timeframe, candles) = market(app, strategy, began).await?;
    let account = match strategy.account_id.as_deref().and_then(|id| id.parse().ok()) {
        Some(id) => accounts::snapshot(app, &accounts::find(app.models.read().await, user, id).await?, began).await?,
        None => AccountSnapshot::default(),
    };
    let took = (app.clock().now() - began).num_milliseconds();
    let latency_ms = u64::try_from(took).unwrap_or(0);
    Ok(CycleInput { decision_id, timeframe, candles: candles.into(), account, latency_ms })
}

/// RSI is computed from candles of its own timeframe; a price alone comes from the newest candle of any.
async fn market(
    app: &Server,
    strategy: &rows::Model,
    now: DateTime<Utc>,
) -> Result<(Timeframe, Vec<Candle>), ApiError> {
    let symbol = strategy.symbol.parse().map_err(|error: BadSymbol| ApiError::internal(&error))?;
    match strategy.settings()? {
        StrategyConfig::Rsi(config) => {
            let candles = app.market.candles(&symbol, config.timeframe, now, CANDLES_LOOKED_AT).await?;
            Ok((config.timeframe, candles))
        }
        StrategyConfig::Grid(_) | StrategyConfig::Dca(_) => {
            let last = app.market.last(&symbol, now).await?;
            Ok(last.map_or((Timeframe::OneHour, vec![]), |(timeframe, candle)| (timeframe, vec![candle])))
        }
    }
}
