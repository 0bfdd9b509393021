//! The real gateway, with the real crate under it, against simulated miners on loopback addresses.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use commands::gateways::miners::{
    Acknowledgement, AsicLimits, AsicMiners, Dispatched, FanControl, MinerCapabilities, MinerCredentials, MinerFault,
    MinerGateway, MinerReading, MinerTarget, Obedience, PowerReading, PowerSource, Wait, obeyed,
};
use domain::hosting::miner_order::{MinerOrder, Pool};
use tests::simulators::{Antminer, AntminerFirmware, SimulatedMiner, WhatsMiner};
use tokio::net::TcpListener;

const GIVEN: Result<Dispatched, MinerFault> = Ok(Dispatched { acknowledgement: Acknowledgement::Given });
const TIME_LEFT: Duration = Duration::from_secs(600);
const NO_TIME_LEFT: Duration = Duration::ZERO;

fn gateway() -> AsicMiners {
    AsicMiners::new(AsicLimits::default())
}

fn target(miner: &SimulatedMiner) -> MinerTarget {
    MinerTarget { address: miner.address(), credentials: None }
}

fn with_password(miner: &SimulatedMiner, password: &str) -> MinerTarget {
    let credentials = MinerCredentials { username: "root".into(), password: password.into() };
    MinerTarget { address: miner.address(), credentials: Some(credentials) }
}

async fn antminer(settings: Antminer) -> SimulatedMiner {
    settings.listen_anywhere().await.expect("port 80 of a loopback address: run as root, see tests/src/simulators.rs")
}

async fn whatsminer(settings: WhatsMiner) -> SimulatedMiner {
    settings.listen_anywhere().await.expect("port 4028 of a loopback address")
}

fn set_pool(url: &str) -> MinerOrder {
    MinerOrder::SetPool { pools: vec![Pool { url: url.into(), worker: "operator.rig7".into() }] }
}

fn every_order() -> [MinerOrder; 5] {
    [
        MinerOrder::Restart,
        MinerOrder::Shutdown,
        MinerOrder::Start,
        set_pool("stratum+tcp://other.example:3333"),
        MinerOrder::SetFan { speed_percent: Some(65) },
    ]
}

/// Gives an order and judges it by the next reading.
async fn told(gateway: &AsicMiners, target: &MinerTarget, order: &MinerOrder, patience: Duration) -> Obedience {
    let before = gateway.read(target).await.unwrap();
    let dispatched_at = Instant::now();
    assert_eq!(gateway.dispatch(target, order).await, GIVEN, "{order:?}");
    let after = gateway.read(target).await.unwrap();
    obeyed(order, Some(&before), &after, Wait { since_dispatch: dispatched_at.elapsed(), patience })
}

/// Reads until an order took effect.
async fn wait_until_obeyed(gateway: &AsicMiners, target: &MinerTarget, order: &MinerOrder) -> MinerReading {
    let wait = Wait { since_dispatch: Duration::ZERO, patience: TIME_LEFT };
    let polled = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let reading = gateway.read(target).await.unwrap();
            if obeyed(order, None, &reading, wait) == Obedience::Confirmed {
                return reading;
            }
        }
    });
    polled.await.expect("the order takes effect")
}

#[tokio::test]
async fn an_antminer_is_read() {
    let miner = antminer(Antminer::obedient()).await;
    let reading = gateway().read(&target(&miner)).await.unwrap();
    assert_eq!((reading.make.as_str(), reading.model.as_str()), ("Antminer", "S19Pro"));
    assert_eq!(reading.firmware, "AntMiner Stock");
    assert_eq!(reading.firmware_version.as_deref(), Some("FR-1.12(251009-S19 Pro)"));
    assert_eq!(reading.serial_number.as_deref(), Some("SIMULATED0000001"));
    assert_eq!(reading.mac_address.as_deref(), Some("02:55:97:22:30:72"));
    assert!(reading.is_mining);
    assert!((reading.hashrate_ths.unwrap() - 110.566_89).abs() < 1e-6);
    assert!((reading.expected_hashrate_ths.unwrap() - 110.0).abs() < 1e-6);
    assert_eq!(reading.power, None, "a stock Antminer reports no power");
    assert!(reading.uptime_seconds.unwrap() >= 50_474);
    assert_eq!(reading.fan_control, Some(FanControl::Automatic));
    assert_eq!(reading.fan_speeds_rpm.len(), 4);
    assert_eq!(reading.pools.len(), 3);
    assert_eq!(reading.pools[0].url, "stratum+tcp://btc.example.pool:3333");
    assert_eq!(reading.pools[0].worker.as_deref(), Some("operator.rig1"));
    assert!(reading.temperature_max_celsius.unwrap() > 50.0);
    let everything = MinerCapabilities { restart: true, shutdown: true, start: true, set_pool: true, set_fan: true };
    assert_eq!(reading.capabilities, everything);
}

#[tokio::test]
async fn an_antminer_obeys_on_both_generations_of_firmware() {
    for firmware in [AntminerFirmware::October2025, AntminerFirmware::December2022] {
        let miner = antminer(Antminer::obedient().firmware(firmware)).await;
        let (gateway, target) = (gateway(), target(&miner));
        for order in every_order() {
            let judgement = told(&gateway, &target, &order, TIME_LEFT).await;
            assert_eq!(judgement, Obedience::Confirmed, "{order:?} on {firmware:?}");
        }
        let state = miner.state();
        assert!(state.is_mining);
        assert_eq!((state.reboots, state.fan_percent), (1, Some(65)));
        assert_eq!(state.pools.len(), 1, "the slots that are not used are emptied");
        assert!(state.pools[0].url.ends_with("other.example:3333"));
        assert_eq!(state.pools[0].worker, "operator.rig7");
    }
}

#[tokio::test]
async fn a_paused_antminer_sleeps_until_it_is_resumed() {
    let miner = antminer(Antminer::obedient()).await;
    let (gateway, target) = (gateway(), target(&miner));
    assert_eq!(told(&gateway, &target, &MinerOrder::Shutdown, TIME_LEFT).await, Obedience::Confirmed);
    assert!(!miner.state().is_mining);
    let asleep = gateway.read(&target).await.unwrap();
    assert_eq!((asleep.is_mining, asleep.hashes()), (false, Some(false)));
    assert_eq!(told(&gateway, &target, &MinerOrder::Start, TIME_LEFT).await, Obedience::Confirmed);
    assert!(miner.state().is_mining);
}

#[tokio::test]
async fn the_fans_of_an_antminer_go_back_to_automatic() {
    let miner = antminer(Antminer::obedient()).await;
    let (gateway, target) = (gateway(), target(&miner));
    let fixed = MinerOrder::SetFan { speed_percent: Some(40) };
    assert_eq!(told(&gateway, &target, &fixed, TIME_LEFT).await, Obedience::Confirmed);
    let speeds = gateway.read(&target).await.unwrap().fan_speeds_rpm;
    assert!(speeds.iter().all(|speed| (speed - 2400.0).abs() < 1e-6), "{speeds:?}");
    let automatic = MinerOrder::SetFan { speed_percent: None };
    assert_eq!(told(&gateway, &target, &automatic, TIME_LEFT).await, Obedience::Confirmed);
    assert_eq!(miner.state().fan_percent, None);
}

#[tokio::test]
async fn a_whatsminer_is_read() {
    let miner = whatsminer(WhatsMiner::obedient()).await;
    let reading = gateway().read(&target(&miner)).await.unwrap();
    assert_eq!((reading.make.as_str(), reading.firmware.as_str()), ("Whatsminer", "WhatsMiner Stock"));
    assert_eq!(reading.model, "M50SVH50");
    assert_eq!(reading.firmware_version.as_deref(), Some("20230803.11.REL"));
    assert!((reading.hashrate_ths.unwrap() - 124.5).abs() < 1e-6);
    assert_eq!(reading.power, Some(PowerReading { power_watts: 3200.0, source: PowerSource::Firmware }));
    assert_eq!(reading.temperature_max_celsius, Some(81.0));
    assert_eq!(reading.fan_control, None);
    assert!(reading.capabilities.shutdown && !reading.capabilities.set_fan);
}

#[tokio::test]
async fn a_whatsminer_obeys() {
    let miner = whatsminer(WhatsMiner::obedient()).await;
    let (gateway, target) = (gateway(), target(&miner));
    assert_eq!(told(&gateway, &target, &MinerOrder::Shutdown, TIME_LEFT).await, Obedience::Confirmed);
    assert!(!miner.state().is_mining);
    let asleep = gateway.read(&target).await.unwrap();
    assert!(asleep.power.unwrap().power_watts < 100.0);
    assert_eq!(told(&gateway, &target, &MinerOrder::Start, TIME_LEFT).await, Obedience::Confirmed);
    assert!(miner.state().is_mining);
    assert_eq!(told(&gateway, &target, &MinerOrder::Restart, TIME_LEFT).await, Obedience::Confirmed);
    assert_eq!(miner.state().reboots, 1);
    let pools = set_pool("stratum+tcp://other.example:3333");
    assert_eq!(told(&gateway, &target, &pools, TIME_LEFT).await, Obedience::Confirmed);
    assert_eq!(miner.state().pools.len(), 1);
}

#[tokio::test]
async fn a_whatsminer_does_not_support_a_fan_setting() {
    let miner = whatsminer(WhatsMiner::obedient()).await;
    let order = MinerOrder::SetFan { speed_percent: Some(50) };
    let fault = gateway().dispatch(&target(&miner), &order).await.unwrap_err();
    let expected = MinerFault::Unsupported { order: "set_fan", make: "Whatsminer".into(), model: "M50SVH50".into() };
    assert_eq!(fault, expected);
}

#[tokio::test]
async fn a_deaf_whatsminer_acknowledges_and_drifts() {
    let miner = whatsminer(WhatsMiner::deaf()).await;
    let (gateway, target) = (gateway(), target(&miner));
    for order in [MinerOrder::Shutdown, MinerOrder::Restart, set_pool("stratum+tcp://other.example:3333")] {
        let early = told(&gateway, &target, &order, TIME_LEFT).await;
        assert!(matches!(early, Obedience::NotYet { .. }), "{order:?}: {early:?}");
        let late = told(&gateway, &target, &order, NO_TIME_LEFT).await;
        assert!(matches!(late, Obedience::Drifted { .. }), "{order:?}: {late:?}");
    }
    assert!(miner.state().is_mining);
}

#[tokio::test]
async fn a_deaf_antminer_acknowledges_and_drifts() {
    let miner = antminer(Antminer::deaf()).await;
    let (gateway, target) = (gateway(), target(&miner));
    for order in every_order().into_iter().filter(|order| *order != MinerOrder::Start) {
        let judgement = told(&gateway, &target, &order, NO_TIME_LEFT).await;
        assert!(matches!(judgement, Obedience::Drifted { .. }), "{order:?}: {judgement:?}");
    }
    assert_eq!((miner.state().is_mining, miner.state().reboots), (true, 0));
}

#[tokio::test]
async fn a_deaf_antminer_with_new_firmware_is_found_out_at_once() {
    let miner = antminer(Antminer::deaf().firmware(AntminerFirmware::October2025)).await;
    let fault = gateway().dispatch(&target(&miner), &MinerOrder::Shutdown).await.unwrap_err();
    assert_eq!(fault, MinerFault::Refused { reason: "it did not accept the change".into() });
}

#[tokio::test]
async fn an_address_without_a_miner_is_unreachable() {
    let nobody = MinerTarget { address: IpAddr::from([127, 0, 0, 250]), credentials: None };
    let gateway = gateway();
    for fault in
        [gateway.dispatch(&nobody, &MinerOrder::Restart).await.unwrap_err(), gateway.read(&nobody).await.unwrap_err()]
    {
        let reason = "connection refused on the ports 80 and 4028 of 127.0.0.250".to_owned();
        assert_eq!(fault, MinerFault::Unreachable { reason });
    }
}

#[tokio::test]
async fn a_miner_that_went_away_is_unreachable_for_every_order() {
    let miner = whatsminer(WhatsMiner::obedient()).await;
    let (gateway, target) = (gateway(), target(&miner));
    gateway.read(&target).await.unwrap();
    miner.stop().await;
    for order in [MinerOrder::Shutdown, MinerOrder::Restart, MinerOrder::Start] {
        let fault = gateway.dispatch(&target, &order).await.unwrap_err();
        assert_eq!(fault.code(), "unreachable", "{order:?}: {fault}");
    }
    assert_eq!(gateway.read(&target).await.unwrap_err().code(), "unreachable");
}

#[tokio::test]
async fn a_known_miner_that_went_away_cannot_be_read() {
    let miner = whatsminer(WhatsMiner::obedient()).await;
    let (gateway, target) = (gateway(), target(&miner));
    assert!(gateway.read(&target).await.unwrap().is_mining);
    miner.stop().await;
    let fault = gateway.read(&target).await.unwrap_err();
    assert_eq!(fault.code(), "unreachable", "the crate alone would call it mining: {fault}");
}

#[tokio::test]
async fn a_miner_that_does_not_say_whether_it_mines_gives_no_reading() {
    let miner = whatsminer(WhatsMiner::obedient().silent_about("status")).await;
    let fault = gateway().read(&target(&miner)).await.unwrap_err();
    assert_eq!(fault, MinerFault::BadAnswer { reason: "it does not say whether it mines".into() });
}

#[tokio::test]
async fn what_is_no_miner_is_unreachable_with_that_reason() {
    let [third, fourth] = rand::random();
    let address = IpAddr::from([127, 64, third, fourth]);
    let listener = TcpListener::bind((address, 4028)).await.unwrap();
    let server = tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let fault = gateway().read(&MinerTarget { address, credentials: None }).await.unwrap_err();
    let reason = "what answers is no miner with a known firmware".to_owned();
    assert_eq!(fault, MinerFault::Unreachable { reason });
    server.abort();
}

#[tokio::test]
async fn an_antminer_wants_its_password() {
    let miner = antminer(Antminer::obedient().password("changed")).await;
    let gateway = gateway();
    let fault = gateway.read(&target(&miner)).await.unwrap_err();
    assert!(fault.to_string().contains("the credentials may be wrong"), "{fault}");
    assert!(gateway.read(&with_password(&miner, "changed")).await.unwrap().is_mining);
}

#[tokio::test]
async fn a_whatsminer_with_another_password_is_read_and_not_told() {
    let miner = whatsminer(WhatsMiner::obedient().password("changed")).await;
    let (gateway, stranger) = (gateway(), target(&miner));
    let fault = gateway.dispatch(&stranger, &MinerOrder::Start).await.unwrap_err();
    assert_eq!(fault.code(), "refused", "{fault}");
    // The crate drops the refusal of a pause; only the reading tells.
    let judgement = told(&gateway, &stranger, &MinerOrder::Shutdown, NO_TIME_LEFT).await;
    assert!(matches!(judgement, Obedience::Drifted { .. }), "{judgement:?}");
    let friend = with_password(&miner, "changed");
    assert_eq!(told(&gateway, &friend, &MinerOrder::Shutdown, TIME_LEFT).await, Obedience::Confirmed);
}

#[tokio::test]
async fn a_slow_write_is_awaited_in_the_background_and_keeps_other_orders_out() {
    let miner = antminer(Antminer::obedient().holding_writes()).await;
    let limits = AsicLimits { dispatch: Duration::from_millis(300), ..AsicLimits::default() };
    let (gateway, target) = (AsicMiners::new(limits), target(&miner));
    let dispatched = gateway.dispatch(&target, &MinerOrder::Shutdown).await.unwrap();
    assert_eq!(dispatched.acknowledgement, Acknowledgement::Awaited);
    let second = gateway.dispatch(&target, &MinerOrder::SetFan { speed_percent: Some(50) }).await;
    assert_eq!(second, Err(MinerFault::TimedOut));
    assert!(gateway.read(&target).await.unwrap().is_mining);
    miner.release_writes();
    let asleep = wait_until_obeyed(&gateway, &target, &MinerOrder::Shutdown).await;
    assert!(!asleep.is_mining && miner.state().fan_percent.is_none());
}

#[tokio::test]
async fn a_pool_that_is_no_address_is_refused() {
    let miner = whatsminer(WhatsMiner::obedient()).await;
    let order = set_pool("stratum+tcp://:nowhere");
    let fault = gateway().dispatch(&target(&miner), &order).await.unwrap_err();
    assert_eq!(fault.code(), "refused", "{fault}");
    assert_eq!(miner.state().pools.len(), 3);
}
