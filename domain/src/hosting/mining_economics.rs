//! What a hashrate earns and what its power costs. Physics in `f64`, money in `Decimal`, rounded only where it is
//! shown.
//!
//! Sources: M. Rosenfeld, "Analysis of Bitcoin Pooled Mining Reward Systems" (expected reward of a hashrate); the
//! strike price is the break-even price of electricity of one machine.

use rust_decimal::prelude::FromPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

const SECONDS_A_DAY: f64 = 86_400.0;
const HOURS_A_DAY: f64 = 24.0;
const HASHES_A_TERAHASH: f64 = 1e12;
/// Hashes a block of difficulty 1 needs on average.
const HASHES_A_DIFFICULTY: f64 = 4_294_967_296.0;

/// The reward of a block without fees, from height 840,000 to 1,049,999, in BTC.
pub const BLOCK_REWARD_BTC: f64 = 3.125;
/// Highest price of a bitcoin that is taken for one, in USD.
pub const BTC_PRICE_USD_MAX: Decimal = Decimal::from_parts(1_000_000_000, 0, 0, false, 0);
/// Highest difficulty that is taken for one.
pub const DIFFICULTY_MAX: f64 = 1e18;

/// What mining pays at a moment. It is given by whoever asks, never assumed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Market {
    pub btc_price_usd: Decimal,
    /// Difficulty of the network.
    pub difficulty: f64,
    /// Subsidy and average fees of a block, in BTC.
    pub block_reward_btc: f64,
}

impl Market {
    /// Whether the figures can be meant: finite, above zero, within the limits of this module.
    pub fn is_plausible(&self) -> bool {
        self.btc_price_usd > Decimal::ZERO
            && self.btc_price_usd <= BTC_PRICE_USD_MAX
            && (1.0..=DIFFICULTY_MAX).contains(&self.difficulty)
            && self.block_reward_btc > 0.0
            && self.block_reward_btc <= 50.0
    }

    /// Expected BTC of `hashrate_ths` in a day: `86400 · H · 10¹² / (D · 2³²) · R`.
    pub fn btc_per_day(&self, hashrate_ths: f64) -> f64 {
        SECONDS_A_DAY * hashrate_ths * HASHES_A_TERAHASH / (self.difficulty * HASHES_A_DIFFICULTY)
            * self.block_reward_btc
    }

    /// Expected USD of `hashrate_ths` in a day.
    pub fn revenue_usd_per_day(&self, hashrate_ths: f64) -> Decimal {
        decimal(self.btc_per_day(hashrate_ths)).saturating_mul(self.btc_price_usd)
    }

    /// Revenue less energy of one machine in a day, in USD.
    pub fn profit_usd_per_day(&self, hashrate_ths: f64, power_w: f64, electricity_usd_per_kwh: Decimal) -> Decimal {
        let cost = energy_cost_usd(energy_kwh(power_w, HOURS_A_DAY), electricity_usd_per_kwh);
        self.revenue_usd_per_day(hashrate_ths).saturating_sub(cost)
    }

    /// The price of electricity, in USD a megawatt hour, above which the machine costs more than it earns; none without power.
    pub fn strike_usd_per_mwh(&self, hashrate_ths: f64, power_w: f64) -> Option<Decimal> {
        let energy_mwh = decimal(energy_kwh(power_w, HOURS_A_DAY) / 1_000.0);
        self.revenue_usd_per_day(hashrate_ths).checked_div(energy_mwh)
    }
}

/// What `power_w` draws in `hours`, in kWh.
pub fn energy_kwh(power_w: f64, hours: f64) -> f64 {
    power_w * hours / 1_000.0
}

/// What that energy costs, in USD.
pub fn energy_cost_usd(energy_kwh: f64, electricity_usd_per_kwh: Decimal) -> Decimal {
    decimal(energy_kwh).saturating_mul(electricity_usd_per_kwh)
}

/// Money as it is shown: two decimals, half to even.
pub fn shown_usd(amount: Decimal) -> Decimal {
    amount.round_dp_with_strategy(2, RoundingStrategy::MidpointNearestEven)
}

/// The decimal next to a finite measurement; zero for what no decimal can hold.
pub fn decimal(measurement: f64) -> Decimal {
    Decimal::from_f64(measurement).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use rust_decimal::prelude::ToPrimitive;

    use super::*;

    fn market() -> Market {
        Market { btc_price_usd: Decimal::from(45_000), difficulty: 75e12, block_reward_btc: BLOCK_REWARD_BTC }
    }

    #[track_caller]
    fn near(found: f64, wanted: f64) {
        assert!((found / wanted - 1.0).abs() < 1e-9, "{found} is not {wanted}");
    }

    /// Golden numbers: 200 TH/s at 3,550 W, difficulty 75e12, 3.125 BTC a block, 45,000 USD, 0.05 USD/kWh.
    #[test]
    fn a_day_of_200_terahash() {
        let rate = Decimal::new(5, 2);
        near(market().btc_per_day(200.0), 0.000_167_638_063_431);
        near(market().revenue_usd_per_day(200.0).to_f64().unwrap(), 7.543_712_854_4);
        near(energy_kwh(3_550.0, 24.0), 85.2);
        assert_eq!(shown_usd(energy_cost_usd(85.2, rate)), Decimal::new(426, 2));
        near(market().profit_usd_per_day(200.0, 3_550.0, rate).to_f64().unwrap(), 3.283_712_854_4);
        near(market().strike_usd_per_mwh(200.0, 3_550.0).unwrap().to_f64().unwrap(), 88.541_230_685);
    }

    /// Hashprice is what a petahash earns in a day.
    #[test]
    fn hashprice() {
        near(market().revenue_usd_per_day(1_000.0).to_f64().unwrap(), 37.718_564_272);
    }

    #[test]
    fn strike_prices_by_model() {
        let strike = |ths, w| shown_usd(market().strike_usd_per_mwh(ths, w).unwrap());
        assert_eq!(strike(95.0, 3_250.0), Decimal::new(4_594, 2));
        assert_eq!(strike(200.0, 3_500.0), Decimal::new(8_981, 2));
        assert_eq!(strike(270.0, 3_645.0), Decimal::new(11_642, 2));
        assert_eq!(market().strike_usd_per_mwh(200.0, 0.0), None);
    }

    #[test]
    fn impossible_markets_are_not_plausible() {
        assert!(market().is_plausible());
        for difficulty in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e19] {
            assert!(!Market { difficulty, ..market() }.is_plausible());
        }
        assert!(!Market { btc_price_usd: Decimal::ZERO, ..market() }.is_plausible());
        assert!(!Market { block_reward_btc: f64::NAN, ..market() }.is_plausible());
    }

    #[test]
    fn money_is_rounded_half_to_even() {
        assert_eq!(shown_usd(Decimal::new(1_125, 3)), Decimal::new(112, 2));
        assert_eq!(shown_usd(Decimal::new(1_135, 3)), Decimal::new(114, 2));
    }
}
