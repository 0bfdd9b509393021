//! What became of each miner of each curtailment run: one row a target.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::hosting::curtailment_run::plan::{ExecutionMode, Plan};
use domain::hosting::curtailment_run::run::Phase;
use domain::hosting::curtailment_run::target::TargetState;
use domain::hosting::curtailment_run::{CurtailmentRun, CurtailmentRunEvent};
use domain::metadata::TenantId;
use sea_orm::entity::prelude::*;
use sea_orm::{QueryOrder, QuerySelect, QueryTrait};

use super::curtailment_runs;
use crate::projection::Projection;

/// One target.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "curtailment_targets_v1")]
pub struct Model {
    /// `<plan>/<miner>`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant: String,
    #[sea_orm(indexed)]
    pub plan_id: i64,
    pub miner_id: i64,
    pub serial_number: String,
    pub power_w: f64,
    pub power_source: String,
    /// See [`TargetState::word`].
    pub state: String,
    /// Orders of the present half of the run, from 1.
    pub attempt: i64,
    /// Why it drifted, could not be told, or does not start.
    pub why: Option<String>,
    pub updated_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct CurtailmentTargets;

impl Projection for CurtailmentTargets {
    type Entity = Entity;
    type Row = Model;
    type Key = String;
    type Event = CurtailmentRunEvent;

    const NAME: &'static str = "curtailment_targets";
    const TABLE: &'static str = "curtailment_targets_v1";
    const CONSUMES: &'static [&'static str] = &["curtailment_run"];

    fn decode(recorded: &Recorded) -> Result<Option<CurtailmentRunEvent>, DecodeError> {
        recorded.decode::<CurtailmentRun>()
    }

    fn keys(event: &CurtailmentRunEvent, recorded: &Recorded) -> Vec<String> {
        let key = |miner_id: &i64| format!("{}/{miner_id}", recorded.aggregate_id);
        match event {
            CurtailmentRunEvent::Planned { plan, .. } => {
                plan.targets.iter().map(|target| key(&target.miner_id)).collect()
            }
            CurtailmentRunEvent::TargetMoved { miner_id, .. } => vec![key(miner_id)],
            CurtailmentRunEvent::RestoreStarted { miner_ids, .. } => miner_ids.iter().map(key).collect(),
            CurtailmentRunEvent::Started { .. }
            | CurtailmentRunEvent::Activated { .. }
            | CurtailmentRunEvent::Completed
            | CurtailmentRunEvent::CompletedWithFailures { .. }
            | CurtailmentRunEvent::Cancelled { .. } => vec![],
        }
    }

    fn key(row: &Model) -> String {
        row.id.clone()
    }

    fn fold(row: Option<Model>, key: &String, event: &CurtailmentRunEvent, recorded: &Recorded) -> Option<Model> {
        let updated_at = recorded.recorded_at;
        match event {
            CurtailmentRunEvent::Planned { id, plan } => planned(key, *id, plan, recorded),
            CurtailmentRunEvent::TargetMoved { state, attempt, why, .. } => row.map(|row| Model {
                state: state.word().to_owned(),
                attempt: i64::from(*attempt),
                why: why.clone().or(row.why),
                updated_at,
                ..row
            }),
            CurtailmentRunEvent::RestoreStarted { .. } => {
                row.map(|row| Model { state: TargetState::Pending.word().to_owned(), attempt: 1, updated_at, ..row })
            }
            CurtailmentRunEvent::Started { .. }
            | CurtailmentRunEvent::Activated { .. }
            | CurtailmentRunEvent::Completed
            | CurtailmentRunEvent::CompletedWithFailures { .. }
            | CurtailmentRunEvent::Cancelled { .. } => row,
        }
    }
}

fn planned(key: &str, plan_id: i64, plan: &Plan, recorded: &Recorded) -> Option<Model> {
    let miner_id = key.rsplit_once('/').and_then(|(_, miner_id)| miner_id.parse::<i64>().ok())?;
    let target = plan.targets.iter().find(|target| target.miner_id == miner_id)?;
    Some(Model {
        id: key.to_owned(),
        tenant: recorded.tenant.to_string(),
        plan_id,
        miner_id,
        serial_number: target.serial_number.clone(),
        power_w: target.power_w,
        power_source: target.power_source.word().to_owned(),
        state: TargetState::Pending.word().to_owned(),
        attempt: 1,
        why: None,
        updated_at: recorded.recorded_at,
    })
}

/// The miners that runs which start by themselves will stop between `starts_at` and `ends_at`, each with one of those
/// runs.
///
/// # Errors
/// What the database said.
pub async fn planned_between(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    (starts_at, ends_at): (DateTime<Utc>, DateTime<Utc>),
) -> Result<BTreeMap<i64, i64>, DbErr> {
    let planned = curtailment_runs::Entity::find()
        .select_only()
        .column(curtailment_runs::Column::Id)
        .filter(curtailment_runs::Column::Tenant.eq(tenant.to_string()))
        .filter(curtailment_runs::Column::Status.eq(Phase::Planned.word()))
        .filter(curtailment_runs::Column::Mode.eq(ExecutionMode::Auto.word()))
        .filter(curtailment_runs::Column::StartsAt.lt(ends_at))
        .filter(curtailment_runs::Column::EndsAt.gt(starts_at));
    let targets = Entity::find().filter(Column::PlanId.in_subquery(planned.into_query())).all(db).await?;
    Ok(targets.into_iter().map(|target| (target.miner_id, target.plan_id)).collect())
}

/// The targets of a run in the order of their miners.
///
/// # Errors
/// What the database said.
pub async fn of_run(db: &impl ConnectionTrait, tenant: TenantId, plan_id: i64) -> Result<Vec<Model>, DbErr> {
    let targets = Entity::find().filter(Column::Tenant.eq(tenant.to_string()));
    targets.filter(Column::PlanId.eq(plan_id)).order_by_asc(Column::MinerId).all(db).await
}
