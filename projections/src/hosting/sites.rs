//! The sites of a tenant, with the sums over the miners that stand on them.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::hosting::miner::{Miner, MinerEvent};
use domain::hosting::site::{Site, SiteDetails, SiteEvent, SiteStatus};
use domain::metadata::TenantId;
use sea_orm::QueryOrder;
use sea_orm::entity::prelude::*;

use crate::decimal_text::DecimalText;
use crate::projection::Projection;

/// One site.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "sites_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub tenant: String,
    pub slug: String,
    pub name: String,
    pub location: String,
    /// See [`SiteStatus::word`].
    pub status: String,
    pub capacity_mw: f64,
    pub electricity_usd_per_kwh: Option<DecimalText>,
    pub operator_name: Option<String>,
    pub contact_email: Option<String>,
    /// Miners that stand here.
    pub device_count: i64,
    /// Those of them that hash, as far as commands have shown.
    pub active_devices: i64,
    /// What the active ones draw by the figures they were registered with.
    pub used_power_w: f64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    /// Sequence of the site's last event: the version of the resource.
    pub version: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Sites;

/// What it understands of the log.
#[derive(Debug)]
pub enum Change {
    Site(SiteEvent),
    Miner(MinerEvent),
}

impl Projection for Sites {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = Change;

    const NAME: &'static str = "sites";
    const TABLE: &'static str = "sites_v2";
    const CONSUMES: &'static [&'static str] = &["site", "miner"];

    fn decode(recorded: &Recorded) -> Result<Option<Change>, DecodeError> {
        match recorded.decode::<Site>()? {
            Some(event) => Ok(Some(Change::Site(event))),
            None => Ok(recorded.decode::<Miner>()?.map(Change::Miner)),
        }
    }

    fn keys(event: &Change, recorded: &Recorded) -> Vec<i64> {
        match event {
            Change::Site(_) => recorded.aggregate_id.parse().into_iter().collect(),
            Change::Miner(MinerEvent::Registered { site_id, .. } | MinerEvent::PowerChanged { site_id, .. }) => {
                vec![*site_id]
            }
            Change::Miner(MinerEvent::MaintenanceBegan | MinerEvent::MaintenanceEnded) => vec![],
        }
    }

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn fold(row: Option<Model>, _: &i64, event: &Change, recorded: &Recorded) -> Option<Model> {
        match event {
            Change::Site(SiteEvent::Created { id, slug, details }) => Some(created(*id, slug, details, recorded)),
            Change::Site(SiteEvent::Changed { details }) => row.map(|row| described(changed(row, recorded), details)),
            Change::Site(SiteEvent::StatusChanged { status }) => {
                row.map(|row| Model { status: status.word().to_owned(), ..changed(row, recorded) })
            }
            Change::Miner(event) => row.map(|row| with_miner(row, event)),
        }
    }
}

fn created(id: i64, slug: &str, details: &SiteDetails, recorded: &Recorded) -> Model {
    let bare = Model {
        id,
        tenant: recorded.tenant.to_string(),
        slug: slug.to_owned(),
        name: String::new(),
        location: String::new(),
        status: SiteStatus::Offline.word().to_owned(),
        capacity_mw: 0.0,
        electricity_usd_per_kwh: None,
        operator_name: None,
        contact_email: None,
        device_count: 0,
        active_devices: 0,
        used_power_w: 0.0,
        created_at: recorded.recorded_at,
        updated_at: recorded.recorded_at,
        version: recorded.sequence.cast_signed(),
    };
    described(bare, details)
}

fn changed(row: Model, recorded: &Recorded) -> Model {
    Model { updated_at: recorded.recorded_at, version: recorded.sequence.cast_signed(), ..row }
}

fn described(row: Model, details: &SiteDetails) -> Model {
    Model {
        name: details.name.clone(),
        location: details.location.clone(),
        capacity_mw: details.capacity_mw,
        electricity_usd_per_kwh: details.electricity_usd_per_kwh.map(DecimalText),
        operator_name: details.operator_name.clone(),
        contact_email: details.contact_email.clone(),
        ..row
    }
}

fn with_miner(row: Model, event: &MinerEvent) -> Model {
    match event {
        MinerEvent::Registered { power_w, .. } => Model {
            device_count: row.device_count + 1,
            active_devices: row.active_devices + 1,
            used_power_w: row.used_power_w + power_w,
            ..row
        },
        MinerEvent::PowerChanged { hashing: true, power_w, .. } => {
            Model { active_devices: row.active_devices + 1, used_power_w: row.used_power_w + power_w, ..row }
        }
        MinerEvent::PowerChanged { hashing: false, power_w, .. } => {
            Model { active_devices: row.active_devices - 1, used_power_w: row.used_power_w - power_w, ..row }
        }
        MinerEvent::MaintenanceBegan | MinerEvent::MaintenanceEnded => row,
    }
}

fn of_tenant(tenant: TenantId) -> Select<Entity> {
    Entity::find().filter(Column::Tenant.eq(tenant.to_string()))
}

/// The sites of a tenant in the order in which they were created.
///
/// # Errors
/// What the database said.
pub async fn list(db: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<Model>, DbErr> {
    of_tenant(tenant).order_by_asc(Column::Id).all(db).await
}

/// One site of a tenant.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: i64) -> Result<Option<Model>, DbErr> {
    of_tenant(tenant).filter(Column::Id.eq(id)).one(db).await
}

/// Those of the named sites that the tenant has.
///
/// # Errors
/// What the database said.
pub async fn among(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    ids: impl IntoIterator<Item = i64>,
) -> Result<Vec<Model>, DbErr> {
    of_tenant(tenant).filter(Column::Id.is_in(ids)).all(db).await
}
