//! How clients write what is to be curtailed: by the document's names, and by those of older clients.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use domain::hosting::curtailment_run::plan::ExecutionMode;
use domain::hosting::curtailment_selection::{Strategy, Target};
use domain::hosting::mining_economics::{BLOCK_REWARD_BTC, Market};
use domain::hosting::site;
use projections::DecimalText;
use projections::hosting::miners;
use rust_decimal::Decimal;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::amount::Amount;
use crate::error::ApiError;
use crate::extract::time::{YEAR_MAX, of_four_digits};
use crate::hashinsight::crm::{one_of, text};

const MODES: [ExecutionMode; 3] = [ExecutionMode::Auto, ExecutionMode::SemiAuto, ExecutionMode::Manual];
/// Longest run, in hours.
const HOURS_MAX: f64 = 744.0;
const HOURS_DEFAULT: f64 = 24.0;
/// Most miners that one request may protect.
const PROTECTED_MAX: usize = 10_000;

/// What is to be curtailed. Of several targets the first counts: a reduction, a remaining power, a percentage.
#[derive(Deserialize, ToSchema)]
pub(super) struct CurtailmentBody {
    /// Needed unless `plan_id` is given.
    site_id: Option<i64>,
    #[serde(alias = "target_power_reduction_kw")]
    target_reduction_kw: Option<f64>,
    /// What the site may still draw.
    target_power_kw: Option<f64>,
    /// Share of what the site draws now.
    target_reduction_pct: Option<f64>,
    /// `efficiency_first` when missing.
    #[serde(alias = "strategy_id")]
    strategy: Option<StrategyWord>,
    /// In US dollars per kilowatt-hour; that of the site when missing.
    #[serde(alias = "electricity_price")]
    electricity_rate: Option<Amount>,
    /// In US dollars. Revenue is known only together with `network_difficulty`.
    btc_price: Option<Amount>,
    #[serde(alias = "difficulty")]
    network_difficulty: Option<f64>,
    /// Subsidy and average fees of a block, in BTC; 3.125 when missing.
    block_reward: Option<f64>,
    duration_hours: Option<f64>,
    /// This much less than the target is enough.
    tolerance_kw: Option<f64>,
    #[serde(alias = "max_miners")]
    max_miners_to_curtail: Option<usize>,
    /// Miners that are left alone, by id or serial number.
    #[serde(default)]
    exclude_miner_ids: Vec<MinerRef>,
    /// For `execute`: a plan that waits for its start; nothing else is needed then.
    pub(super) plan_id: Option<i64>,
    /// For `execute`: `auto` (starts and ends by itself), `semi_auto` (ends by itself) or `manual`.
    execution_mode: Option<String>,
    plan_name: Option<String>,
    /// Now when missing.
    #[serde(default, deserialize_with = "of_four_digits")]
    scheduled_start_time: Option<DateTime<Utc>>,
    /// `duration_hours` after the start when missing.
    #[serde(default, deserialize_with = "of_four_digits")]
    scheduled_end_time: Option<DateTime<Utc>>,
}

/// The word of a strategy, or its place in the list of strategies.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(untagged)]
enum StrategyWord {
    Word(String),
    Place(usize),
}

/// A miner as a request names it.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
enum MinerRef {
    Id(i64),
    SerialNumber(String),
}

impl MinerRef {
    fn word(&self) -> String {
        match self {
            Self::Id(id) => id.to_string(),
            Self::SerialNumber(number) => number.trim().to_lowercase(),
        }
    }
}

/// When a plan starts and ends, and who starts it.
pub(super) struct Schedule {
    pub(super) mode: ExecutionMode,
    pub(super) name: Option<String>,
    pub(super) starts_at: DateTime<Utc>,
    pub(super) ends_at: DateTime<Utc>,
}

impl Schedule {
    /// How long the run lasts.
    pub(super) fn hours(&self) -> f64 {
        (self.ends_at - self.starts_at).to_std().map_or(0.0, |lasts| lasts.as_secs_f64() / 3_600.0)
    }
}

impl CurtailmentBody {
    pub(super) fn site_id(&self) -> Result<i64, ApiError> {
        self.site_id.ok_or_else(|| ApiError::field("site_id", "is needed"))
    }

    /// When the run starts and ends.
    pub(super) fn schedule(&self, now: DateTime<Utc>) -> Result<Schedule, ApiError> {
        let mode = self.execution_mode.as_deref().map_or(Ok(ExecutionMode::Auto), |word| {
            one_of("execution_mode", word, ExecutionMode::of_word(word), MODES.map(ExecutionMode::word))
        })?;
        let starts_at = self.scheduled_start_time.unwrap_or(now);
        let lasts = Duration::try_from_secs_f64(self.hours()? * 3_600.0).ok();
        let lasts = lasts.and_then(|lasts| TimeDelta::from_std(lasts).ok()).unwrap_or_default();
        let ends_at = self.scheduled_end_time.or_else(|| starts_at.checked_add_signed(lasts));
        match ends_at.filter(|ends_at| *ends_at > starts_at && *ends_at > now) {
            Some(ends_at) if ends_at.year() > YEAR_MAX => Err(ApiError::field(
                "scheduled_start_time",
                "lies so far ahead that the run would end after the year 9999",
            )),
            Some(ends_at) => Ok(Schedule { mode, name: text(self.plan_name.clone()), starts_at, ends_at }),
            None if self.scheduled_end_time.is_none() => {
                Err(ApiError::field("scheduled_start_time", "lies so far back that the run would be over"))
            }
            None => Err(ApiError::field("scheduled_end_time", "must be after the start and in the future")),
        }
    }

    pub(super) fn hours(&self) -> Result<f64, ApiError> {
        let hours = self.duration_hours.unwrap_or(HOURS_DEFAULT);
        if hours > 0.0 && hours <= HOURS_MAX {
            Ok(hours)
        } else {
            Err(ApiError::field("duration_hours", format!("must be above 0 and at most {HOURS_MAX}")))
        }
    }

    pub(super) fn target(&self) -> Target {
        Target {
            reduction_kw: self.target_reduction_kw,
            remaining_kw: self.target_power_kw,
            reduction_percent: self.target_reduction_pct,
        }
    }

    pub(super) fn strategy(&self) -> Result<Strategy, ApiError> {
        let words = Strategy::ALL.map(Strategy::word);
        match &self.strategy {
            None => Ok(Strategy::EfficiencyFirst),
            Some(StrategyWord::Word(word)) => one_of("strategy", word, Strategy::of_word(word), words),
            Some(StrategyWord::Place(place)) => {
                let strategy = place.checked_sub(1).and_then(|index| Strategy::ALL.get(index).copied());
                one_of("strategy", &place.to_string(), strategy, words)
            }
        }
    }

    pub(super) fn tolerance_kw(&self) -> f64 {
        self.tolerance_kw.unwrap_or(0.0)
    }

    pub(super) fn miners_max(&self) -> Result<Option<usize>, ApiError> {
        if self.max_miners_to_curtail == Some(0) {
            return Err(ApiError::field("max_miners_to_curtail", "must be at least 1"));
        }
        Ok(self.max_miners_to_curtail)
    }

    /// The price of electricity: the request's, else the site's.
    pub(super) fn electricity(&self, of_site: Option<DecimalText>) -> Result<Decimal, ApiError> {
        let limit = site::ELECTRICITY_USD_PER_KWH_MAX;
        match self.electricity_rate.map(|rate| rate.0).or(of_site.map(|rate| rate.0)) {
            Some(rate) if site::rate_fits(rate) => Ok(rate),
            Some(_) => Err(ApiError::field("electricity_rate", format!("must be from 0 to {limit} USD/kWh"))),
            None => Err(ApiError::field("electricity_rate", "is needed: the site has none")),
        }
    }

    /// What mining pays, when the request says it.
    pub(super) fn market(&self) -> Result<Option<Market>, ApiError> {
        let Some((price, difficulty)) = self.btc_price.zip(self.network_difficulty) else { return Ok(None) };
        let block_reward_btc = self.block_reward.unwrap_or(BLOCK_REWARD_BTC);
        let market = Market { btc_price_usd: price.0, difficulty, block_reward_btc };
        if market.is_plausible() {
            Ok(Some(market))
        } else {
            Err(ApiError::field("btc_price", "price, difficulty and block reward must be above 0 and plausible"))
        }
    }

    /// Which miners the request protects.
    pub(super) fn protected(&self) -> Result<impl Fn(&miners::Model) -> bool, ApiError> {
        if self.exclude_miner_ids.len() > PROTECTED_MAX {
            return Err(ApiError::field("exclude_miner_ids", format!("lists more than {PROTECTED_MAX} miners")));
        }
        // Serial numbers differ by more than case, and ids are sent as texts, too.
        let refs: BTreeSet<String> = self.exclude_miner_ids.iter().map(MinerRef::word).collect();
        Ok(move |row: &miners::Model| {
            refs.contains(&row.id.to_string()) || refs.contains(&row.serial_number.to_lowercase())
        })
    }
}
