//! The organisations that the owner of the default tenant sees.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::identity::tenant::{Tenant, TenantEvent};
use domain::metadata::TenantId;
use sea_orm::Order;
use sea_orm::entity::prelude::*;

use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One organisation.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Whose row it is: the default tenant's.
    pub tenant: String,
    pub name: String,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Tenants;

impl Projection for Tenants {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = TenantEvent;

    const NAME: &'static str = "tenants";
    const TABLE: &'static str = "tenants_v1";
    const CONSUMES: &'static [&'static str] = &["tenant"];

    fn decode(recorded: &Recorded) -> Result<Option<TenantEvent>, DecodeError> {
        recorded.decode::<Tenant>()
    }

    fn keys(_: &TenantEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &TenantEvent, recorded: &Recorded) -> Option<Model> {
        match event {
            TenantEvent::Created { name } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                name: name.clone(),
                created_at: recorded.recorded_at,
                updated_at: recorded.recorded_at,
                position: recorded.position.cast_signed(),
            }),
            TenantEvent::Renamed { name } => {
                row.map(|row| Model { name: name.clone(), updated_at: recorded.recorded_at, ..row })
            }
        }
    }
}

/// Whether there is a tenant `id`. The default one is always there.
///
/// # Errors
/// What the database said.
pub async fn exists(db: &impl ConnectionTrait, id: TenantId) -> Result<bool, DbErr> {
    Ok(id == TenantId::DEFAULT || Entity::find_by_id(id.to_string()).one(db).await?.is_some())
}

/// One of the tenants that `tenant` made.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: TenantId) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// The tenants that `tenant` made, oldest first.
///
/// # Errors
/// What the database said.
pub async fn list(db: &impl ConnectionTrait, tenant: TenantId, paging: Paging) -> Result<Page<Model>, DbErr> {
    let select = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    page(db, select, &[(Column::Position, Order::Asc)], paging).await
}
