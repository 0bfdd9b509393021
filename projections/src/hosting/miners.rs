//! The miners of a tenant, with what was last read of each and what it was last told.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::hosting::curtailment_run::target::TargetState;
use domain::hosting::curtailment_run::{CurtailmentRun, CurtailmentRunEvent};
use domain::hosting::miner::{Miner, MinerEvent};
use domain::hosting::miner_command::{MinerCommand, MinerCommandEvent, Observation};
use domain::metadata::TenantId;
use sea_orm::entity::prelude::*;
use sea_orm::{Order, QueryOrder, QuerySelect};

use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One miner.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "miners_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub tenant: String,
    pub serial_number: String,
    pub model_id: i64,
    #[sea_orm(indexed)]
    pub site_id: i64,
    #[sea_orm(indexed)]
    pub customer_id: Option<i64>,
    pub ip_address: Option<String>,
    pub location_slot: Option<String>,
    /// As registered.
    pub hashrate_ths: f64,
    pub hashrate_source: String,
    /// As registered.
    pub power_w: f64,
    pub power_source: String,
    /// As last read, where the firmware says it.
    pub read_hashrate_ths: Option<f64>,
    pub read_power_w: Option<f64>,
    pub temperature_max_c: Option<f64>,
    /// When it was last read.
    pub last_seen: Option<DateTime<Utc>>,
    /// As far as commands have shown.
    pub hashing: bool,
    pub in_maintenance: bool,
    /// The curtailment run that holds it.
    pub held_by_run: Option<i64>,
    /// When a curtailment run last let go of it.
    pub released_at: Option<DateTime<Utc>>,
    pub last_command_id: Option<String>,
    /// `requested`, `dispatched`, `confirmed`, `drifted` or `failed`.
    pub last_command_state: Option<String>,
    /// Why it drifted or failed.
    pub last_command_why: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct Miners;

/// What it understands of the log.
#[derive(Debug)]
pub enum Change {
    Miner(MinerEvent),
    Command(MinerCommandEvent),
    Run(CurtailmentRunEvent),
}

impl Projection for Miners {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = Change;

    const NAME: &'static str = "miners";
    const TABLE: &'static str = "miners_v2";
    const CONSUMES: &'static [&'static str] = &["miner", "miner_command", "curtailment_run"];

    fn decode(recorded: &Recorded) -> Result<Option<Change>, DecodeError> {
        if let Some(event) = recorded.decode::<Miner>()? {
            return Ok(Some(Change::Miner(event)));
        }
        if let Some(event) = recorded.decode::<MinerCommand>()? {
            return Ok(Some(Change::Command(event)));
        }
        Ok(recorded.decode::<CurtailmentRun>()?.map(Change::Run))
    }

    fn keys(event: &Change, recorded: &Recorded) -> Vec<i64> {
        match event {
            Change::Miner(_) => recorded.aggregate_id.parse().into_iter().collect(),
            Change::Command(event) => vec![told(event)],
            Change::Run(
                CurtailmentRunEvent::Started { miner_ids } | CurtailmentRunEvent::RestoreStarted { miner_ids, .. },
            ) => miner_ids.clone(),
            Change::Run(CurtailmentRunEvent::TargetMoved { miner_id, .. }) => vec![*miner_id],
            Change::Run(
                CurtailmentRunEvent::Planned { .. }
                | CurtailmentRunEvent::Activated { .. }
                | CurtailmentRunEvent::Completed
                | CurtailmentRunEvent::CompletedWithFailures { .. }
                | CurtailmentRunEvent::Cancelled { .. },
            ) => vec![],
        }
    }

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn fold(row: Option<Model>, _: &i64, event: &Change, recorded: &Recorded) -> Option<Model> {
        match event {
            Change::Miner(event) => of_miner(row, event, recorded),
            Change::Command(event) => row.map(|row| of_command(row, event, recorded)),
            Change::Run(event) => row.map(|row| of_run(row, event, recorded)),
        }
    }
}

fn told(event: &MinerCommandEvent) -> i64 {
    match event {
        MinerCommandEvent::Requested { miner_id, .. }
        | MinerCommandEvent::Dispatched { miner_id, .. }
        | MinerCommandEvent::Confirmed { miner_id, .. }
        | MinerCommandEvent::Drifted { miner_id, .. }
        | MinerCommandEvent::Failed { miner_id, .. } => *miner_id,
    }
}

fn of_miner(row: Option<Model>, event: &MinerEvent, recorded: &Recorded) -> Option<Model> {
    let updated_at = recorded.recorded_at;
    match event {
        MinerEvent::Registered {
            id,
            serial_number,
            model_id,
            site_id,
            customer_id,
            ip_address,
            location_slot,
            hashrate_ths,
            hashrate_source,
            power_w,
            power_source,
        } => Some(Model {
            id: *id,
            tenant: recorded.tenant.to_string(),
            serial_number: serial_number.clone(),
            model_id: *model_id,
            site_id: *site_id,
            customer_id: *customer_id,
            ip_address: ip_address.map(|address| address.to_string()),
            location_slot: location_slot.clone(),
            hashrate_ths: *hashrate_ths,
            hashrate_source: hashrate_source.word().to_owned(),
            power_w: *power_w,
            power_source: power_source.word().to_owned(),
            read_hashrate_ths: None,
            read_power_w: None,
            temperature_max_c: None,
            last_seen: None,
            hashing: true,
            in_maintenance: false,
            held_by_run: None,
            released_at: None,
            last_command_id: None,
            last_command_state: None,
            last_command_why: None,
            created_at: updated_at,
            updated_at,
        }),
        MinerEvent::PowerChanged { hashing, .. } => row.map(|row| Model { hashing: *hashing, updated_at, ..row }),
        MinerEvent::MaintenanceBegan => row.map(|row| Model { in_maintenance: true, updated_at, ..row }),
        MinerEvent::MaintenanceEnded => row.map(|row| Model { in_maintenance: false, updated_at, ..row }),
    }
}

fn of_command(row: Model, event: &MinerCommandEvent, recorded: &Recorded) -> Model {
    let (state, why, observation) = match event {
        MinerCommandEvent::Requested { .. } => ("requested", None, None),
        MinerCommandEvent::Dispatched { before, .. } => ("dispatched", None, before.as_ref()),
        MinerCommandEvent::Confirmed { observation, .. } => ("confirmed", None, Some(observation)),
        MinerCommandEvent::Drifted { why, observation, .. } => ("drifted", Some(why.clone()), Some(observation)),
        MinerCommandEvent::Failed { why, .. } => ("failed", Some(why.clone()), None),
    };
    let row = Model {
        last_command_id: Some(recorded.aggregate_id.to_string()),
        last_command_state: Some(state.to_owned()),
        last_command_why: why,
        updated_at: recorded.recorded_at,
        ..row
    };
    match observation {
        Some(observation) => observed(row, observation),
        None => row,
    }
}

fn observed(row: Model, observation: &Observation) -> Model {
    Model {
        read_hashrate_ths: observation.hashrate_ths,
        read_power_w: observation.power_w,
        temperature_max_c: observation.temperature_max_c,
        last_seen: Some(observation.read_at),
        ..row
    }
}

/// Plans may overlap. A miner stays with the run that has it, which alone lets go of it.
fn of_run(row: Model, event: &CurtailmentRunEvent, recorded: &Recorded) -> Model {
    let run = recorded.aggregate_id.parse().ok();
    if row.held_by_run.is_some() && row.held_by_run != run {
        return row;
    }
    match event {
        CurtailmentRunEvent::Started { .. } | CurtailmentRunEvent::RestoreStarted { .. } => {
            Model { held_by_run: run, updated_at: recorded.recorded_at, ..row }
        }
        CurtailmentRunEvent::TargetMoved { state, .. } => match state {
            TargetState::Pending | TargetState::Dispatched | TargetState::Confirmed | TargetState::Drifted => row,
            TargetState::Unavailable => Model { held_by_run: None, updated_at: recorded.recorded_at, ..row },
            TargetState::Released | TargetState::RestoreFailed => Model {
                held_by_run: None,
                released_at: Some(recorded.recorded_at),
                updated_at: recorded.recorded_at,
                ..row
            },
        },
        CurtailmentRunEvent::Planned { .. }
        | CurtailmentRunEvent::Activated { .. }
        | CurtailmentRunEvent::Completed
        | CurtailmentRunEvent::CompletedWithFailures { .. }
        | CurtailmentRunEvent::Cancelled { .. } => row,
    }
}

/// What a miner does, as lists are filtered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MinerStatus {
    Active,
    Inactive,
    Maintenance,
}

impl MinerStatus {
    /// The word that requests and answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Maintenance => "maintenance",
        }
    }

    /// The status of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Active, Self::Inactive, Self::Maintenance].into_iter().find(|status| status.word() == word)
    }
}

impl Model {
    /// What it does.
    pub fn status(&self) -> MinerStatus {
        match (self.in_maintenance, self.hashing) {
            (true, _) => MinerStatus::Maintenance,
            (false, true) => MinerStatus::Active,
            (false, false) => MinerStatus::Inactive,
        }
    }
}

/// Which miners of a tenant a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only those of these customers.
    pub only_of: Option<&'a [i64]>,
    pub site_id: Option<i64>,
    pub customer_id: Option<i64>,
    pub model_id: Option<i64>,
    pub status: Option<MinerStatus>,
}

fn matching(tenant: TenantId, filter: Filter<'_>) -> Select<Entity> {
    let mut select = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    for (column, wanted) in
        [(Column::SiteId, filter.site_id), (Column::CustomerId, filter.customer_id), (Column::ModelId, filter.model_id)]
    {
        if let Some(wanted) = wanted {
            select = select.filter(column.eq(wanted));
        }
    }
    if let Some(customers) = filter.only_of {
        select = select.filter(Column::CustomerId.is_in(customers.iter().copied()));
    }
    match filter.status {
        None => select,
        Some(MinerStatus::Maintenance) => select.filter(Column::InMaintenance.eq(true)),
        Some(status) => {
            select.filter(Column::InMaintenance.eq(false)).filter(Column::Hashing.eq(status == MinerStatus::Active))
        }
    }
}

/// The miners of a tenant in the order in which they were registered.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    filter: Filter<'_>,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    page(db, matching(tenant, filter), &[(Column::Id, Order::Asc)], paging).await
}

/// How many miners match.
///
/// # Errors
/// What the database said.
pub async fn count(db: &impl ConnectionTrait, tenant: TenantId, filter: Filter<'_>) -> Result<u64, DbErr> {
    matching(tenant, filter).count(db).await
}

/// All miners of a site in the order in which they were registered, at most `limit`.
///
/// # Errors
/// What the database said.
pub async fn of_site(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    site_id: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let filter = Filter { site_id: Some(site_id), ..Filter::default() };
    matching(tenant, filter).order_by_asc(Column::Id).limit(limit).all(db).await
}

/// One miner of a tenant.
///
/// # Errors
/// What the database said.
pub async fn find(db: &impl ConnectionTrait, tenant: TenantId, id: i64) -> Result<Option<Model>, DbErr> {
    find_among(db, tenant, Filter::default(), id).await
}

/// One miner of those that match.
///
/// # Errors
/// What the database said.
pub async fn find_among(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    filter: Filter<'_>,
    id: i64,
) -> Result<Option<Model>, DbErr> {
    matching(tenant, filter).filter(Column::Id.eq(id)).one(db).await
}

/// How many miners each of these customers has, by customer; those who have none are left out.
///
/// # Errors
/// What the database said.
pub async fn count_by_customer(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    customers: impl IntoIterator<Item = i64>,
) -> Result<BTreeMap<i64, i64>, DbErr> {
    let counted = Entity::find()
        .select_only()
        .column(Column::CustomerId)
        .column_as(Column::Id.count(), "miners")
        .filter(Column::Tenant.eq(tenant.to_string()))
        .filter(Column::CustomerId.is_in(customers))
        .group_by(Column::CustomerId);
    Ok(counted.into_tuple::<(i64, i64)>().all(db).await?.into_iter().collect())
}
