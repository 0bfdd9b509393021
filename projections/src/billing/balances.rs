//! What each user may spend.

use chrono::{DateTime, Utc};
use domain::billing::balance::{Balance, BalanceEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use rust_decimal::Decimal;
use sea_orm::entity::prelude::*;

use crate::projection::Projection;

/// One user's balance.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "balances_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    pub tenant: String,
    /// Decimal, as text.
    pub amount: String,
    /// Entries so far.
    pub entries: i64,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Balances;

impl Projection for Balances {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = BalanceEvent;

    const NAME: &'static str = "balances";
    const TABLE: &'static str = "balances_v1";
    const CONSUMES: &'static [&'static str] = &["balance"];

    fn decode(recorded: &Recorded) -> Result<Option<BalanceEvent>, DecodeError> {
        recorded.decode::<Balance>()
    }

    fn keys(_: &BalanceEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.user_id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &BalanceEvent, recorded: &Recorded) -> Option<Model> {
        let BalanceEvent::Credited { balance_after, .. } = event;
        Some(Model {
            user_id: key.clone(),
            tenant: recorded.tenant.to_string(),
            amount: balance_after.to_string(),
            entries: row.map_or(0, |row| row.entries) + 1,
            updated_at: recorded.recorded_at,
        })
    }
}

/// The balance of a user; zero for one who never received anything.
///
/// # Errors
/// What the database said, or a row that does not hold a decimal.
pub async fn of(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<Decimal, DbErr> {
    let row = Entity::find_by_id(user.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await?;
    row.map_or(Ok(Decimal::ZERO), |row| row.amount.parse().map_err(|error| DbErr::Type(format!("balance: {error}"))))
}
