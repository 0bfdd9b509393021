//! The curtailment runs of a tenant, from plan to end.

use chrono::{DateTime, Utc};
use domain::event::{DecodeError, Recorded};
use domain::hosting::curtailment_run::plan::Plan;
use domain::hosting::curtailment_run::run::Phase;
use domain::hosting::curtailment_run::{CurtailmentRun, CurtailmentRunEvent, RestoreCause};
use domain::metadata::TenantId;
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SelectStatement;
use sea_orm::{Order, QuerySelect, QueryTrait};

use super::{curtailment_targets, miners};
use crate::decimal_text::DecimalText;
use crate::page::{Page, Paging, page};
use crate::projection::Projection;

/// One run.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "curtailment_runs_v2")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i64,
    #[sea_orm(indexed)]
    pub tenant: String,
    pub site_id: i64,
    pub name: Option<String>,
    /// See [`domain::hosting::curtailment_selection::Strategy::word`].
    pub strategy: String,
    /// See [`domain::hosting::curtailment_run::plan::ExecutionMode::word`].
    pub mode: String,
    /// See [`Phase::word`].
    pub status: String,
    pub target_reduction_kw: f64,
    pub expected_reduction_kw: f64,
    /// What the confirmed targets drew; known once the run is active.
    pub actual_reduction_kw: Option<f64>,
    /// What the targets mine together.
    pub hashrate_ths: f64,
    /// What the confirmed targets mined; unknown before the run is active, and of runs of earlier versions.
    pub stopped_hashrate_ths: Option<f64>,
    pub target_count: i64,
    /// Targets that were confirmed to have stopped.
    pub confirmed_count: i64,
    /// Targets that did not stop, or did not start again.
    pub failed_count: i64,
    pub duration_hours: f64,
    pub power_saved_kwh: f64,
    pub cost_saved_usd: DecimalText,
    pub revenue_lost_usd: Option<DecimalText>,
    pub net_savings_usd: Option<DecimalText>,
    pub btc_lost: Option<f64>,
    pub cancel_reason: Option<String>,
    pub starts_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// The projection.
pub struct CurtailmentRuns;

impl Projection for CurtailmentRuns {
    type Entity = Entity;
    type Row = Model;
    type Key = i64;
    type Event = CurtailmentRunEvent;

    const NAME: &'static str = "curtailment_runs";
    const TABLE: &'static str = "curtailment_runs_v2";
    const CONSUMES: &'static [&'static str] = &["curtailment_run"];

    fn decode(recorded: &Recorded) -> Result<Option<CurtailmentRunEvent>, DecodeError> {
        recorded.decode::<CurtailmentRun>()
    }

    fn keys(event: &CurtailmentRunEvent, recorded: &Recorded) -> Vec<i64> {
        match event {
            CurtailmentRunEvent::TargetMoved { .. } => vec![],
            CurtailmentRunEvent::Planned { .. }
            | CurtailmentRunEvent::Started { .. }
            | CurtailmentRunEvent::Activated { .. }
            | CurtailmentRunEvent::RestoreStarted { .. }
            | CurtailmentRunEvent::Completed
            | CurtailmentRunEvent::CompletedWithFailures { .. }
            | CurtailmentRunEvent::Cancelled { .. } => recorded.aggregate_id.parse().into_iter().collect(),
        }
    }

    fn key(row: &Model) -> i64 {
        row.id
    }

    fn fold(row: Option<Model>, _: &i64, event: &CurtailmentRunEvent, recorded: &Recorded) -> Option<Model> {
        let at = recorded.recorded_at;
        match event {
            CurtailmentRunEvent::Planned { id, plan } => Some(planned(*id, plan, recorded)),
            CurtailmentRunEvent::Started { .. } => {
                row.map(|row| Model { started_at: Some(at), ..in_phase(row, Phase::Executing) })
            }
            CurtailmentRunEvent::Activated { reduction_kw, hashrate_ths, confirmed, failed } => row.map(|row| Model {
                actual_reduction_kw: Some(*reduction_kw),
                stopped_hashrate_ths: *hashrate_ths,
                confirmed_count: i64::from(*confirmed),
                failed_count: i64::from(*failed),
                ..in_phase(row, Phase::Active)
            }),
            CurtailmentRunEvent::RestoreStarted { cause, .. } => {
                row.map(|row| Model { cancel_reason: reason(cause), ..in_phase(row, Phase::Restoring) })
            }
            CurtailmentRunEvent::Completed => {
                row.map(|row| Model { ended_at: Some(at), ..in_phase(row, Phase::Completed) })
            }
            CurtailmentRunEvent::CompletedWithFailures { failures } => row.map(|row| Model {
                actual_reduction_kw: row.actual_reduction_kw.or(Some(0.0)),
                failed_count: i64::from(*failures),
                ended_at: Some(at),
                ..in_phase(row, Phase::CompletedWithFailures)
            }),
            CurtailmentRunEvent::Cancelled { reason, failures } => row.map(|row| Model {
                failed_count: row.failed_count.max(i64::from(*failures)),
                cancel_reason: reason.clone(),
                ended_at: Some(at),
                ..in_phase(row, Phase::Cancelled)
            }),
            CurtailmentRunEvent::TargetMoved { .. } => row,
        }
    }
}

fn planned(id: i64, plan: &Plan, recorded: &Recorded) -> Model {
    Model {
        id,
        tenant: recorded.tenant.to_string(),
        site_id: plan.site_id,
        name: plan.name.clone(),
        strategy: plan.strategy.word().to_owned(),
        mode: plan.mode.word().to_owned(),
        status: Phase::Planned.word().to_owned(),
        target_reduction_kw: plan.target_reduction_kw,
        expected_reduction_kw: plan.expected_reduction_kw,
        actual_reduction_kw: None,
        hashrate_ths: plan.targets.iter().map(|target| target.hashrate_ths).sum(),
        stopped_hashrate_ths: None,
        target_count: i64::try_from(plan.targets.len()).unwrap_or(i64::MAX),
        confirmed_count: 0,
        failed_count: 0,
        duration_hours: plan.economics.duration_hours,
        power_saved_kwh: plan.economics.power_saved_kwh,
        cost_saved_usd: plan.economics.cost_saved_usd.into(),
        revenue_lost_usd: plan.economics.revenue_lost_usd.map(DecimalText),
        net_savings_usd: plan.economics.net_savings_usd.map(DecimalText),
        btc_lost: plan.economics.btc_lost,
        cancel_reason: None,
        starts_at: plan.starts_at,
        ends_at: plan.ends_at,
        created_at: recorded.recorded_at,
        started_at: None,
        ended_at: None,
    }
}

fn in_phase(row: Model, phase: Phase) -> Model {
    Model { status: phase.word().to_owned(), ..row }
}

fn reason(cause: &RestoreCause) -> Option<String> {
    match cause {
        RestoreCause::Ended => None,
        RestoreCause::Cancelled { reason } => reason.clone(),
    }
}

/// Which runs of a tenant a list shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only those that were about miners of these customers.
    pub only_of: Option<&'a [i64]>,
    pub site_id: Option<i64>,
    pub plan_id: Option<i64>,
    pub status: Option<&'a str>,
}

/// The runs of a tenant, newest first.
///
/// # Errors
/// What the database said.
pub async fn list(
    db: &impl ConnectionTrait,
    tenant: TenantId,
    filter: Filter<'_>,
    paging: Paging,
) -> Result<Page<Model>, DbErr> {
    let select = Entity::find()
        .filter(Column::Tenant.eq(tenant.to_string()))
        .apply_if(filter.site_id, |select, id| select.filter(Column::SiteId.eq(id)))
        .apply_if(filter.plan_id, |select, id| select.filter(Column::Id.eq(id)))
        .apply_if(filter.status, |select, status| select.filter(Column::Status.eq(status)))
        .apply_if(filter.only_of, |select, of| select.filter(Column::Id.in_subquery(plans_about(of))));
    page(db, select, &[(Column::Id, Order::Desc)], paging).await
}

fn plans_about(customers: &[i64]) -> SelectStatement {
    let theirs = miners::Entity::find()
        .select_only()
        .column(miners::Column::Id)
        .filter(miners::Column::CustomerId.is_in(customers.iter().copied()));
    curtailment_targets::Entity::find()
        .select_only()
        .column(curtailment_targets::Column::PlanId)
        .filter(curtailment_targets::Column::MinerId.in_subquery(theirs.into_query()))
        .into_query()
}
