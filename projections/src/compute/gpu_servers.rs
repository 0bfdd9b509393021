//! The servers that tasks run on, and what they have. How much of it is used is not in here: their agents measure that.

use chrono::{DateTime, Utc};
use domain::compute::gpu_server::{Equipment, GpuServer, GpuServerEvent, ServerDetails};
use domain::event::{DecodeError, Recorded};
use domain::metadata::TenantId;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;
use uuid::Uuid;

use crate::decimal_text::DecimalText;
use crate::projection::Projection;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "gpu_servers_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(indexed)]
    pub tenant: String,
    pub name: String,
    pub host: String,
    pub port: i64,
    pub description: Option<String>,
    pub max_concurrent_tasks: i64,
    pub is_active: bool,
    pub online: bool,
    /// The last session of its agent.
    pub session: i64,
    /// When it last went online or offline.
    pub switched_at: Option<DateTime<Utc>>,
    /// What its agent found last; none before one said it.
    pub gpu_count: Option<i64>,
    /// GB: of the GPUs, or of the machine where there are none.
    pub memory_gb: Option<DecimalText>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct GpuServers;

impl Projection for GpuServers {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = GpuServerEvent;

    const NAME: &'static str = "gpu_servers";
    const TABLE: &'static str = "gpu_servers_v2";
    const CONSUMES: &'static [&'static str] = &["gpu_server"];

    fn decode(recorded: &Recorded) -> Result<Option<GpuServerEvent>, DecodeError> {
        recorded.decode::<GpuServer>()
    }

    fn keys(_: &GpuServerEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &GpuServerEvent, recorded: &Recorded) -> Option<Model> {
        let at = recorded.recorded_at;
        match event {
            GpuServerEvent::Registered { details, .. } => Some(described(registered(key, recorded), details)),
            GpuServerEvent::Changed { details, .. } => {
                row.map(|row| described(Model { updated_at: at, ..row }, details))
            }
            GpuServerEvent::TokenRenewed { .. } => row,
            GpuServerEvent::Online { session, equipment } => {
                let row = row.map(|row| equipped(row, *equipment));
                row.map(|row| Model { online: true, session: i64::from(*session), switched_at: Some(at), ..row })
            }
            GpuServerEvent::Offline { .. } => row.map(|row| Model { online: false, switched_at: Some(at), ..row }),
            GpuServerEvent::Removed { .. } => None,
        }
    }
}

fn registered(key: &str, recorded: &Recorded) -> Model {
    Model {
        id: key.to_owned(),
        tenant: recorded.tenant.to_string(),
        name: String::new(),
        host: String::new(),
        port: 0,
        description: None,
        max_concurrent_tasks: 0,
        is_active: false,
        online: false,
        session: 0,
        switched_at: None,
        gpu_count: None,
        memory_gb: None,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        position: recorded.position.cast_signed(),
    }
}

fn described(row: Model, details: &ServerDetails) -> Model {
    Model {
        name: details.name.clone(),
        host: details.host.clone(),
        port: i64::from(details.port),
        description: details.description.clone(),
        max_concurrent_tasks: i64::from(details.max_concurrent_tasks),
        is_active: details.is_active,
        ..row
    }
}

/// The row with what an agent found; with what was known before, when it does not say.
fn equipped(row: Model, equipment: Option<Equipment>) -> Model {
    let Some(Equipment { gpu_count, memory_gb }) = equipment else { return row };
    Model { gpu_count: Some(i64::from(gpu_count)), memory_gb: Some(memory_gb.into()), ..row }
}

/// The servers of a tenant, in the order of their registration.
///
/// # Errors
/// What the database said.
pub async fn list(db: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Model>, DbErr> {
    let of_tenant = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    of_tenant.order_by_asc(Column::Position).all(db).await
}

/// One server of a tenant.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(id.to_string()).filter(Column::Tenant.eq(tenant.to_string())).one(db).await
}

/// The tenant that a server belongs to.
///
/// # Errors
/// What the database said, or a row that does not hold a tenant.
pub async fn tenant_of(db: &impl ConnectionTrait, id: Uuid) -> Result<Option<TenantId>, DbErr> {
    let row = Entity::find_by_id(id.to_string()).one(db).await?;
    let tenant = row.map(|row| row.tenant.parse().map_err(|error| DbErr::Type(format!("tenant: {error}"))));
    Ok(tenant.transpose()?.map(TenantId))
}
