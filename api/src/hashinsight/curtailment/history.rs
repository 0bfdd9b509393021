//! Past and present curtailment runs.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::identity::role::{Access, Module, access};
use domain::metadata::TenantId;
use projections::hosting::{curtailment_runs, curtailment_targets, sites};
use projections::{DecimalText, Paging};
use rust_decimal::Decimal;
use rust_decimal::prelude::FromPrimitive;
use sea_orm::ConnectionTrait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::plan_status;
use crate::amount::Amount;
use crate::app::App;
use crate::as_of::Lists;
use crate::auth::{Permitted, Read, module};
use crate::error::ApiError;
use crate::extract::Query;
use crate::hashinsight::crm::one_of;
use crate::hashinsight::envelope::{self, Envelope, Pagination};

const STATES: [&str; 7] =
    ["planned", "executing", "active", "restoring", "completed", "completed_with_failures", "cancelled"];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_curtailment_runs))
}

#[derive(Deserialize)]
struct HistoryQuery {
    site_id: Option<i64>,
    status: Option<String>,
    plan_id: Option<i64>,
    page: Option<u64>,
    per_page: Option<u64>,
}

#[derive(Serialize, ToSchema)]
struct HistoryOut {
    history: Vec<RunOut>,
    pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
struct RunOut {
    id: i64,
    plan_name: Option<String>,
    site_id: i64,
    site_name: Option<String>,
    strategy: String,
    strategy_id: String,
    strategy_name: String,
    execution_mode: String,
    /// `planned`, `executing`, `active`, `restoring`, `completed`, `completed_with_failures` or `cancelled`.
    status: String,
    /// The same in the words of older clients.
    plan_status: &'static str,
    target_power_reduction_kw: f64,
    expected_power_saved_kw: f64,
    /// What the miners drew that were confirmed to have stopped; null until that is known.
    actual_power_saved_kw: Option<f64>,
    miners_count: i64,
    confirmed_count: i64,
    /// Miners that did not stop, or did not start again.
    failed_count: i64,
    duration_hours: f64,
    /// These five are the plan's until the run is over, then what came true of them.
    power_saved_kwh: f64,
    cost_saved_usd: Amount,
    revenue_lost_usd: Option<Amount>,
    net_savings_usd: Option<Amount>,
    btc_lost: Option<f64>,
    cancel_reason: Option<String>,
    scheduled_start_time: DateTime<Utc>,
    scheduled_end_time: DateTime<Utc>,
    created_at: DateTime<Utc>,
    executed_at: Option<DateTime<Utc>>,
    ended_at: Option<DateTime<Utc>>,
    /// With `?plan_id=`, for those who run the site: each miner of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    miners: Option<Vec<TargetOut>>,
}

#[derive(Serialize, ToSchema)]
struct TargetOut {
    miner_id: i64,
    serial_number: String,
    power_w: f64,
    power_source: String,
    /// `pending`, `dispatched`, `confirmed`, `drifted`, `unavailable`, `released` or `restore_failed`.
    status: String,
    attempt: i64,
    /// Why it drifted, could not be told, or does not start.
    reason: Option<String>,
    updated_at: DateTime<Utc>,
}

#[utoipa::path(get, path = "/hosting/api/curtailment/history", operation_id = "list_curtailment_runs",
    params(("site_id" = Option<i64>, Query), ("status" = Option<String>, Query), ("plan_id" = Option<i64>, Query),
        ("page" = Option<u64>, Query), ("per_page" = Option<u64>, Query), ("as_of" = Option<String>, Query)),
    responses((status = 200, body = Envelope<HistoryOut>)))]
async fn list_curtailment_runs(
    lists: Lists,
    Permitted { caller, .. }: Permitted<Read<module::CurtailmentHistory>>,
    Query(query): Query<HistoryQuery>,
) -> Result<Envelope<HistoryOut>, ApiError> {
    let status = query.status.as_deref();
    if let Some(word) = status {
        one_of("status", word, STATES.contains(&word).then_some(()), STATES)?;
    }
    let paging = Paging::new(query.page, query.per_page, 20, 100);
    let db = lists.of(&["curtailment_runs", "curtailment_targets", "miners", "sites"]).await?;
    let tenant = caller.user.tenant;
    let filter =
        curtailment_runs::Filter { only_of: caller.only_of(), site_id: query.site_id, plan_id: query.plan_id, status };
    let page = curtailment_runs::list(&db, tenant, filter, paging).await?;
    let pagination = Pagination::of(&page);
    let sees_miners = access(caller.user.role, Module::CurtailmentHistory) == Access::Full;
    let mut miners = match query.plan_id.filter(|_| sees_miners) {
        Some(plan_id) => Some(targets(&db, tenant, plan_id).await?),
        None => None,
    };
    let site_ids = page.rows.iter().map(|run| run.site_id);
    let names: BTreeMap<i64, String> =
        sites::among(&db, tenant, site_ids).await?.into_iter().map(|site| (site.id, site.name)).collect();
    let shown = |run: curtailment_runs::Model| RunOut {
        site_name: names.get(&run.site_id).cloned(),
        miners: miners.take(),
        ..RunOut::from(run)
    };
    Ok(envelope::ok(HistoryOut { history: page.rows.into_iter().map(shown).collect(), pagination }))
}

async fn targets(db: &impl ConnectionTrait, tenant: TenantId, plan_id: i64) -> Result<Vec<TargetOut>, ApiError> {
    let rows = curtailment_targets::of_run(db, tenant, plan_id).await?;
    Ok(rows.into_iter().map(TargetOut::from).collect())
}

impl From<curtailment_targets::Model> for TargetOut {
    fn from(row: curtailment_targets::Model) -> Self {
        Self {
            miner_id: row.miner_id,
            serial_number: row.serial_number,
            power_w: row.power_w,
            power_source: row.power_source,
            status: row.state,
            attempt: row.attempt,
            reason: row.why,
            updated_at: row.updated_at,
        }
    }
}

/// How much of a plan came true; all of it as long as nobody can know.
struct CameTrue {
    /// Of what it saves.
    of_power: f64,
    /// Of what it loses.
    of_hashrate: f64,
}

impl CameTrue {
    /// The shares of its power and of its hashrate that stopped, for its time: a run may last longer than planned.
    fn of(run: &curtailment_runs::Model) -> Self {
        let Some(ended_at) = run.ended_at else { return Self { of_power: 1.0, of_hashrate: 1.0 } };
        let hours = run.started_at.map_or(0.0, |started_at| (ended_at - started_at).as_seconds_f64() / 3_600.0);
        let share = |of: f64, whole: f64| if whole > 0.0 { (of / whole).max(0.0) } else { 0.0 };
        let (time, power) = (
            share(hours, run.duration_hours),
            share(run.actual_reduction_kw.unwrap_or(0.0), run.expected_reduction_kw).min(1.0),
        );
        let hashrate = run.stopped_hashrate_ths.map_or(power, |stopped| share(stopped, run.hashrate_ths).min(1.0));
        Self { of_power: power * time, of_hashrate: hashrate * time }
    }
}

impl From<curtailment_runs::Model> for RunOut {
    fn from(row: curtailment_runs::Model) -> Self {
        let CameTrue { of_power, of_hashrate } = CameTrue::of(&row);
        let part = |planned: DecimalText, share: f64| {
            planned.0.saturating_mul(Decimal::from_f64(share).unwrap_or_default()).round_dp(2)
        };
        let cost_saved = part(row.cost_saved_usd, of_power);
        let revenue_lost = row.revenue_lost_usd.map(|lost| part(lost, of_hashrate));
        Self {
            plan_status: plan_status(&row.status, &row.mode),
            id: row.id,
            plan_name: row.name,
            site_id: row.site_id,
            site_name: None,
            strategy: row.strategy.clone(),
            strategy_id: row.strategy.clone(),
            strategy_name: row.strategy,
            execution_mode: row.mode,
            status: row.status,
            target_power_reduction_kw: row.target_reduction_kw,
            expected_power_saved_kw: row.expected_reduction_kw,
            actual_power_saved_kw: row.actual_reduction_kw,
            miners_count: row.target_count,
            confirmed_count: row.confirmed_count,
            failed_count: row.failed_count,
            duration_hours: row.duration_hours,
            power_saved_kwh: row.power_saved_kwh * of_power,
            cost_saved_usd: Amount(cost_saved),
            revenue_lost_usd: revenue_lost.map(Amount),
            net_savings_usd: revenue_lost.map(|lost| Amount(cost_saved.saturating_sub(lost))),
            btc_lost: row.btc_lost.map(|btc| btc * of_hashrate),
            cancel_reason: row.cancel_reason,
            scheduled_start_time: row.starts_at,
            scheduled_end_time: row.ends_at,
            created_at: row.created_at,
            executed_at: row.started_at,
            ended_at: row.ended_at,
            miners: None,
        }
    }
}
