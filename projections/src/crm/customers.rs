//! The customers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::crm::customer::{Customer, CustomerEvent};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use sea_orm::entity::prelude::*;
use sea_orm::{Order, QuerySelect};

use super::{Caused, Visible, caused, number, rows};
use crate::decimal_text::DecimalText;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One customer.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "customers_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub tenant: String,
    /// The actor.
    pub created_by: String,
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub company: Option<String>,
    pub address: Option<String>,
    pub customer_type: Option<String>,
    pub mining_capacity_mw: Option<f64>,
    pub electricity_cost: Option<DecimalText>,
    pub status: String,
    /// The won lead that became this customer.
    #[sea_orm(indexed)]
    pub lead_id: Option<i64>,
    pub created_at: DateTime<Utc>,
    /// Position of the event that made the row: a stable order.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Customers;

impl Projection for Customers {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = Caused<CustomerEvent>;

    const NAME: &'static str = "customers";
    const TABLE: &'static str = "customers_v1";
    const CONSUMES: &'static [&'static str] = &["customer"];

    fn decode(recorded: &Recorded) -> Result<Option<Self::Event>, DecodeError> {
        caused::<Customer>(recorded)
    }

    fn keys(_: &Self::Event, recorded: &Recorded) -> Vec<i64> {
        number(recorded)
    }

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn fold(_: Option<Model>, _: &i64, Caused { event, actor }: &Self::Event, recorded: &Recorded) -> Option<Model> {
        let CustomerEvent::Created { id, details, status, from_lead } = event.clone();
        Some(Model {
            id,
            tenant: recorded.tenant.to_string(),
            created_by: actor.clone(),
            name: details.name,
            email: details.email,
            phone: details.phone,
            company: details.company,
            address: details.address,
            customer_type: details.customer_type,
            mining_capacity_mw: details.mining_capacity_mw,
            electricity_cost: details.electricity_cost.map(DecimalText),
            status: status.as_str().to_owned(),
            lead_id: from_lead,
            created_at: recorded.recorded_at,
            position: recorded.position.cast_signed(),
        })
    }
}

/// The customers that are visible, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(db: &impl ConnectionTrait, visible: Visible, paging: Paging) -> Result<Page<Model>, DbErr> {
    let select = rows::<Entity>(visible, Column::Tenant, Column::CreatedBy);
    page(db, select, &[(Column::Position, Order::Desc)], paging).await
}

/// The customer of that number.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: i64) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// The customer that lead `lead_id` became.
///
/// # Errors
/// What the database said.
pub async fn of_lead(db: &impl ConnectionTrait, tenant: TenantId, lead_id: i64) -> Result<Option<Model>, DbErr> {
    let of_lead = Entity::find().filter(Column::LeadId.eq(lead_id));
    of_lead.filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// The names of customers of the tenant, by their numbers.
///
/// # Errors
/// What the database said.
pub async fn names(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    ids: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, String>, DbErr> {
    let select = Entity::find().select_only().columns([Column::Id, Column::Name]);
    let named = select.filter(Column::Tenant.eq(tenant.to_string())).filter(Column::Id.is_in(ids));
    Ok(named.into_tuple::<(i64, String)>().all(db).await?.into_iter().collect())
}
