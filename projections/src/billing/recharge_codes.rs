//! The recharge codes that administrators see. The codes themselves are nowhere; rows show their first characters.

use chrono::{DateTime, Utc};
use domain::billing::recharge_code::{RechargeCode, RechargeCodeEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use sea_orm::entity::prelude::*;
use sea_orm::{Order, sea_query::Condition};
use uuid::Uuid;

use crate::decimal_text::DecimalText;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One code.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recharge_codes_v1")]
pub struct Model {
    /// The keyed hash that names the stream.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The id that administrators see.
    #[sea_orm(indexed)]
    pub code_id: String,
    #[sea_orm(indexed)]
    pub tenant: String,
    pub prefix: String,
    pub amount: DecimalText,
    pub description: Option<String>,
    pub expires_at: Option<DateTime<Utc>>,
    pub max_uses: i64,
    pub used_count: i64,
    pub is_active: bool,
    pub created_by: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Position of the event that made the row: a stable order.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection. Rows are found by the hash that names the stream.
pub struct RechargeCodes;

impl Projection for RechargeCodes {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = RechargeCodeEvent;

    const NAME: &'static str = "recharge_codes";
    const TABLE: &'static str = "recharge_codes_v1";
    const CONSUMES: &'static [&'static str] = &["recharge_code"];

    fn decode(recorded: &Recorded) -> Result<Option<RechargeCodeEvent>, DecodeError> {
        recorded.decode::<RechargeCode>()
    }

    fn keys(_: &RechargeCodeEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &RechargeCodeEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            RechargeCodeEvent::Issued { code_id, prefix, amount, description, expires_at, max_uses, issued_by } => {
                Some(Model {
                    id: key.clone(),
                    code_id: code_id.to_string(),
                    tenant: recorded.tenant.to_string(),
                    prefix: prefix.clone(),
                    amount: (*amount).into(),
                    description: description.clone(),
                    expires_at: *expires_at,
                    max_uses: i64::from(*max_uses),
                    used_count: 0,
                    is_active: true,
                    created_by: issued_by.to_string(),
                    created_at: recorded.recorded_at,
                    updated_at: recorded.recorded_at,
                    position: recorded.position.cast_signed(),
                })
            }
            RechargeCodeEvent::Redeemed { use_number, .. } => {
                row.map(|row| Model { used_count: i64::from(*use_number), updated_at: recorded.recorded_at, ..row })
            }
            RechargeCodeEvent::Deactivated { .. } => {
                row.map(|row| Model { is_active: false, updated_at: recorded.recorded_at, ..row })
            }
        }
    }
}

/// The code of `tenant` with the id that administrators see.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, code_id: Uuid) -> Result<Option<Model>, DbErr> {
    let select = Entity::find().filter(Column::CodeId.eq(code_id.to_string()));
    select.filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// What a code can still do, as lists are filtered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeStatus {
    /// Can be redeemed.
    Active,
    /// Every use is spent.
    Used,
    /// Its time has passed with uses left.
    Expired,
    /// Deactivated with uses left.
    Inactive,
}

/// The codes of a tenant, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    status: Option<CodeStatus>,
    now: DateTime<Utc>,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let mut select = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    if let Some(status) = status {
        select = select.filter(matching(status, now));
    }
    page(db, select, &[(Column::Position, Order::Desc)], paging).await
}

fn matching(status: CodeStatus, now: DateTime<Utc>) -> Condition {
    let has_uses = Expr::col(Column::UsedCount).lt(Expr::col(Column::MaxUses));
    let live = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now));
    match status {
        CodeStatus::Used => Condition::all().add(has_uses.not()),
        CodeStatus::Inactive => Condition::all().add(has_uses).add(Column::IsActive.eq(false)),
        CodeStatus::Expired => {
            Condition::all().add(has_uses).add(Column::IsActive.eq(true)).add(Column::ExpiresAt.lte(now))
        }
        CodeStatus::Active => Condition::all().add(has_uses).add(Column::IsActive.eq(true)).add(live),
    }
}
