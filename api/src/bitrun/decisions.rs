//! What strategies decided, why, and what came of it.

mod out;

use axum::Json;
use axum::extract::State;
use domain::trading::verdict::Action;
use projections::trading::decisions::{self, Wanted};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::out::DecisionOut;
use super::quant_strategies;
use crate::app::App;
use crate::as_of::Lists;
use crate::auth::Caller;
use crate::error::{ApiError, ErrorKind};
use crate::extract::{Path, Query};

const LIMIT: u64 = 10;
const LIMIT_MAX: u64 = 100;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(recent_decisions))
        .routes(routes!(decisions_of_strategy))
        .routes(routes!(show_decision))
}

#[derive(Deserialize)]
struct RecentQuery {
    limit: Option<u64>,
}

#[utoipa::path(get, path = "/api/v1/decisions/recent", operation_id = "recent_decisions",
    params(("limit" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Vec<DecisionOut>)))]
async fn recent_decisions(
    lists: Lists,
    caller: Caller,
    Query(query): Query<RecentQuery>,
) -> Result<Json<Vec<DecisionOut>>, ApiError> {
    let wanted = Wanted { limit: super::limit(query.limit, LIMIT, LIMIT_MAX)?, ..Wanted::default() };
    let db = lists.of(&["decisions"]).await?;
    let rows = decisions::list(&db, caller.user.tenant, caller.user.id, &wanted).await?;
    Ok(Json(rows.into_iter().map(DecisionOut::try_from).collect::<Result<_, _>>()?))
}

#[derive(Deserialize)]
struct DecisionsQuery {
    limit: Option<u64>,
    offset: Option<u64>,
    execution_filter: Option<ExecutionFilter>,
    action: Option<ActionWord>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExecutionFilter {
    All,
    Executed,
    Skipped,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ActionWord {
    OpenLong,
    OpenShort,
    CloseLong,
    CloseShort,
    Hold,
    Wait,
}

impl From<ActionWord> for Action {
    fn from(word: ActionWord) -> Self {
        match word {
            ActionWord::OpenLong => Self::OpenLong,
            ActionWord::OpenShort => Self::OpenShort,
            ActionWord::CloseLong => Self::CloseLong,
            ActionWord::CloseShort => Self::CloseShort,
            ActionWord::Hold => Self::Hold,
            ActionWord::Wait => Self::Wait,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct DecisionPageOut {
    items: Vec<DecisionOut>,
    total: u64,
    limit: u64,
    offset: u64,
}

#[utoipa::path(get, path = "/api/v1/decisions/strategy/{strategy_id}", operation_id = "decisions_of_strategy",
    params(("strategy_id" = Uuid, Path), ("limit" = Option<u64>, Query), ("offset" = Option<u64>, Query),
        ("execution_filter" = Option<String>, Query), ("action" = Option<String>, Query),
        ("as_of" = Option<String>, Query)),
    responses((status = 200, body = DecisionPageOut)))]
async fn decisions_of_strategy(
    State(app): State<App>,
    lists: Lists,
    caller: Caller,
    Path(strategy_id): Path<Uuid>,
    Query(query): Query<DecisionsQuery>,
) -> Result<Json<DecisionPageOut>, ApiError> {
    quant_strategies::find(&app, &caller.user, strategy_id).await?;
    let wanted = query.wanted(strategy_id)?;
    let db = lists.of(&["decisions"]).await?;
    let (tenant, user) = (caller.user.tenant, caller.user.id);
    let rows = decisions::list(&db, tenant, user, &wanted).await?;
    Ok(Json(DecisionPageOut {
        items: rows.into_iter().map(DecisionOut::try_from).collect::<Result<_, _>>()?,
        total: decisions::count(&db, tenant, user, &wanted).await?,
        limit: wanted.limit,
        offset: wanted.offset,
    }))
}

impl DecisionsQuery {
    fn wanted(&self, strategy: Uuid) -> Result<Wanted, ApiError> {
        let executed = match self.execution_filter {
            None | Some(ExecutionFilter::All) => None,
            Some(ExecutionFilter::Executed) => Some(true),
            Some(ExecutionFilter::Skipped) => Some(false),
        };
        Ok(Wanted {
            strategy: Some(strategy),
            executed,
            action: self.action.map(Action::from),
            limit: super::limit(self.limit, LIMIT, LIMIT_MAX)?,
            offset: super::offset(self.offset)?,
        })
    }
}

#[utoipa::path(get, path = "/api/v1/decisions/{decision_id}", operation_id = "show_decision",
    params(("decision_id" = Uuid, Path)), responses((status = 200, body = DecisionOut)))]
async fn show_decision(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<DecisionOut>, ApiError> {
    let row = decisions::find(app.models.read().await, caller.user.tenant, caller.user.id, id).await?;
    let missing = || ApiError::new(ErrorKind::NotFound, "decision.not_found", "Decision not found");
    Ok(Json(row.ok_or_else(missing)?.try_into()?))
}
