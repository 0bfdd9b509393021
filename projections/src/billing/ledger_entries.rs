//! Every entry of every balance: what changed, why, and the figures after it.

use chrono::{DateTime, Utc};
use domain::billing::balance::{Balance, BalanceEvent, Entry, Figures};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use rust_decimal::Decimal;
use sea_orm::Order;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Index, IndexCreateStatement};

use crate::decimal_text::DecimalText;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ledger_entries_v2")]
pub struct Model {
    /// Where its event stands: new rows go to the end of the table, not to a random place.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    /// The id of its event.
    pub id: String,
    pub tenant: String,
    pub user_id: String,
    /// `credit`, `hold`, `capture`, `release`, `refund` or `adjustment`.
    pub kind: String,
    pub amount: DecimalText,
    pub balance_after: DecimalText,
    /// Credits change neither of these two: nothing where they have not been told.
    pub held_after: Option<DecimalText>,
    pub spent_after: Option<DecimalText>,
    pub task_id: Option<String>,
    pub lease: Option<i64>,
    pub recharge_record_id: Option<String>,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct LedgerEntries;

impl Projection for LedgerEntries {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = BalanceEvent;

    const NAME: &'static str = "ledger_entries";
    const TABLE: &'static str = "ledger_entries_v2";
    const CONSUMES: &'static [&'static str] = &["balance"];
    const APPENDS: bool = true;

    fn decode(recorded: &Recorded) -> Result<Option<BalanceEvent>, DecodeError> {
        recorded.decode::<Balance>()
    }

    fn keys(_: &BalanceEvent, recorded: &Recorded) -> Vec<i64> {
        vec![recorded.position.cast_signed()]
    }

    fn key(row: &Model) -> i64 {
        row.position
    }

    fn fold(_: Option<Model>, _: &i64, event: &BalanceEvent, recorded: &Recorded) -> Option<Model> {
        Some(match event {
            BalanceEvent::Credited { amount, balance_after, redemption_id, .. } => Model {
                recharge_record_id: Some(redemption_id.to_string()),
                ..entry("credit", *amount, *balance_after, recorded)
            },
            BalanceEvent::Adjusted { amount, reason, after, .. } => Model {
                reason: Some(reason.clone()),
                ..after_all(entry("adjustment", *amount, after.balance, recorded), *after)
            },
            BalanceEvent::Held(of) => of_run("hold", of, recorded),
            BalanceEvent::Captured(of) => of_run("capture", of, recorded),
            BalanceEvent::Released(of) => of_run("release", of, recorded),
            BalanceEvent::Refunded(of) => of_run("refund", of, recorded),
        })
    }

    fn indexes() -> Vec<IndexCreateStatement> {
        let mut of_user = Index::create().name(format!("idx-{}-user", Self::TABLE)).table(Entity).to_owned();
        // With all that the list looks at: rows that a page passes over are not read.
        vec![of_user.col(Column::UserId).col(Column::Tenant).col(Column::Position).to_owned()]
    }
}

fn entry(kind: &str, amount: Decimal, balance_after: Decimal, recorded: &Recorded) -> Model {
    Model {
        position: recorded.position.cast_signed(),
        id: recorded.event_id.to_string(),
        tenant: recorded.tenant.to_string(),
        user_id: recorded.aggregate_id.to_string(),
        kind: kind.to_owned(),
        amount: amount.into(),
        balance_after: balance_after.into(),
        held_after: None,
        spent_after: None,
        task_id: None,
        lease: None,
        recharge_record_id: None,
        reason: None,
        created_at: recorded.recorded_at,
    }
}

fn after_all(row: Model, after: Figures) -> Model {
    Model { held_after: Some(after.held.into()), spent_after: Some(after.spent.into()), ..row }
}

fn of_run(kind: &str, of: &Entry, recorded: &Recorded) -> Model {
    Model {
        task_id: Some(of.run.task_id.to_string()),
        lease: Some(i64::from(of.run.lease)),
        ..after_all(entry(kind, of.amount, of.after.balance, recorded), of.after)
    }
}

/// The entries of one user, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    user: UserId,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let select =
        Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::UserId.eq(user.to_string()));
    page(db, select, &[(Column::Position, Order::Desc)], paging).await
}
