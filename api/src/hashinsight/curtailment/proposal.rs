//! Which miners of a site a curtailment would stop now, and what that would gain and lose.

use std::collections::BTreeMap;

use domain::hosting::curtailment_run::plan::{Plan, TARGETS_MAX};
use domain::hosting::curtailment_run::target::PlannedTarget;
use domain::hosting::curtailment_selection::{
    self as selection, Candidate, Economics, Exclusion, Rules, Selection, SelectionError,
};
use domain::hosting::miner::registration::FigureSource;
use domain::hosting::miner_order::MinerOrder;
use domain::hosting::mining_economics::shown_usd;
use domain::hosting::model_catalogue;
use domain::metadata::TenantId;
use domain::refusal::Refusal;
use projections::crm::customers;
use projections::hosting::{curtailment_targets, miners, sites};
use serde::Serialize;
use utoipa::ToSchema;

use super::request::{CurtailmentBody, Schedule};
use crate::amount::Amount;
use crate::app::Server;
use crate::error::ApiError;
use crate::hashinsight::miners::{hashrate, model_name, power};
use crate::hashinsight::sites::known_site;

/// Most miners of one site that are looked at.
const MINERS_MAX: u64 = 20_000;

/// What a run would do.
pub(super) struct Proposal {
    site: sites::Model,
    rules: Rules,
    /// What the site draws now.
    drawn_kw: f64,
    selection: Selection,
    economics: Economics,
    rows: BTreeMap<i64, miners::Model>,
}

impl Proposal {
    /// The proposal for `body`, for a run at these `times`.
    pub(super) async fn of(
        app: &Server,
        tenant: TenantId,
        body: &CurtailmentBody,
        times: &Schedule,
    ) -> Result<Self, ApiError> {
        let site = known_site(app, tenant, body.site_id()?).await?;
        let models = app.models.read().await;
        let rows = miners::of_site(models, tenant, site.id, MINERS_MAX).await?;
        // The first of two runs to end would start the miners that the other one still wants stopped.
        let planned = curtailment_targets::planned_between(models, tenant, (times.starts_at, times.ends_at)).await?;
        let drawn_kw = rows.iter().filter(|row| row.hashing).filter_map(|row| power(row).0).sum::<f64>() / 1_000.0;
        let rules = Rules {
            strategy: body.strategy()?,
            reduction_kw: body.target().reduction_kw(drawn_kw).map_err(refused)?,
            tolerance_kw: body.tolerance_kw(),
            miners_max: body.miners_max()?,
            electricity_usd_per_kwh: body.electricity(site.electricity_usd_per_kwh)?,
            market: body.market()?,
        };
        let protected = body.protected()?;
        let candidates = rows.iter().map(|row| candidate(row, &planned, protected(row))).collect();
        let selection = selection::select(candidates, &rules, app.clock().now()).map_err(refused)?;
        if selection.selected.len() > TARGETS_MAX {
            return Err(ApiError::field("target_reduction_kw", format!("takes more than {TARGETS_MAX} miners")));
        }
        let economics = Economics::of(&selection.selected, times.hours(), rules.electricity_usd_per_kwh, rules.market);
        let rows = rows.into_iter().map(|row| (row.id, row)).collect();
        Ok(Self { site, rules, drawn_kw, selection, economics, rows })
    }

    /// The plan of a run that does it.
    pub(super) fn plan(&self, times: Schedule, attempts_max: u32) -> Plan {
        Plan {
            site_id: self.site.id,
            name: times.name,
            strategy: self.rules.strategy,
            mode: times.mode,
            target_reduction_kw: self.rules.reduction_kw,
            expected_reduction_kw: self.selection.reduction_kw,
            targets: self.selected().map(|(candidate, row)| self.target(candidate, row)).collect(),
            excluded: self.selection.excluded.clone(),
            economics: self.economics.clone(),
            starts_at: times.starts_at,
            ends_at: times.ends_at,
            attempts_max,
        }
    }

    fn selected(&self) -> impl Iterator<Item = (&Candidate, &miners::Model)> {
        self.selection.selected.iter().filter_map(|candidate| Some((candidate, self.rows.get(&candidate.miner_id)?)))
    }

    fn daily_profit(&self, candidate: &Candidate) -> Option<rust_decimal::Decimal> {
        selection::daily_profit_usd(candidate, self.rules.market.as_ref(), self.rules.electricity_usd_per_kwh)
    }

    fn target(&self, candidate: &Candidate, row: &miners::Model) -> PlannedTarget {
        PlannedTarget {
            miner_id: candidate.miner_id,
            serial_number: row.serial_number.clone(),
            model_id: row.model_id,
            customer_id: row.customer_id,
            hashrate_ths: candidate.hashrate_ths,
            power_w: candidate.power_w,
            power_source: power_source(row),
            daily_profit_usd: self.daily_profit(candidate),
        }
    }
}

fn candidate(row: &miners::Model, planned: &BTreeMap<i64, i64>, protected: bool) -> Candidate {
    let maker = model_catalogue::by_id(row.model_id).map(|model| model.maker);
    let takes = |order: &MinerOrder| maker.is_some_and(|maker| maker.takes(order));
    Candidate {
        miner_id: row.id,
        hashrate_ths: hashrate(row).0.unwrap_or(0.0),
        power_w: power(row).0.unwrap_or(0.0),
        temperature_c: row.temperature_max_c,
        protected,
        in_maintenance: row.in_maintenance,
        hashing: row.hashing,
        can_be_stopped: row.ip_address.is_some() && takes(&MinerOrder::Shutdown) && takes(&MinerOrder::Start),
        held_by_run: row.held_by_run.or_else(|| planned.get(&row.id).copied()),
        released_at: row.released_at,
    }
}

fn power_source(row: &miners::Model) -> FigureSource {
    let sources = [FigureSource::Firmware, FigureSource::Override, FigureSource::Nameplate];
    let word = power(row).1;
    sources.into_iter().find(|source| Some(source.word()) == word.as_deref()).unwrap_or(FigureSource::Nameplate)
}

fn refused(error: SelectionError) -> ApiError {
    let refused = ApiError::new(error.kind().into(), error.code(), error.to_string());
    match error {
        SelectionError::InsufficientLoad { available_kw, excluded } => refused
            .with("reason", "insufficient_load")
            .with("available_kw", available_kw)
            .with("excluded", counted(&excluded).into_iter().collect::<serde_json::Map<_, _>>()),
        SelectionError::TargetOutOfRange
        | SelectionError::NothingDrawn
        | SelectionError::ToleranceOutOfRange
        | SelectionError::MarketNeeded => refused,
    }
}

fn counted(excluded: &BTreeMap<Exclusion, u32>) -> BTreeMap<String, serde_json::Value> {
    excluded.iter().map(|(reason, count)| (reason.word().to_owned(), (*count).into())).collect()
}

/// A proposal as answers show it.
#[derive(Serialize, ToSchema)]
pub(super) struct PlanOut {
    site_id: i64,
    site_name: String,
    strategy: &'static str,
    current_power_kw: f64,
    target_reduction_kw: f64,
    /// What the selected miners draw, in kW.
    actual_reduction_kw: f64,
    total_power_saved: f64,
    total_miners_affected: usize,
    selected_miners: Vec<SelectedOut>,
    affected_customers: Vec<AffectedCustomerOut>,
    economic_impact: ImpactOut,
    /// How many miners were left out, by reason.
    excluded: BTreeMap<String, serde_json::Value>,
    notes: Vec<&'static str>,
}

#[derive(Serialize, ToSchema)]
struct SelectedOut {
    miner_id: i64,
    serial_number: String,
    model: &'static str,
    power_kw: f64,
    power_w: f64,
    /// `firmware`, `override` or `nameplate`.
    power_source: &'static str,
    hashrate_ths: f64,
    efficiency_jth: Option<f64>,
    temperature_max: Option<f64>,
    /// Revenue less energy in a day, in US dollars; null when the market was not given.
    daily_profit_loss: Option<Amount>,
    /// The price of electricity above which this miner is better off: US dollars per megawatt-hour.
    strike_price_per_mwh: Option<Amount>,
    customer_id: Option<i64>,
}

#[derive(Default, Serialize, ToSchema)]
struct AffectedCustomerOut {
    customer_id: i64,
    customer_name: Option<String>,
    miners_affected: usize,
    power_reduction_kw: f64,
}

#[derive(Serialize, ToSchema)]
struct ImpactOut {
    duration_hours: f64,
    electricity_rate: Amount,
    power_saved_kwh: f64,
    cost_saved_usd: Amount,
    btc_lost: Option<f64>,
    revenue_lost_usd: Option<Amount>,
    net_savings_usd: Option<Amount>,
    affected_customers_count: usize,
    miners_shutdown_count: usize,
}

impl PlanOut {
    /// `proposal` with the names of the customers that it affects.
    pub(super) async fn of(app: &Server, tenant: TenantId, proposal: &Proposal) -> Result<Self, ApiError> {
        let mut affected: BTreeMap<i64, AffectedCustomerOut> = BTreeMap::new();
        for (candidate, row) in proposal.selected() {
            let Some(customer_id) = row.customer_id else { continue };
            let customer = affected
                .entry(customer_id)
                .or_insert_with(|| AffectedCustomerOut { customer_id, ..AffectedCustomerOut::default() });
            customer.miners_affected += 1;
            customer.power_reduction_kw += candidate.power_w / 1_000.0;
        }
        let mut names = customers::names(app.models.read().await, tenant, affected.keys().copied()).await?;
        let name = |customer: AffectedCustomerOut| AffectedCustomerOut {
            customer_name: names.remove(&customer.customer_id),
            ..customer
        };
        let affected_customers: Vec<_> = affected.into_values().map(name).collect();
        let selected_miners: Vec<_> = proposal.selected().map(|(it, row)| selected(proposal, it, row)).collect();
        Ok(Self {
            site_id: proposal.site.id,
            site_name: proposal.site.name.clone(),
            strategy: proposal.rules.strategy.word(),
            current_power_kw: proposal.drawn_kw,
            target_reduction_kw: proposal.rules.reduction_kw,
            actual_reduction_kw: proposal.selection.reduction_kw,
            total_power_saved: proposal.selection.reduction_kw,
            total_miners_affected: selected_miners.len(),
            economic_impact: impact(&proposal.economics, affected_customers.len(), selected_miners.len()),
            selected_miners,
            affected_customers,
            excluded: counted(&proposal.selection.excluded),
            notes: notes(proposal),
        })
    }
}

fn selected(proposal: &Proposal, candidate: &Candidate, row: &miners::Model) -> SelectedOut {
    let market = proposal.rules.market;
    let usd = |amount| Amount(shown_usd(amount));
    SelectedOut {
        miner_id: candidate.miner_id,
        serial_number: row.serial_number.clone(),
        model: model_name(row.model_id),
        power_kw: candidate.power_w / 1_000.0,
        power_w: candidate.power_w,
        power_source: power_source(row).word(),
        hashrate_ths: candidate.hashrate_ths,
        efficiency_jth: candidate.efficiency_jth(),
        temperature_max: candidate.temperature_c,
        daily_profit_loss: proposal.daily_profit(candidate).map(usd),
        strike_price_per_mwh: market
            .and_then(|market| market.strike_usd_per_mwh(candidate.hashrate_ths, candidate.power_w))
            .map(usd),
        customer_id: row.customer_id,
    }
}

fn impact(economics: &Economics, affected_customers_count: usize, miners_shutdown_count: usize) -> ImpactOut {
    let usd = |amount| Amount(shown_usd(amount));
    ImpactOut {
        duration_hours: economics.duration_hours,
        electricity_rate: Amount(economics.electricity_usd_per_kwh),
        power_saved_kwh: economics.power_saved_kwh,
        cost_saved_usd: usd(economics.cost_saved_usd),
        btc_lost: economics.btc_lost,
        revenue_lost_usd: economics.revenue_lost_usd.map(usd),
        net_savings_usd: economics.net_savings_usd.map(usd),
        affected_customers_count,
        miners_shutdown_count,
    }
}

/// What the figures leave out.
fn notes(proposal: &Proposal) -> Vec<&'static str> {
    let unread = proposal.selected().any(|(_, row)| power_source(row) != FigureSource::Firmware);
    let notes = [
        (true, "Fans, pumps and the time of ramping down and up are not in these figures."),
        (unread, "Power that the firmware does not report is the registered or nameplate figure, about 5 % off."),
        (
            proposal.rules.market.is_none(),
            "Lost revenue is unknown: btc_price and network_difficulty were not both given.",
        ),
    ];
    notes.into_iter().filter_map(|(applies, note)| applies.then_some(note)).collect()
}
