//! The rule-based strategies of users, with what they have earned.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use domain::trading::config::StrategyConfig;
use domain::trading::order::{Fill, OrderOutcome};
use domain::trading::quant_strategy::{Capital, QuantStrategy, QuantStrategyEvent};
use domain::trading::runtime::RuntimeState;
use domain::trading::strategy_status::StrategyStatus;
use rust_decimal::Decimal;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{read, written};
use crate::decimal_text::DecimalText;
use crate::projection::Projection;

/// One strategy.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "quant_strategies_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    pub name: String,
    pub description: String,
    pub strategy_type: String,
    pub symbol: String,
    /// JSON.
    pub config: String,
    pub account_id: Option<String>,
    pub allocated_capital: Option<DecimalText>,
    pub allocated_capital_percent: Option<DecimalText>,
    pub status: String,
    pub error_message: Option<String>,
    /// JSON.
    pub runtime_state: String,
    /// Realised, fees taken off.
    pub total_pnl: DecimalText,
    /// Positions that were closed, in whole or in part.
    pub total_trades: i64,
    pub winning_trades: i64,
    pub losing_trades: i64,
    /// Highest equity of the account that a cycle has seen.
    pub equity_peak: DecimalText,
    /// Largest fall of the equity below its peak, as a part of the peak.
    pub max_drawdown: DecimalText,
    pub last_run_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Sequence of the last event: the version of the resource.
    pub version: i64,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct QuantStrategies;

impl Projection for QuantStrategies {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = QuantStrategyEvent;

    const NAME: &'static str = "quant_strategies";
    const TABLE: &'static str = "quant_strategies_v2";
    const CONSUMES: &'static [&'static str] = &["quant_strategy"];

    fn decode(recorded: &Recorded) -> Result<Option<QuantStrategyEvent>, DecodeError> {
        recorded.decode::<QuantStrategy>()
    }

    fn keys(_: &QuantStrategyEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &QuantStrategyEvent, recorded: &Recorded) -> Option<Model> {
        let row = match event {
            QuantStrategyEvent::Created { user_id, name, description, symbol, config, account_id, capital } => {
                let draft = Model { user_id: user_id.to_string(), ..draft(key, symbol.as_str(), config, recorded) };
                Some(draft.with_settings(name, description, config, *account_id, *capital))
            }
            QuantStrategyEvent::Changed { name, description, config, account_id, capital } => {
                row.map(|row| row.with_settings(name, description, config, *account_id, *capital))
            }
            QuantStrategyEvent::StatusChanged { to, message, .. } => {
                row.map(|row| Model { status: to.as_str().to_owned(), error_message: message.clone(), ..row })
            }
            QuantStrategyEvent::Deleted => None,
            QuantStrategyEvent::CycleStarted { deliberation, .. } => {
                row.map(|row| row.seen(deliberation.account.equity, recorded.recorded_at))
            }
            QuantStrategyEvent::CycleCompleted { outcome, runtime_state, .. } => {
                let booked = row.map(|row| row.booked(outcome.as_ref(), runtime_state));
                booked.map(|row| Model { runtime_state: written(runtime_state), ..row })
            }
        };
        let (updated_at, version) = (recorded.recorded_at, recorded.sequence.cast_signed());
        row.map(|row| Model { updated_at, version, ..row })
    }
}

impl Model {
    /// The settings.
    ///
    /// # Errors
    /// When the row does not hold settings.
    pub fn settings(&self) -> Result<StrategyConfig, DbErr> {
        read("config", &self.config)
    }

    /// What the strategy remembers.
    ///
    /// # Errors
    /// When the row does not hold such a memory.
    pub fn memory(&self) -> Result<RuntimeState, DbErr> {
        read("runtime_state", &self.runtime_state)
    }

    fn with_settings(
        self,
        name: &str,
        description: &str,
        config: &StrategyConfig,
        account_id: Option<Uuid>,
        capital: Option<Capital>,
    ) -> Self {
        let text = written(config);
        let (amount, percent) = match capital {
            Some(Capital::Amount(amount)) => (Some(amount.into()), None),
            Some(Capital::Percent(percent)) => (None, Some(percent.into())),
            None => (None, None),
        };
        let runtime_state =
            if text == self.config { self.runtime_state.clone() } else { written(&RuntimeState::fresh(config)) };
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            config: text,
            account_id: account_id.map(|id| id.to_string()),
            allocated_capital: amount,
            allocated_capital_percent: percent,
            runtime_state,
            ..self
        }
    }

    fn seen(self, equity: Decimal, at: DateTime<Utc>) -> Self {
        let peak = self.equity_peak.0.max(equity);
        let drawdown = (peak - equity).checked_div(peak).unwrap_or_default().round_dp(8).normalize();
        let max_drawdown = self.max_drawdown.0.max(drawdown);
        Self { equity_peak: peak.into(), max_drawdown: max_drawdown.into(), last_run_at: Some(at), ..self }
    }

    fn booked(self, outcome: Option<&OrderOutcome>, after: &RuntimeState) -> Self {
        match outcome {
            Some(OrderOutcome::Filled(fill)) => self.filled(fill, after),
            Some(OrderOutcome::Refused { .. }) | None => self,
        }
    }

    /// What a sale brought over what the strategy itself had paid; at worst, its margin is lost.
    fn gain(&self, fill: &Fill, after: &RuntimeState) -> Option<Decimal> {
        let (Ok(memory), Ok(settings)) = (self.memory(), self.settings()) else { return fill.realized_pnl };
        let cost = memory.cost_of_sold(after);
        Some(fill.notional.saturating_sub(cost).max(-cost.checked_div(settings.leverage())?))
    }

    fn filled(self, fill: &Fill, after: &RuntimeState) -> Self {
        let closed = fill.realized_pnl.is_some();
        let gain = if closed { self.gain(fill, after).unwrap_or_default() } else { Decimal::ZERO };
        let earned = gain.saturating_sub(fill.fee);
        let total_pnl = self.total_pnl.0.saturating_add(earned).into();
        Self {
            total_pnl,
            total_trades: self.total_trades + i64::from(closed),
            winning_trades: self.winning_trades + i64::from(closed && earned > Decimal::ZERO),
            losing_trades: self.losing_trades + i64::from(closed && earned < Decimal::ZERO),
            ..self
        }
    }
}

fn draft(key: &str, symbol: &str, config: &StrategyConfig, recorded: &Recorded) -> Model {
    Model {
        id: key.to_owned(),
        tenant: recorded.tenant.to_string(),
        user_id: String::new(),
        name: String::new(),
        description: String::new(),
        strategy_type: config.kind().as_str().to_owned(),
        symbol: symbol.to_owned(),
        config: String::new(),
        account_id: None,
        allocated_capital: None,
        allocated_capital_percent: None,
        status: StrategyStatus::Draft.as_str().to_owned(),
        error_message: None,
        runtime_state: String::new(),
        total_pnl: DecimalText::default(),
        total_trades: 0,
        winning_trades: 0,
        losing_trades: 0,
        equity_peak: DecimalText::default(),
        max_drawdown: DecimalText::default(),
        last_run_at: None,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        version: 0,
        position: recorded.position.cast_signed(),
    }
}

/// Which strategies of a user.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub status: Option<StrategyStatus>,
    pub strategy_type: Option<String>,
    pub limit: u64,
    pub offset: u64,
}

/// The strategies of one user, the last changed first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
    wanted: &Wanted,
) -> Result<Vec<Model>, DbErr> {
    let mut select = of(tenant, user);
    if let Some(status) = wanted.status {
        select = select.filter(Column::Status.eq(status.as_str()));
    }
    if let Some(strategy_type) = &wanted.strategy_type {
        select = select.filter(Column::StrategyType.eq(strategy_type));
    }
    let ordered = select.order_by_desc(Column::UpdatedAt).order_by_desc(Column::Position);
    ordered.limit(wanted.limit).offset(wanted.offset).all(db).await
}

/// One strategy of one user.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, user: UserId, id: Uuid) -> Result<Option<Model>, DbErr> {
    of(tenant, user).filter(Column::Id.eq(id.to_string())).one(db).await
}

fn of(tenant: TenantId, user: UserId) -> Select<Entity> {
    Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::UserId.eq(user.to_string()))
}
