//! Whether a miner did what it was told, judged by a later reading.
//!
//! The acknowledgement of a miner proves nothing: some firmware answers before it acts, some answers and does nothing.

use std::time::Duration;

use super::reading::{FanControl, MinerReading, PoolReading};
use super::{MinerOrder, Pool};

/// Seconds by which two clocks that are read to the full second, over a network, may disagree.
const CLOCK_SLACK_SECONDS: u64 = 3;

/// What a reading says about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obedience {
    /// The order took effect.
    Confirmed,
    /// Not yet, and there is still time.
    NotYet { why: String },
    /// Not, and the time is over: the miner is in another state than it was told.
    Drifted { why: String },
}

/// The time between the dispatch of an order and the reading that judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    pub since_dispatch: Duration,
    /// How long the order may stay without effect; see [`MinerOrder::patience`].
    pub patience: Duration,
}

/// Judges an order by a reading from after its dispatch.
///
/// `before` is the last reading from before the dispatch, if there is one; only a restart needs it, and does without it.
pub fn obeyed(order: &MinerOrder, before: Option<&MinerReading>, after: &MinerReading, wait: Wait) -> Obedience {
    let shortfall = match order {
        MinerOrder::Restart => unrestarted(before, after, wait.since_dispatch.as_secs()),
        MinerOrder::Shutdown => still_mining(after),
        MinerOrder::Start => still_idle(after),
        MinerOrder::SetPool { pools } => other_pools(pools, &after.pools),
        MinerOrder::SetFan { speed_percent } => other_fan_control(*speed_percent, after.fan_control),
    };
    match shortfall {
        None => Obedience::Confirmed,
        Some(why) if wait.since_dispatch >= wait.patience => Obedience::Drifted { why },
        Some(why) => Obedience::NotYet { why },
    }
}

/// A miner that restarted has been up for less than it would have been without, and not for longer than since the order.
fn unrestarted(before: Option<&MinerReading>, after: &MinerReading, since_dispatch_seconds: u64) -> Option<String> {
    let Some(uptime) = after.uptime_seconds else {
        return Some("the miner does not say how long it has been up".to_owned());
    };
    let restarted = match before.and_then(|reading| reading.uptime_seconds) {
        Some(earlier) => {
            uptime < earlier
                || uptime.saturating_add(CLOCK_SLACK_SECONDS) < earlier.saturating_add(since_dispatch_seconds)
        }
        None => uptime <= since_dispatch_seconds.saturating_add(CLOCK_SLACK_SECONDS),
    };
    (!restarted).then(|| format!("the miner has been up for {uptime} s, longer than since the order"))
}

/// Both signals must agree: a miner that is set to sleep and still hashes does not save any power.
fn still_mining(after: &MinerReading) -> Option<String> {
    if after.is_mining {
        return Some("the miner is still set to mine".to_owned());
    }
    let hashrate_ths = after.hashrate_ths.unwrap_or_default();
    (after.hashes() == Some(true)).then(|| format!("the miner says that it sleeps and hashes at {hashrate_ths} TH/s"))
}

fn still_idle(after: &MinerReading) -> Option<String> {
    if !after.is_mining {
        return Some("the miner is still set to sleep".to_owned());
    }
    (after.hashes() == Some(false)).then(|| "the miner is set to mine and does not hash".to_owned())
}

fn other_pools(ordered: &[Pool], reported: &[PoolReading]) -> Option<String> {
    let agree = ordered.len() == reported.len()
        && ordered.iter().zip(reported).all(|(order, report)| {
            authority(&order.url) == authority(&report.url)
                && report.worker.as_ref().is_none_or(|worker| *worker == order.worker)
        });
    (!agree).then(|| {
        let urls: Vec<&str> = reported.iter().map(|pool| pool.url.as_str()).collect();
        format!("the miner uses the pools [{}]", urls.join(", "))
    })
}

/// Host and port of a pool. Some firmware keeps the scheme of a URL, some does not; the host knows no case.
fn authority(url: &str) -> String {
    let without_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host_and_port = without_scheme.split('/').next().unwrap_or_default();
    host_and_port.trim().to_ascii_lowercase()
}

fn other_fan_control(ordered: Option<u8>, reported: Option<FanControl>) -> Option<String> {
    let wanted = ordered.map_or(FanControl::Automatic, |speed_percent| FanControl::Fixed { speed_percent });
    match reported {
        None => Some("the miner does not say how its fans are set".to_owned()),
        Some(FanControl::Automatic) if wanted != FanControl::Automatic => Some("the fans are on automatic".to_owned()),
        Some(FanControl::Fixed { speed_percent }) if wanted != (FanControl::Fixed { speed_percent }) => {
            Some(format!("the fans are fixed at {speed_percent} %"))
        }
        Some(FanControl::Automatic | FanControl::Fixed { .. }) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::MinerCapabilities;
    use super::*;

    fn reading() -> MinerReading {
        MinerReading {
            make: "AntMiner".into(),
            model: "S19 Pro".into(),
            firmware: "AntMiner Stock".into(),
            firmware_version: None,
            serial_number: None,
            mac_address: None,
            is_mining: true,
            hashrate_ths: Some(110.0),
            expected_hashrate_ths: Some(110.0),
            power: None,
            uptime_seconds: Some(50_000),
            fan_control: Some(FanControl::Automatic),
            fan_speeds_rpm: vec![6000.0],
            pools: vec![reported("stratum+tcp://a.example:3333", Some("w.1"))],
            temperature_max_celsius: Some(73.0),
            capabilities: MinerCapabilities {
                restart: true,
                shutdown: true,
                start: true,
                set_pool: true,
                set_fan: true,
            },
        }
    }

    fn reported(url: &str, worker: Option<&str>) -> PoolReading {
        PoolReading { url: url.into(), worker: worker.map(Into::into), is_active: None }
    }

    fn ordered(url: &str) -> MinerOrder {
        MinerOrder::SetPool { pools: vec![Pool { url: url.into(), worker: "w.1".into() }] }
    }

    fn after_seconds(seconds: u64) -> Wait {
        Wait { since_dispatch: Duration::from_secs(seconds), patience: Duration::from_secs(240) }
    }

    fn judged(order: &MinerOrder, after: &MinerReading) -> Obedience {
        obeyed(order, None, after, after_seconds(30))
    }

    fn is_pending(obedience: &Obedience) -> bool {
        matches!(obedience, Obedience::NotYet { .. })
    }

    #[test]
    fn a_restart_shows_in_an_uptime_that_went_back() {
        let before = reading();
        let after = MinerReading { uptime_seconds: Some(20), ..reading() };
        assert_eq!(obeyed(&MinerOrder::Restart, Some(&before), &after, after_seconds(60)), Obedience::Confirmed);
    }

    #[test]
    fn a_restart_shows_even_if_the_miner_is_up_for_longer_than_before_by_now() {
        let before = MinerReading { uptime_seconds: Some(100), ..reading() };
        let restarted = MinerReading { uptime_seconds: Some(400), ..reading() };
        assert_eq!(obeyed(&MinerOrder::Restart, Some(&before), &restarted, after_seconds(500)), Obedience::Confirmed);
        let went_on = MinerReading { uptime_seconds: Some(600), ..reading() };
        let judgement = obeyed(&MinerOrder::Restart, Some(&before), &went_on, after_seconds(500));
        assert!(matches!(judgement, Obedience::Drifted { .. }));
    }

    #[test]
    fn a_restart_is_judged_without_an_earlier_reading() {
        let restarted = MinerReading { uptime_seconds: Some(25), ..reading() };
        assert_eq!(judged(&MinerOrder::Restart, &restarted), Obedience::Confirmed);
        assert!(is_pending(&judged(&MinerOrder::Restart, &reading())));
        let silent = MinerReading { uptime_seconds: None, ..reading() };
        assert!(is_pending(&judged(&MinerOrder::Restart, &silent)));
    }

    #[test]
    fn a_shutdown_needs_both_signals() {
        let asleep = MinerReading { is_mining: false, hashrate_ths: Some(0.0), ..reading() };
        assert_eq!(judged(&MinerOrder::Shutdown, &asleep), Obedience::Confirmed);
        let unmeasured = MinerReading { is_mining: false, hashrate_ths: None, ..reading() };
        assert_eq!(judged(&MinerOrder::Shutdown, &unmeasured), Obedience::Confirmed);
        let pretends = MinerReading { is_mining: false, ..reading() };
        assert!(is_pending(&judged(&MinerOrder::Shutdown, &pretends)));
        assert!(is_pending(&judged(&MinerOrder::Shutdown, &reading())));
    }

    #[test]
    fn a_start_needs_hashes() {
        assert_eq!(judged(&MinerOrder::Start, &reading()), Obedience::Confirmed);
        let asleep = MinerReading { is_mining: false, hashrate_ths: Some(0.0), ..reading() };
        assert!(is_pending(&judged(&MinerOrder::Start, &asleep)));
        let warming_up = MinerReading { hashrate_ths: Some(0.4), ..reading() };
        assert!(is_pending(&judged(&MinerOrder::Start, &warming_up)));
    }

    #[test]
    fn pools_agree_without_their_scheme_and_case() {
        let after = MinerReading { pools: vec![reported("A.example:3333", Some("w.1"))], ..reading() };
        assert_eq!(judged(&ordered("stratum+tcp://a.example:3333"), &after), Obedience::Confirmed);
    }

    #[test]
    fn pools_differ_by_host_port_worker_and_number() {
        assert!(is_pending(&judged(&ordered("stratum+tcp://b.example:3333"), &reading())));
        assert!(is_pending(&judged(&ordered("stratum+tcp://a.example:3334"), &reading())));
        let other_worker = MinerReading { pools: vec![reported("a.example:3333", Some("w.2"))], ..reading() };
        assert!(is_pending(&judged(&ordered("stratum+tcp://a.example:3333"), &other_worker)));
        let none = MinerReading { pools: Vec::new(), ..reading() };
        assert!(is_pending(&judged(&ordered("stratum+tcp://a.example:3333"), &none)));
    }

    #[test]
    fn fans_agree_by_their_setting() {
        let fixed = MinerReading { fan_control: Some(FanControl::Fixed { speed_percent: 60 }), ..reading() };
        let to = |speed_percent| MinerOrder::SetFan { speed_percent };
        assert_eq!(judged(&to(Some(60)), &fixed), Obedience::Confirmed);
        assert_eq!(judged(&to(None), &reading()), Obedience::Confirmed);
        assert!(is_pending(&judged(&to(Some(61)), &fixed)));
        assert!(is_pending(&judged(&to(None), &fixed)));
        assert!(is_pending(&judged(&to(Some(60)), &reading())));
        assert!(is_pending(&judged(&to(Some(60)), &MinerReading { fan_control: None, ..reading() })));
    }

    #[test]
    fn patience_ends_in_drift_and_says_why() {
        let judgement = obeyed(&MinerOrder::Shutdown, None, &reading(), after_seconds(240));
        assert_eq!(judgement, Obedience::Drifted { why: "the miner is still set to mine".into() });
    }
}
