//! The deals, and what the won ones add up to.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use domain::crm::deal::{Deal, DealEvent, DealStage};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use rust_decimal::Decimal;
use sea_orm::entity::prelude::{
    ActiveModelBehavior, ColumnTrait, ConnectionTrait, DbErr, DeriveEntityModel, DerivePrimaryKey, DeriveRelation,
    EntityTrait, EnumIter, PrimaryKeyTrait, QueryFilter,
};
use sea_orm::{Order, QuerySelect, QueryTrait};

use super::{Caused, Visible, caused, number, rows};
use crate::decimal_text::DecimalText;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One deal.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "deals_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub tenant: String,
    /// The actor.
    pub created_by: String,
    pub title: String,
    #[sea_orm(indexed)]
    pub customer_id: i64,
    pub amount: DecimalText,
    pub stage: String,
    /// In percent.
    pub probability: i32,
    pub probability_by_hand: bool,
    pub expected_close: Option<NaiveDate>,
    /// The won lead that brought the deal.
    #[sea_orm(indexed)]
    pub lead_id: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Position of the event that made the row: a stable order.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Deals;

impl Projection for Deals {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = Caused<DealEvent>;

    const NAME: &'static str = "deals";
    const TABLE: &'static str = "deals_v1";
    const CONSUMES: &'static [&'static str] = &["deal"];

    fn decode(recorded: &Recorded) -> Result<Option<Self::Event>, DecodeError> {
        caused::<Deal>(recorded)
    }

    fn keys(_: &Self::Event, recorded: &Recorded) -> Vec<i64> {
        number(recorded)
    }

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn fold(row: Option<Model>, _: &i64, caused: &Self::Event, recorded: &Recorded) -> Option<Model> {
        let updated = row.map(|row| Model { updated_at: recorded.recorded_at, ..row });
        match &caused.event {
            DealEvent::Created { .. } => created(caused, recorded).or(updated),
            DealEvent::Changed { title, amount, expected_close } => updated.map(|mut row| {
                row.title = title.clone().unwrap_or(row.title);
                row.amount = amount.map_or(row.amount, DecimalText);
                expected_close.apply_to(&mut row.expected_close);
                row
            }),
            DealEvent::ProbabilityChanged { probability, by_hand } => {
                updated.map(|row| Model { probability: i32::from(*probability), probability_by_hand: *by_hand, ..row })
            }
            DealEvent::StageChanged { to, probability, .. } => {
                updated.map(|row| Model { stage: to.to_string(), probability: i32::from(*probability), ..row })
            }
        }
    }
}

fn created(Caused { event, actor }: &Caused<DealEvent>, recorded: &Recorded) -> Option<Model> {
    let DealEvent::Created { id, details, stage, probability, probability_by_hand, from_lead } = event else {
        return None;
    };
    Some(Model {
        id: *id,
        tenant: recorded.tenant.to_string(),
        created_by: actor.clone(),
        title: details.title.clone(),
        customer_id: details.customer_id,
        amount: details.amount.into(),
        stage: stage.to_string(),
        probability: i32::from(*probability),
        probability_by_hand: *probability_by_hand,
        expected_close: details.expected_close,
        lead_id: *from_lead,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        position: recorded.position.cast_signed(),
    })
}

/// Which deals a list shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Only those of these customers.
    pub only_of: Option<&'a [i64]>,
    pub stage: Option<DealStage>,
    pub customer_id: Option<i64>,
}

/// The deals that are visible, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    visible: Visible,
    filter: Filter<'_>,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let select = rows::<Entity>(visible, Column::Tenant, Column::CreatedBy)
        .apply_if(filter.stage, |select, stage| select.filter(Column::Stage.eq(stage.as_str())))
        .apply_if(filter.customer_id, |select, customer| select.filter(Column::CustomerId.eq(customer)))
        .apply_if(filter.only_of, |select, of| select.filter(Column::CustomerId.is_in(of.iter().copied())));
    page(db, select, &[(Column::Position, Order::Desc)], paging).await
}

/// The deal of that number.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: i64) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// The deal that lead `lead_id` brought.
///
/// # Errors
/// What the database said.
pub async fn of_lead(db: &impl ConnectionTrait, tenant: TenantId, lead_id: i64) -> Result<Option<Model>, DbErr> {
    let of_lead = Entity::find().filter(Column::LeadId.eq(lead_id));
    of_lead.filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// What the won deals of each of these customers add up to; customers without one are left out.
///
/// # Errors
/// What the database said, or a row that does not hold a decimal.
pub async fn revenue(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    customers: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, Decimal>, DbErr> {
    let won = Entity::find()
        .select_only()
        .columns([Column::CustomerId, Column::Amount])
        .filter(Column::Tenant.eq(tenant.to_string()))
        .filter(Column::CustomerId.is_in(customers))
        .filter(Column::Stage.eq(DealStage::Won.as_str()));
    let mut revenue: BTreeMap<i64, Decimal> = BTreeMap::new();
    for (customer, amount) in won.into_tuple::<(i64, DecimalText)>().all(db).await? {
        let sum = revenue.entry(customer).or_default();
        *sum = sum.saturating_add(amount.0);
    }
    Ok(revenue)
}
