//! What each user may spend.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::billing::balance::{Balance, BalanceEvent, Figures};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use rust_decimal::Decimal;
use sea_orm::entity::prelude::*;

use crate::decimal_text::DecimalText;
use crate::projection::Projection;

/// One user's balance.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "balances_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: String,
    pub tenant: String,
    /// All of the user's money, held or not.
    pub amount: DecimalText,
    /// The part of it that is set aside for runs of tasks.
    pub held: DecimalText,
    /// All that was captured and not refunded.
    pub spent: DecimalText,
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
                let (held, spent) = row.map_or_else(Default::default, |row| (row.held, row.spent));
                (DecimalText(*balance_after), held, spent)
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

fn written(figures: Figures) -> (DecimalText, DecimalText, DecimalText) {
    (figures.balance.into(), figures.held.into(), figures.spent.into())
}

/// All figures of a user; zeros for one who never received anything.
///
/// # Errors
/// What the database said.
pub async fn figures(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<Figures, DbErr> {
    let row = Entity::find_by_id(user.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await?;
    let read = |row: Model| Figures { balance: row.amount.0, held: row.held.0, spent: row.spent.0 };
    Ok(row.map_or_else(Figures::default, read))
}

/// The balances of these users who ever received anything, by id.
///
/// # Errors
/// What the database said.
pub async fn of_users(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    users: &[UserId],
) -> Result<HashMap<String, Decimal>, DbErr> {
    let select = Entity::find().filter(Column::UserId.is_in(users.iter().map(ToString::to_string)));
    let rows = select.filter(Column::Tenant.eq(tenant.to_string())).all(db).await?;
    Ok(rows.into_iter().map(|row| (row.user_id, row.amount.0)).collect())
}

/// The balance of a user; zero for one who never received anything.
///
/// # Errors
/// What the database said.
pub async fn of(db: &impl ConnectionTrait, tenant: TenantId, user: UserId) -> Result<Decimal, DbErr> {
    Ok(figures(db, tenant, user).await?.balance)
}
