//! What miners were told to do, and what became of it: one row an order.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::hosting::miner_command::{MinerCommand, MinerCommandEvent};
use domain::hosting::miner_order::MinerOrder;
use domain::metadata::TenantId;
use sea_orm::Order;
use sea_orm::entity::prelude::*;

use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "miner_commands_v1")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    #[sea_orm(indexed)]
    pub tenant: String,
    #[sea_orm(indexed)]
    pub miner_id: i64,
    /// See [`MinerOrder::name`].
    pub command: String,
    /// Set for `set_pool`: one `url worker` a line.
    pub pools: Option<String>,
    /// Set for `set_fan`, unless the fans go back to automatic.
    pub fan_percent: Option<i32>,
    pub address: String,
    /// The curtailment run that it belongs to.
    pub plan_id: Option<i64>,
    /// `requested`, `dispatched`, `confirmed`, `drifted` or `failed`.
    pub state: String,
    /// Whether the miner had acknowledged when it was dispatched.
    pub acknowledged: Option<bool>,
    /// Tries until it was dispatched.
    pub tries: Option<i64>,
    /// The word of the failure.
    pub reason: Option<String>,
    /// Why it drifted or failed.
    pub why: Option<String>,
    pub requested_by: Option<String>,
    pub requested_at: DateTime<Utc>,
    pub dispatched_at: Option<DateTime<Utc>>,
    pub settled_at: Option<DateTime<Utc>>,
    /// Position of the event that made the row: a stable order.
    pub position: i64,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct MinerCommands;

impl Projection for MinerCommands {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = MinerCommandEvent;

    const NAME: &'static str = "miner_commands";
    const TABLE: &'static str = "miner_commands_v1";
    const CONSUMES: &'static [&'static str] = &["miner_command"];

    fn decode(recorded: &Recorded) -> Result<Option<MinerCommandEvent>, DecodeError> {
        recorded.decode::<MinerCommand>()
    }

    fn keys(_: &MinerCommandEvent, recorded: &Recorded) -> Vec<String> {
        vec![recorded.aggregate_id.to_string()]
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &MinerCommandEvent, recorded: &Recorded) -> Option<Model> {
        let settled_at = Some(recorded.recorded_at);
        match event {
            MinerCommandEvent::Requested { miner_id, order, address, requested_by, run } => Some(Model {
                id: key.clone(),
                tenant: recorded.tenant.to_string(),
                miner_id: *miner_id,
                command: order.name().to_owned(),
                pools: pools(order),
                fan_percent: fan_percent(order),
                address: address.to_string(),
                plan_id: run.map(|run| run.plan_id),
                state: "requested".to_owned(),
                acknowledged: None,
                tries: None,
                reason: None,
                why: None,
                requested_by: requested_by.map(|user| user.to_string()),
                requested_at: recorded.recorded_at,
                dispatched_at: None,
                settled_at: None,
                position: recorded.position.cast_signed(),
            }),
            MinerCommandEvent::Dispatched { acknowledged, tries, .. } => row.map(|row| Model {
                state: "dispatched".to_owned(),
                acknowledged: Some(*acknowledged),
                tries: Some(i64::from(*tries)),
                dispatched_at: Some(recorded.recorded_at),
                ..row
            }),
            MinerCommandEvent::Confirmed { .. } => {
                row.map(|row| Model { state: "confirmed".to_owned(), settled_at, ..row })
            }
            MinerCommandEvent::Drifted { why, .. } => {
                row.map(|row| Model { state: "drifted".to_owned(), why: Some(why.clone()), settled_at, ..row })
            }
            MinerCommandEvent::Failed { reason, why, .. } => row.map(|row| Model {
                state: "failed".to_owned(),
                reason: Some(reason.word().to_owned()),
                why: Some(why.clone()),
                settled_at,
                ..row
            }),
        }
    }
}

fn pools(order: &MinerOrder) -> Option<String> {
    match order {
        MinerOrder::SetPool { pools } => {
            let lines: Vec<_> = pools.iter().map(|pool| format!("{} {}", pool.url, pool.worker)).collect();
            Some(lines.join("\n"))
        }
        MinerOrder::Restart | MinerOrder::Shutdown | MinerOrder::Start | MinerOrder::SetFan { .. } => None,
    }
}

fn fan_percent(order: &MinerOrder) -> Option<i32> {
    match order {
        MinerOrder::SetFan { speed_percent } => speed_percent.map(i32::from),
        MinerOrder::Restart | MinerOrder::Shutdown | MinerOrder::Start | MinerOrder::SetPool { .. } => None,
    }
}

/// The orders to one miner, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    miner_id: i64,
    state: Option<&str>,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let mut select = Entity::find().filter(Column::Tenant.eq(tenant.to_string())).filter(Column::MinerId.eq(miner_id));
    if let Some(state) = state {
        select = select.filter(Column::State.eq(state));
    }
    page(db, select, &[(Column::Position, Order::Desc)], paging).await
}
