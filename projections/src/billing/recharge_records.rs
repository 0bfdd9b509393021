//! Who redeemed what, and when: one row a redemption.

use chrono::{DateTime, Utc};
use domain::billing::recharge_code::{RechargeCode, RechargeCodeEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::Order;
use sea_orm::entity::prelude::*;

use crate::decimal_text::DecimalText;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One redemption.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recharge_records_v2")]
pub struct Model {
    /// Where its event stands: new rows go to the end of the table, not to a random place.
    #[sea_orm(primary_key, auto_increment = false)]
    pub position: i64,
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    pub recharge_code_id: String,
    pub amount: DecimalText,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct RechargeRecords;

impl Projection for RechargeRecords {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = RechargeCodeEvent;

    const NAME: &'static str = "recharge_records";
    const TABLE: &'static str = "recharge_records_v2";
    const CONSUMES: &'static [&'static str] = &["recharge_code"];
    const APPENDS: bool = true;

    fn decode(recorded: &Recorded) -> Result<Option<RechargeCodeEvent>, DecodeError> {
        recorded.decode::<RechargeCode>()
    }

    fn keys(event: &RechargeCodeEvent, recorded: &Recorded) -> Vec<i64> {
        match event {
            RechargeCodeEvent::Redeemed { .. } => vec![recorded.position.cast_signed()],
            RechargeCodeEvent::Issued { .. } | RechargeCodeEvent::Deactivated { .. } => vec![],
        }
    }

    fn key(row: &Model) -> i64 {
        row.position
    }

    fn fold(row: Option<Model>, position: &i64, event: &RechargeCodeEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            RechargeCodeEvent::Redeemed { code_id, redemption_id, by, amount, .. } => Some(Model {
                position: *position,
                id: redemption_id.to_string(),
                tenant: recorded.tenant.to_string(),
                user_id: by.to_string(),
                recharge_code_id: code_id.to_string(),
                amount: (*amount).into(),
                created_at: recorded.recorded_at,
            }),
            RechargeCodeEvent::Issued { .. } | RechargeCodeEvent::Deactivated { .. } => row,
        }
    }
}

/// The redemptions of one user, newest first.
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
