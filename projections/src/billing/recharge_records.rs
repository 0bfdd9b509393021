//! Who redeemed what, and when: one row a redemption.

use chrono::{DateTime, Utc};
use domain::billing::recharge_code::{RechargeCode, RechargeCodeEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::{TenantId, UserId};
use sea_orm::Order;
use sea_orm::entity::prelude::*;

use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One redemption.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recharge_records_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub user_id: String,
    pub recharge_code_id: String,
    /// Decimal, as text.
    pub amount: String,
    pub created_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct RechargeRecords;

impl Projection for RechargeRecords {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = RechargeCodeEvent;

    const NAME: &'static str = "recharge_records";
    const TABLE: &'static str = "recharge_records_v1";
    const CONSUMES: &'static [&'static str] = &["recharge_code"];

    fn decode(recorded: &Recorded) -> Result<Option<RechargeCodeEvent>, DecodeError> {
        recorded.decode::<RechargeCode>()
    }

    fn keys(event: &RechargeCodeEvent, _: &Recorded) -> Vec<String> {
        match event {
            RechargeCodeEvent::Redeemed { redemption_id, .. } => vec![redemption_id.to_string()],
            RechargeCodeEvent::Issued { .. } | RechargeCodeEvent::Deactivated { .. } => vec![],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &RechargeCodeEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            RechargeCodeEvent::Redeemed { code_id, by, amount, .. } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                user_id: by.to_string(),
                recharge_code_id: code_id.to_string(),
                amount: amount.to_string(),
                created_at: recorded.recorded_at,
                position: recorded.position.cast_signed(),
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
