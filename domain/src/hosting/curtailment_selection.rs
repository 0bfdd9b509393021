//! Which miners a curtailment stops, and what that costs: pure functions of the fleet as it stands, so that a preview
//! equals the run made from it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::mining_economics::{self, Market, energy_cost_usd, energy_kwh};
use crate::refusal::{Refusal, RefusalKind};

/// Smaller consumers are not worth a stop.
pub const POWER_W_MIN: f64 = 1_500.0;
/// How long a miner is left alone after a curtailment has let go of it.
pub const COOLDOWN: TimeDelta = TimeDelta::seconds(600);
/// Differences below this come from adding up in another order, in kW.
const ROUNDING_KW: f64 = 1e-6;
/// Largest reduction one request may ask for, in kW.
pub const REDUCTION_KW_MAX: f64 = 10_000_000.0;

/// In which order miners are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Most joules a terahash first.
    EfficiencyFirst,
    /// Most watts first.
    PowerFirst,
    /// Least daily profit first.
    RevenueFirst,
    /// Hottest first.
    TemperatureFirst,
}

impl Strategy {
    /// All of them, in the order of the document.
    pub const ALL: [Self; 4] = [Self::EfficiencyFirst, Self::PowerFirst, Self::RevenueFirst, Self::TemperatureFirst];

    /// The word that requests and answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::EfficiencyFirst => "efficiency_first",
            Self::PowerFirst => "power_first",
            Self::RevenueFirst => "revenue_first",
            Self::TemperatureFirst => "temperature_first",
        }
    }

    /// The strategy of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|strategy| strategy.word() == word)
    }
}

/// Why a miner is left out, in the words of its operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exclusion {
    /// The request protects it.
    Protected,
    /// Somebody is working on it.
    Maintenance,
    /// It is stopped already.
    NotHashing,
    /// It cannot be told to stop: no address, or its maker's firmware does not take the order.
    CurtailFullUnsupported,
    /// Another run holds it.
    ActiveEvent,
    /// A run has let go of it a short while ago.
    Cooldown,
    /// It draws too little to matter.
    BelowCandidateMinPowerW,
}

impl Exclusion {
    /// The word that answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Protected => "protected",
            Self::Maintenance => "maintenance",
            Self::NotHashing => "not_hashing",
            Self::CurtailFullUnsupported => "curtail_full_unsupported",
            Self::ActiveEvent => "active_event",
            Self::Cooldown => "cooldown",
            Self::BelowCandidateMinPowerW => "below_candidate_min_power_w",
        }
    }
}

/// A miner as the selection sees it.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "one independent yes or no a reason")]
pub struct Candidate {
    pub miner_id: i64,
    pub hashrate_ths: f64,
    pub power_w: f64,
    /// The hottest chip, when it was read.
    pub temperature_c: Option<f64>,
    pub protected: bool,
    pub in_maintenance: bool,
    pub hashing: bool,
    /// It has an address and takes the orders `shutdown` and `start`.
    pub can_be_stopped: bool,
    /// The run that holds it.
    pub held_by_run: Option<i64>,
    /// When the last run let go of it.
    pub released_at: Option<DateTime<Utc>>,
}

impl Candidate {
    /// Joules a terahash; unknown without a hashrate.
    pub fn efficiency_jth(&self) -> Option<f64> {
        (self.hashrate_ths > 0.0).then(|| self.power_w / self.hashrate_ths)
    }

    /// The first reason against stopping it.
    pub fn exclusion(&self, now: DateTime<Utc>) -> Option<Exclusion> {
        let cooling = self.released_at.is_some_and(|at| now - at < COOLDOWN);
        let reasons = [
            (self.protected, Exclusion::Protected),
            (self.in_maintenance, Exclusion::Maintenance),
            (self.held_by_run.is_some(), Exclusion::ActiveEvent),
            (!self.hashing, Exclusion::NotHashing),
            (!self.can_be_stopped, Exclusion::CurtailFullUnsupported),
            (cooling, Exclusion::Cooldown),
            (self.power_w < POWER_W_MIN, Exclusion::BelowCandidateMinPowerW),
        ];
        reasons.into_iter().find_map(|(applies, reason)| applies.then_some(reason))
    }
}

/// How much is asked for. When a request names several, the first that is set counts.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Target {
    pub reduction_kw: Option<f64>,
    /// What the site may still draw.
    pub remaining_kw: Option<f64>,
    /// Share of what the site draws now.
    pub reduction_percent: Option<f64>,
}

impl Target {
    /// The reduction in kW, for a site that draws `drawn_kw`.
    ///
    /// # Errors
    /// [`SelectionError::TargetOutOfRange`] when nothing is named, or no target; [`SelectionError::NothingDrawn`] for a
    /// share of nothing.
    pub fn reduction_kw(&self, drawn_kw: f64) -> Result<f64, SelectionError> {
        let percent =
            self.reduction_percent.map(|percent| if percent <= 100.0 { drawn_kw * percent / 100.0 } else { f64::NAN });
        let remaining = self.remaining_kw.map(|kw| if kw >= 0.0 { drawn_kw - kw } else { f64::NAN });
        if self.reduction_kw.or(self.remaining_kw).is_none() && percent == Some(0.0) && drawn_kw <= 0.0 {
            return Err(SelectionError::NothingDrawn);
        }
        let reduction_kw = self.reduction_kw.or(remaining).or(percent).unwrap_or(f64::NAN);
        if reduction_kw > 0.0 && reduction_kw <= REDUCTION_KW_MAX {
            Ok(reduction_kw)
        } else {
            Err(SelectionError::TargetOutOfRange)
        }
    }
}

/// What decides about the order and the end of a selection.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rules {
    pub strategy: Strategy,
    pub reduction_kw: f64,
    /// This much less is enough.
    pub tolerance_kw: f64,
    /// Most miners to stop.
    pub miners_max: Option<usize>,
    pub electricity_usd_per_kwh: Decimal,
    pub market: Option<Market>,
}

/// The miners to stop, in the order in which they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    pub selected: Vec<Candidate>,
    pub reduction_kw: f64,
    /// How many were left out, by reason.
    pub excluded: BTreeMap<Exclusion, u32>,
}

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SelectionError {
    #[error(
        "a target is needed: a reduction above 0 and at most {REDUCTION_KW_MAX} kW, a lower power, or a percentage up to 100"
    )]
    TargetOutOfRange,
    #[error("the site draws nothing that could be reduced")]
    NothingDrawn,
    #[error("the tolerance must be at least 0 kW and below the reduction")]
    ToleranceOutOfRange,
    #[error("the strategy revenue_first needs the price of bitcoin and the difficulty of the network")]
    MarketNeeded,
    #[error("only {available_kw:.3} kW can be reduced{}", reasons(.excluded))]
    InsufficientLoad { available_kw: f64, excluded: BTreeMap<Exclusion, u32> },
}

fn reasons(excluded: &BTreeMap<Exclusion, u32>) -> String {
    let counts: Vec<_> = excluded.iter().map(|(reason, count)| format!("{}: {count}", reason.word())).collect();
    if counts.is_empty() { String::new() } else { format!("; left out: {}", counts.join(", ")) }
}

impl Refusal for SelectionError {
    fn kind(&self) -> RefusalKind {
        RefusalKind::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NothingDrawn => "curtailment.nothing_drawn",
            Self::TargetOutOfRange => "curtailment.target_out_of_range",
            Self::ToleranceOutOfRange => "curtailment.tolerance_out_of_range",
            Self::MarketNeeded => "curtailment.market_needed",
            Self::InsufficientLoad { .. } => "curtailment.insufficient_load",
        }
    }
}

/// Takes candidates in the order of the strategy until their power reaches the reduction. Equal candidates go by id;
/// those whose figure is unknown go last.
///
/// # Errors
/// [`SelectionError`] when the rules contradict each other, or all candidates together are not enough.
pub fn select(candidates: Vec<Candidate>, rules: &Rules, now: DateTime<Utc>) -> Result<Selection, SelectionError> {
    if !(rules.tolerance_kw >= 0.0 && rules.tolerance_kw < rules.reduction_kw) {
        return Err(SelectionError::ToleranceOutOfRange);
    }
    if rules.strategy == Strategy::RevenueFirst && rules.market.is_none() {
        return Err(SelectionError::MarketNeeded);
    }
    let mut excluded = BTreeMap::new();
    let mut stoppable = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        match candidate.exclusion(now) {
            Some(reason) => *excluded.entry(reason).or_default() += 1,
            None => stoppable.push(candidate),
        }
    }
    stoppable.sort_by(|a, b| order(a, b, rules).then(a.miner_id.cmp(&b.miner_id)));
    let (selected, reduction_kw) = take(stoppable, rules);
    if !reaches(reduction_kw, rules) {
        return Err(SelectionError::InsufficientLoad { available_kw: reduction_kw, excluded });
    }
    Ok(Selection { selected, reduction_kw, excluded })
}

fn take(sorted: Vec<Candidate>, rules: &Rules) -> (Vec<Candidate>, f64) {
    let mut selected = Vec::new();
    let mut reduction_w = 0.0;
    for candidate in sorted.into_iter().take(rules.miners_max.unwrap_or(usize::MAX)) {
        if reaches(reduction_w / 1_000.0, rules) {
            break;
        }
        reduction_w += candidate.power_w;
        selected.push(candidate);
    }
    (selected, reduction_w / 1_000.0)
}

fn reaches(reduction_kw: f64, rules: &Rules) -> bool {
    reduction_kw >= rules.reduction_kw - rules.tolerance_kw - ROUNDING_KW
}

fn order(a: &Candidate, b: &Candidate, rules: &Rules) -> Ordering {
    match rules.strategy {
        Strategy::EfficiencyFirst => highest_first(a.efficiency_jth(), b.efficiency_jth()),
        Strategy::PowerFirst => highest_first(Some(a.power_w), Some(b.power_w)),
        Strategy::TemperatureFirst => highest_first(a.temperature_c, b.temperature_c),
        Strategy::RevenueFirst => daily_profit_usd(a, rules.market.as_ref(), rules.electricity_usd_per_kwh)
            .cmp(&daily_profit_usd(b, rules.market.as_ref(), rules.electricity_usd_per_kwh)),
    }
}

fn highest_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// What the miner earns in a day less what its energy costs; unknown without a market.
pub fn daily_profit_usd(
    candidate: &Candidate,
    market: Option<&Market>,
    electricity_usd_per_kwh: Decimal,
) -> Option<Decimal> {
    market.map(|market| market.profit_usd_per_day(candidate.hashrate_ths, candidate.power_w, electricity_usd_per_kwh))
}

/// What a run gains and loses while it lasts. Fans, pumps and the time of ramping are not in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Economics {
    pub duration_hours: f64,
    pub electricity_usd_per_kwh: Decimal,
    /// What revenue was computed with; none when nobody gave it, and then the revenue is unknown.
    pub market: Option<Market>,
    pub power_saved_kwh: f64,
    pub cost_saved_usd: Decimal,
    pub btc_lost: Option<f64>,
    pub revenue_lost_usd: Option<Decimal>,
    /// Savings less loss.
    pub net_savings_usd: Option<Decimal>,
}

impl Economics {
    /// The sums over `selected` for `duration_hours`.
    pub fn of(
        selected: &[Candidate],
        duration_hours: f64,
        electricity_usd_per_kwh: Decimal,
        market: Option<Market>,
    ) -> Self {
        let power_w: f64 = selected.iter().map(|candidate| candidate.power_w).sum();
        let hashrate_ths: f64 = selected.iter().map(|candidate| candidate.hashrate_ths).sum();
        let power_saved_kwh = energy_kwh(power_w, duration_hours);
        let cost_saved_usd = energy_cost_usd(power_saved_kwh, electricity_usd_per_kwh);
        let btc_lost = market.map(|market| market.btc_per_day(hashrate_ths) * duration_hours / 24.0);
        let revenue_lost_usd = market
            .zip(btc_lost)
            .map(|(market, btc)| mining_economics::decimal(btc).saturating_mul(market.btc_price_usd));
        let net_savings_usd = revenue_lost_usd.map(|lost| cost_saved_usd.saturating_sub(lost));
        Self {
            duration_hours,
            electricity_usd_per_kwh,
            market,
            power_saved_kwh,
            cost_saved_usd,
            btc_lost,
            revenue_lost_usd,
            net_savings_usd,
        }
    }
}

#[cfg(test)]
mod tests;
