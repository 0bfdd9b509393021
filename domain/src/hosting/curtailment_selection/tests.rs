use super::super::mining_economics::{BLOCK_REWARD_BTC, shown_usd};
use super::*;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}
fn candidate(miner_id: i64, hashrate_ths: f64, power_w: f64) -> Candidate {
    Candidate {
        miner_id,
        hashrate_ths,
        power_w,
        temperature_c: None,
        protected: false,
        in_maintenance: false,
        hashing: true,
        can_be_stopped: true,
        held_by_run: None,
        released_at: None,
    }
}
fn market() -> Market {
    Market { btc_price_usd: Decimal::from(45_000), difficulty: 75e12, block_reward_btc: BLOCK_REWARD_BTC }
}
fn rules(strategy: Strategy, reduction_kw: f64) -> Rules {
    Rules {
        strategy,
        reduction_kw,
        tolerance_kw: 0.0,
        miners_max: None,
        electricity_usd_per_kwh: Decimal::new(5, 2),
        market: Some(market()),
    }
}
/// An old, an efficient and a large miner.
fn fleet() -> Vec<Candidate> {
    vec![candidate(1, 95.0, 3_250.0), candidate(2, 270.0, 3_645.0), candidate(3, 390.0, 7_215.0)]
}
fn ids(candidates: Vec<Candidate>, rules: &Rules) -> Vec<i64> {
    select(candidates, rules, noon()).unwrap().selected.iter().map(|c| c.miner_id).collect()
}

#[test]
fn each_strategy_has_its_order() {
    let mut fleet = fleet();
    fleet[1].temperature_c = Some(81.0);
    fleet[2].temperature_c = Some(79.0);
    let all = 14.0;
    assert_eq!(ids(fleet.clone(), &rules(Strategy::EfficiencyFirst, all)), [1, 3, 2]);
    assert_eq!(ids(fleet.clone(), &rules(Strategy::PowerFirst, all)), [3, 2, 1]);
    assert_eq!(ids(fleet.clone(), &rules(Strategy::RevenueFirst, all)), [1, 2, 3]);
    assert_eq!(ids(fleet, &rules(Strategy::TemperatureFirst, all)), [2, 3, 1]);
}

#[test]
fn equal_miners_go_by_id_however_they_are_listed() {
    let fleet = vec![candidate(9, 95.0, 3_250.0), candidate(4, 95.0, 3_250.0), candidate(7, 95.0, 3_250.0)];
    for strategy in Strategy::ALL {
        assert_eq!(ids(fleet.clone(), &rules(strategy, 6.0)), [4, 7]);
    }
}

#[test]
fn miners_without_a_hashrate_go_last_by_efficiency() {
    let fleet = vec![candidate(1, 0.0, 9_000.0), candidate(2, 270.0, 3_645.0)];
    assert_eq!(ids(fleet, &rules(Strategy::EfficiencyFirst, 12.0)), [2, 1]);
}

#[test]
fn no_more_is_stopped_than_needed() {
    let rules = rules(Strategy::PowerFirst, 7.3);
    let selection = select(fleet(), &rules, noon()).unwrap();
    assert_eq!(selection.selected.len(), 2);
    assert!((selection.reduction_kw - 10.86).abs() < 1e-9);
    let lenient = Rules { tolerance_kw: 0.1, ..rules };
    assert_eq!(ids(fleet(), &lenient), [3]);
}

#[test]
fn the_whole_fleet_is_enough_for_its_own_sum() {
    let fleet: Vec<_> = (0..9_i32).map(|id| candidate(id.into(), 95.0, f64::from(id).mul_add(0.1, 3_250.1))).collect();
    let drawn_w: f64 = fleet.iter().map(|candidate| candidate.power_w).sum();
    for strategy in Strategy::ALL {
        assert_eq!(ids(fleet.clone(), &rules(strategy, drawn_w / 1_000.0)).len(), 9);
    }
}

#[test]
fn too_little_load_is_refused_with_the_reasons() {
    let mut fleet = fleet();
    fleet[0].protected = true;
    fleet[1].hashing = false;
    let refused = select(fleet, &rules(Strategy::PowerFirst, 8.0), noon()).unwrap_err();
    assert_eq!(refused.to_string(), "only 7.215 kW can be reduced; left out: protected: 1, not_hashing: 1");
    let few = Rules { miners_max: Some(1), ..rules(Strategy::PowerFirst, 8.0) };
    assert_eq!(
        select(self::fleet(), &few, noon()),
        Err(SelectionError::InsufficientLoad { available_kw: 7.215, excluded: BTreeMap::new() })
    );
}

#[test]
fn each_exclusion_has_its_reason() {
    let base = candidate(1, 95.0, 3_250.0);
    let reason = |candidate: Candidate| candidate.exclusion(noon());
    assert_eq!(reason(base.clone()), None);
    assert_eq!(reason(Candidate { protected: true, ..base.clone() }), Some(Exclusion::Protected));
    assert_eq!(reason(Candidate { in_maintenance: true, ..base.clone() }), Some(Exclusion::Maintenance));
    assert_eq!(reason(Candidate { hashing: false, ..base.clone() }), Some(Exclusion::NotHashing));
    assert_eq!(reason(Candidate { can_be_stopped: false, ..base.clone() }), Some(Exclusion::CurtailFullUnsupported));
    assert_eq!(
        reason(Candidate { held_by_run: Some(3), hashing: false, ..base.clone() }),
        Some(Exclusion::ActiveEvent)
    );
    let just_now = Some(noon() - TimeDelta::seconds(599));
    assert_eq!(reason(Candidate { released_at: just_now, ..base.clone() }), Some(Exclusion::Cooldown));
    let before = Some(noon() - TimeDelta::seconds(600));
    assert_eq!(reason(Candidate { released_at: before, ..base.clone() }), None);
    assert_eq!(reason(Candidate { power_w: 1_323.0, ..base }), Some(Exclusion::BelowCandidateMinPowerW));
}

#[test]
fn revenue_cannot_be_ordered_without_a_market() {
    let rules = Rules { market: None, ..rules(Strategy::RevenueFirst, 1.0) };
    assert_eq!(select(fleet(), &rules, noon()), Err(SelectionError::MarketNeeded));
}

#[test]
fn the_first_target_named_counts() {
    let all = Target { reduction_kw: Some(5.0), remaining_kw: Some(60.0), reduction_percent: Some(20.0) };
    assert_eq!(all.reduction_kw(100.0), Ok(5.0));
    assert_eq!(Target { reduction_kw: None, ..all }.reduction_kw(100.0), Ok(40.0));
    assert_eq!(Target { reduction_kw: None, remaining_kw: None, ..all }.reduction_kw(100.0), Ok(20.0));
}

#[test]
fn impossible_targets_are_refused() {
    let percent = |percent| Target { reduction_percent: Some(percent), ..Target::default() };
    let reduction = |kw| Target { reduction_kw: Some(kw), ..Target::default() };
    let remaining = |kw| Target { remaining_kw: Some(kw), ..Target::default() };
    for target in [
        Target::default(),
        percent(0.0),
        percent(100.1),
        percent(f64::NAN),
        reduction(-1.0),
        reduction(f64::INFINITY),
        reduction(1e9),
        remaining(100.0),
        remaining(-1.0),
    ] {
        assert_eq!(target.reduction_kw(100.0), Err(SelectionError::TargetOutOfRange), "{target:?}");
    }
    assert_eq!(percent(20.0).reduction_kw(0.0), Err(SelectionError::NothingDrawn));
}

#[test]
fn tolerances_stay_below_the_target() {
    for tolerance_kw in [-1.0, 5.0, f64::NAN] {
        let rules = Rules { tolerance_kw, ..rules(Strategy::PowerFirst, 5.0) };
        assert_eq!(select(fleet(), &rules, noon()), Err(SelectionError::ToleranceOutOfRange));
    }
}

#[test]
fn economics_are_savings_less_loss() {
    let selected = vec![candidate(1, 200.0, 3_550.0)];
    let day = Economics::of(&selected, 24.0, Decimal::new(5, 2), Some(market()));
    assert!((day.power_saved_kwh - 85.2).abs() < 1e-9);
    assert_eq!(shown_usd(day.cost_saved_usd), Decimal::new(426, 2));
    assert_eq!(day.revenue_lost_usd.map(shown_usd), Some(Decimal::new(754, 2)));
    assert_eq!(day.net_savings_usd.map(shown_usd), Some(Decimal::new(-328, 2)));
    let hour = Economics::of(&selected, 1.0, Decimal::new(5, 2), Some(market()));
    assert!((hour.btc_lost.unwrap() * 24.0 - day.btc_lost.unwrap()).abs() < 1e-12);
}

#[test]
fn without_a_market_the_revenue_is_unknown() {
    let economics = Economics::of(&fleet(), 24.0, Decimal::new(5, 2), None);
    assert_eq!((economics.btc_lost, economics.revenue_lost_usd, economics.net_savings_usd), (None, None, None));
    assert!(economics.cost_saved_usd > Decimal::ZERO);
}

#[test]
fn words_and_strategies_match() {
    for strategy in Strategy::ALL {
        assert_eq!(Strategy::of_word(strategy.word()), Some(strategy));
        assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.word());
    }
    assert_eq!(Strategy::of_word("random"), None);
}
