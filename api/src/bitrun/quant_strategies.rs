//! Strategies that follow fixed rules: grid, DCA and RSI.

mod out;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::trading::config::StrategyType;
use domain::trading::quant_strategy::{Capital, QuantStrategy, QuantStrategyCommand, StrategyDraft};
use domain::trading::strategy_status::StrategyStatus;
use projections::trading::quant_strategies::{self, QuantStrategies, Wanted};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::out::StrategyOut;
use super::accounts;
use crate::amount::Amount;
use crate::app::{App, Server, row_after};
use crate::as_of::Lists;
use crate::auth::{AuthUser, Caller};
use crate::error::{ApiError, ErrorKind, Place};
use crate::extract::{Body, Path, Query};

const LIMIT_MAX: u64 = 100;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create_quant_strategy, list_quant_strategies))
        .routes(routes!(show_quant_strategy))
        .routes(routes!(change_quant_strategy_status))
}

/// Words as clients write them; the domain has its own.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum TypeWord {
    Grid,
    Dca,
    Rsi,
}

impl From<TypeWord> for StrategyType {
    fn from(word: TypeWord) -> Self {
        match word {
            TypeWord::Grid => Self::Grid,
            TypeWord::Dca => Self::Dca,
            TypeWord::Rsi => Self::Rsi,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CreateBody {
    name: String,
    #[serde(default)]
    description: Option<String>,
    strategy_type: TypeWord,
    symbol: String,
    #[schema(value_type = Object)]
    config: Map<String, Value>,
    account_id: Option<Uuid>,
    allocated_capital: Option<Amount>,
    /// A part of the account's equity, above 0 and at most 1.
    allocated_capital_percent: Option<Amount>,
}

#[utoipa::path(post, path = "/api/v1/quant-strategies", operation_id = "create_quant_strategy",
    request_body = CreateBody, responses((status = 201, body = StrategyOut)))]
async fn create_quant_strategy(
    State(app): State<App>,
    caller: Caller,
    Body(body): Body<CreateBody>,
) -> Result<(StatusCode, Json<StrategyOut>), ApiError> {
    if let Some(account) = body.account_id {
        accounts::find(app.models.read().await, &caller.user, account).await?;
    }
    let id = caller.request.id_for("quant_strategy").to_string();
    let command = body.command(&caller.user)?;
    let receipt = app.execute::<QuantStrategy>(&caller.request, &id, command).await?;
    let row = row_after::<_, QuantStrategies>(None, &id, &receipt);
    let row = row.ok_or_else(|| ApiError::internal(&"a strategy without its event"))?;
    Ok((StatusCode::CREATED, Json(row.try_into()?)))
}

impl CreateBody {
    fn command(self, user: &AuthUser) -> Result<QuantStrategyCommand, ApiError> {
        let capital = match (self.allocated_capital, self.allocated_capital_percent) {
            (Some(_), Some(_)) => {
                let message = "cannot be given together with allocated_capital";
                return Err(ApiError::field("allocated_capital_percent", message));
            }
            (Some(amount), None) => Some(Capital::Amount(amount.0)),
            (None, Some(percent)) => Some(Capital::Percent(percent.0)),
            (None, None) => None,
        };
        let draft = StrategyDraft {
            name: self.name,
            description: self.description.unwrap_or_default(),
            config: self.config,
            account_id: self.account_id,
            capital,
        };
        let kind = self.strategy_type.into();
        Ok(QuantStrategyCommand::Create { user_id: user.id, symbol: self.symbol, kind, draft })
    }
}

#[derive(Deserialize)]
struct StrategiesQuery {
    status: Option<String>,
    /// What real clients send for `status`.
    status_filter: Option<String>,
    strategy_type: Option<TypeWord>,
    limit: Option<u64>,
    offset: Option<u64>,
}

#[utoipa::path(get, path = "/api/v1/quant-strategies", operation_id = "list_quant_strategies",
    params(("status" = Option<String>, Query), ("status_filter" = Option<String>, Query),
        ("strategy_type" = Option<String>, Query), ("limit" = Option<u64>, Query), ("offset" = Option<u64>, Query),
        ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Vec<StrategyOut>)))]
async fn list_quant_strategies(
    lists: Lists,
    caller: Caller,
    Query(query): Query<StrategiesQuery>,
) -> Result<Json<Vec<StrategyOut>>, ApiError> {
    let asked = query.status.as_deref().map(|word| ("status", word));
    let asked = asked.or(query.status_filter.as_deref().map(|word| ("status_filter", word)));
    let asked = asked.map(|(name, word)| status(name, word)).transpose();
    let wanted = Wanted {
        status: asked.map_err(|error| error.of(Place::Query))?,
        strategy_type: query.strategy_type.map(|word| StrategyType::from(word).as_str().to_owned()),
        limit: super::limit(query.limit, LIMIT_MAX, LIMIT_MAX)?,
        offset: super::offset(query.offset)?,
    };
    let db = lists.of(&["quant_strategies"]).await?;
    let rows = quant_strategies::list(&db, caller.user.tenant, caller.user.id, &wanted).await?;
    Ok(Json(rows.into_iter().map(StrategyOut::try_from).collect::<Result<_, _>>()?))
}

#[utoipa::path(get, path = "/api/v1/quant-strategies/{id}", operation_id = "show_quant_strategy",
    params(("id" = Uuid, Path)), responses((status = 200, body = StrategyOut)))]
async fn show_quant_strategy(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
) -> Result<Json<StrategyOut>, ApiError> {
    let row = find(&app, &caller.user, id).await?;
    caller.request.version(row.version.cast_unsigned());
    Ok(Json(row.try_into()?))
}

#[derive(Deserialize, ToSchema)]
struct StatusBody {
    /// `active`, `paused` or `stopped`.
    status: String,
    #[serde(default)]
    close_positions: bool,
}

#[utoipa::path(post, path = "/api/v1/quant-strategies/{id}/status", operation_id = "change_quant_strategy_status",
    params(("id" = Uuid, Path)), request_body = StatusBody, responses((status = 200, body = StrategyOut)))]
async fn change_quant_strategy_status(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Body(body): Body<StatusBody>,
) -> Result<Json<StrategyOut>, ApiError> {
    let _turn = app.turns.take("quant_strategy", &id.to_string()).await;
    let row = find(&app, &caller.user, id).await?;
    let to = status("status", &body.status)?;
    if body.close_positions {
        let sentence = "Positions of a quant strategy are closed by its own rules; close_positions must be false";
        return Err(ApiError::new(ErrorKind::IllegalState, "quant_strategy.close_positions", sentence));
    }
    let connection_error = connection_error(&app, &caller.user, &row).await?;
    let command = QuantStrategyCommand::ChangeStatus { to, connection_error };
    let receipt = app.change::<QuantStrategy>(&caller.request, &row.id, command).await?;
    let id = row.id.clone();
    let row = row_after::<_, QuantStrategies>(Some(row), &id, &receipt);
    Ok(Json(row.ok_or_else(not_found)?.try_into()?))
}

/// Why the strategy's account cannot trade.
async fn connection_error(
    app: &Server,
    user: &AuthUser,
    row: &quant_strategies::Model,
) -> Result<Option<String>, ApiError> {
    let Some(account) = row.account_id.as_deref().and_then(|id| id.parse().ok()) else { return Ok(None) };
    match accounts::find(app.models.read().await, user, account).await {
        Ok(account) => Ok(account.connection_error),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(Some(error.message)),
        Err(error) => Err(error),
    }
}

/// The strategy `id` of `user`.
pub(super) async fn find(app: &Server, user: &AuthUser, id: Uuid) -> Result<quant_strategies::Model, ApiError> {
    quant_strategies::find(app.models.read().await, user.tenant, user.id, id).await?.ok_or_else(not_found)
}

pub(super) fn not_found() -> ApiError {
    ApiError::new(ErrorKind::NotFound, "quant_strategy.not_found", "Strategy not found")
}

fn status(field: &str, word: &str) -> Result<StrategyStatus, ApiError> {
    let known = StrategyStatus::ALL.into_iter().find(|status| status.as_str() == word);
    known.ok_or_else(|| {
        let words = StrategyStatus::ALL.map(StrategyStatus::as_str).join(", ");
        ApiError::field(field, format!("must be one of {words}"))
    })
}
