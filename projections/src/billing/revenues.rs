//! What came in: the worth of all recharge codes that were redeemed, one row a tenant.

use chrono::{DateTime, Utc};
use domain::billing::recharge_code::{RechargeCode, RechargeCodeEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use rust_decimal::Decimal;
use sea_orm::entity::prelude::*;

use crate::decimal_text::DecimalText;
use crate::projection::Projection;

/// The revenue of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revenues_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant: String,
    pub amount: DecimalText,
    pub redemptions: i64,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Revenues;

impl Projection for Revenues {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = Decimal;

    const NAME: &'static str = "revenues";
    const TABLE: &'static str = "revenues_v1";
    const CONSUMES: &'static [&'static str] = &["recharge_code"];

    fn decode(recorded: &Recorded) -> Result<Option<Decimal>, DecodeError> {
        Ok(match recorded.decode::<RechargeCode>()? {
            Some(RechargeCodeEvent::Redeemed { amount, .. }) => Some(amount),
            Some(RechargeCodeEvent::Issued { .. } | RechargeCodeEvent::Deactivated { .. }) | None => None,
        })
    }

    fn keys(_: &Decimal, recorded: &Recorded) -> Vec<String> {
        vec![recorded.tenant.to_string()]
    }

    fn key(row: &Model) -> String {
        row.tenant.clone()
    }

    fn fold(row: Option<Model>, key: &String, amount: &Decimal, recorded: &Recorded) -> Option<Model> {
        let (before, redemptions) = row.map_or((Decimal::ZERO, 0), |row| (row.amount.0, row.redemptions));
        Some(Model {
            tenant: key.clone(),
            // Codes are worth a million at most: the sum stays far below what a decimal holds.
            amount: before.saturating_add(*amount).into(),
            redemptions: redemptions + 1,
            updated_at: recorded.recorded_at,
        })
    }
}

/// The revenue of `tenant`.
///
/// # Errors
/// What the database said.
pub async fn of(db: &impl ConnectionTrait, tenant: TenantId) -> Result<Decimal, DbErr> {
    let row = Entity::find_by_id(tenant.to_string()).one(db).await?;
    Ok(row.map_or(Decimal::ZERO, |row| row.amount.0))
}
