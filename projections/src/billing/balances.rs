//! What each user may spend.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::billing::balance::{Balance, BalanceEvent, Figures};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use rust_decimal::Decimal;
use sea_orm::entity::prelude::*;

use crate::projection::Projection;

/// One user's balance.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "balances_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    pub tenant: String,
    /// All of the user's money, held or not. Decimals, as text.
    pub amount: String,
    /// The part of it that is set aside for runs of tasks.
    pub held: String,
    /// All that was captured and not refunded.
    pub spent: String,
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
    const TABLE: &'static str = "balances_v2";
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
        let entries = row.as_ref().map_or(0, |row| row.entries) + 1;
        let (amount, held, spent) = match event {
            BalanceEvent::Credited { balance_after, .. } => {
                let zero = || Decimal::ZERO.to_string();
                let (held, spent) = row.map_or_else(|| (zero(), zero()), |row| (row.held, row.spent));
                (balance_after.to_string(), held, spent)
            }
            BalanceEvent::Adjusted { after, .. } => written(*after),
            BalanceEvent::Held(entry)
            | BalanceEvent::Captured(entry)
            | BalanceEvent::Released(entry)
            | BalanceEvent::Refunded(entry) => written(entry.after),
        };
        let (user_id, tenant, updated_at) = (key.clone(), recorded.tenant.to_string(), recorded.recorded_at);
        Some(Model { user_id, tenant, amount, held, spent, entries, updated_at })
    }
}

fn written(figures: Figures) -> (String, String, String) {
    (figures.balance.to_string(), figures.held.to_string(), figures.spent.to_string())
}

/// All figures of a user; zeros for one who never received anything.
///
/// # Errors
/// What the database said, or a row that does not hold decimals.
pub async fn figures(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<Figures, DbErr> {
    let row = Entity::find_by_id(user.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await?;
    let Some(row) = row else { return Ok(Figures::default()) };
    let read = |text: &str| text.parse().map_err(|error| DbErr::Type(format!("balance: {error}")));
    Ok(Figures { balance: read(&row.amount)?, held: read(&row.held)?, spent: read(&row.spent)? })
}

/// The balances of these users who ever received anything, by id.
///
/// # Errors
/// What the database said, or a row that does not hold a decimal.
pub async fn of_users(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    users: &[UserId],
) -> Result<HashMap<String, Decimal>, DbErr> {
    let select = Entity::find().filter(Column::UserId.is_in(users.iter().map(ToString::to_string)));
    let rows = select.filter(Column::Tenant.eq(tenant.to_string())).all(db).await?;
    let read = |row: Model| {
        let amount = row.amount.parse().map_err(|error| DbErr::Type(format!("balance: {error}")))?;
        Ok((row.user_id, amount))
    };
    rows.into_iter().map(read).collect()
}

/// The balance of a user; zero for one who never received anything.
///
/// # Errors
/// What the database said, or a row that does not hold a decimal.
pub async fn of(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<Decimal, DbErr> {
    Ok(figures(db, tenant, user).await?.balance)
}
