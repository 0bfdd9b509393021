//! What strategies decided: one row a decision.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use domain::trading::decision::{Decision, DecisionEvent};
use domain::trading::order::OrderOutcome;
use domain::trading::verdict::{Action, Deliberation};
use sea_orm::entity::prelude::*;
use sea_orm::{PaginatorTrait, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{read, written};
use crate::projection::Projection;

/// One decision.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "decisions_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    #[sea_orm(indexed)]
    pub strategy_id: String,
    pub account_id: String,
    pub cycle: i64,
    pub action: String,
    /// What was decided and on what, as JSON.
    pub deliberation: String,
    /// Whether an order was carried out.
    pub executed: bool,
    /// What came of the order, as JSON.
    pub outcome: Option<String>,
    pub decided_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// What was decided, and on what.
    ///
    /// # Errors
    /// When the row does not hold a deliberation.
    pub fn considered(&self) -> Result<Deliberation, DbErr> {
        read("deliberation", &self.deliberation)
    }

    /// What came of the order.
    ///
    /// # Errors
    /// When the row does not hold an outcome.
    pub fn came_to(&self) -> Result<Option<OrderOutcome>, DbErr> {
        self.outcome.as_deref().map(|outcome| read("outcome", outcome)).transpose()
    }
}

/// The projection.
pub struct Decisions;

impl Projection for Decisions {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = DecisionEvent;

    const NAME: &'static str = "decisions";
    const TABLE: &'static str = "decisions_v1";
    const CONSUMES: &'static [&'static str] = &["decision"];

    fn decode(recorded: &Recorded) -> Result<Option<DecisionEvent>, DecodeError> {
        recorded.decode::<Decision>()
    }

    fn keys(_: &DecisionEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &DecisionEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            DecisionEvent::Recorded { strategy_id, user_id, account_id, cycle, deliberation } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                user_id: user_id.to_string(),
                strategy_id: strategy_id.to_string(),
                account_id: account_id.to_string(),
                cycle: cycle.cast_signed(),
                action: deliberation.verdict.action.as_str().to_owned(),
                deliberation: written(deliberation),
                executed: false,
                outcome: None,
                decided_at: recorded.recorded_at,
                position: recorded.position.cast_signed(),
            }),
            DecisionEvent::Executed { outcome, .. } => {
                let executed = matches!(outcome, OrderOutcome::Filled(_));
                row.map(|row| Model { executed, outcome: Some(written(outcome)), ..row })
            }
        }
    }
}

/// Which decisions of a user.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    pub strategy: Option<Uuid>,
    pub executed: Option<bool>,
    pub action: Option<Action>,
    pub limit: u64,
    pub offset: u64,
}

/// Decisions of one user, the newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
    wanted: &Wanted,
) -> Result<Vec<Model>, DbErr> {
    let ordered = of(tenant, user, wanted).order_by_desc(Column::Position);
    ordered.limit(wanted.limit).offset(wanted.offset).all(db).await
}

/// One decision of one user.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, user: UserId, id: Uuid) -> Result<Option<Model>, DbErr> {
    of(tenant, user, &Wanted::default()).filter(Column::Id.eq(id.to_string())).one(db).await
}

/// How many decisions there are, whatever the limit.
///
/// # Errors
/// What the database said.
pub async fn count(db: &impl ConnectionTrait, tenant: TenantId, user: UserId, wanted: &Wanted) -> Result<u64, DbErr> {
    of(tenant, user, wanted).count(db).await
}

fn of(tenant: TenantId, user: UserId, wanted: &Wanted) -> Select<Entity> {
    let mut select =
        Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::UserId.eq(user.to_string()));
    if let Some(strategy) = wanted.strategy {
        select = select.filter(Column::StrategyId.eq(strategy.to_string()));
    }
    if let Some(executed) = wanted.executed {
        select = select.filter(Column::Executed.eq(executed));
    }
    if let Some(action) = wanted.action {
        select = select.filter(Column::Action.eq(action.as_str()));
    }
    select
}
