//! Orders against a miner whose answers are written down beforehand.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;

use domain::hosting::miner_command::request::MinerFacts;
use domain::hosting::miner_order::MinerOrder;
use domain::metadata::{Metadata, TenantId};

use super::super::miners::{Dispatched, MinerCapabilities};
use super::*;
use crate::clock::Clock;
use crate::log::MemoryLog;

/// Answers in the order in which they are asked for; readings repeat the last one.
#[derive(Default)]
struct Scripted {
    dispatches: Mutex<VecDeque<Result<Acknowledgement, MinerFault>>>,
    readings: Mutex<VecDeque<Result<bool, MinerFault>>>,
    dispatched: Mutex<u32>,
}

#[async_trait]
impl MinerGateway for Scripted {
    async fn dispatch(&self, _: &MinerTarget, _: &MinerOrder) -> Result<Dispatched, MinerFault> {
        *self.dispatched.lock().unwrap() += 1;
        let next = self.dispatches.lock().unwrap().pop_front();
        next.unwrap_or(Ok(Acknowledgement::Given)).map(|acknowledgement| Dispatched { acknowledgement })
    }

    async fn read(&self, _: &MinerTarget) -> Result<MinerReading, MinerFault> {
        let mut readings = self.readings.lock().unwrap();
        let next = if readings.len() > 1 { readings.pop_front() } else { readings.front().cloned() };
        next.unwrap_or(Ok(true)).map(reading)
    }
}

fn reading(is_mining: bool) -> MinerReading {
    let capabilities = MinerCapabilities { restart: true, shutdown: true, start: true, set_pool: true, set_fan: true };
    MinerReading {
        make: "Antminer".into(),
        model: "S21".into(),
        firmware: "AntMiner Stock".into(),
        firmware_version: None,
        serial_number: None,
        mac_address: None,
        is_mining,
        hashrate_ths: Some(if is_mining { 200.0 } else { 0.0 }),
        expected_hashrate_ths: Some(200.0),
        power: None,
        uptime_seconds: None,
        fan_control: None,
        fan_speeds_rpm: vec![],
        pools: vec![],
        temperature_max_celsius: None,
        capabilities,
    }
}

fn unreachable_miner() -> MinerFault {
    MinerFault::Unreachable { reason: "nobody there".into() }
}

fn context(bus: &CommandBus) -> CommandContext {
    CommandContext::new(Metadata::of(TenantId::DEFAULT, "system", "cli", bus.clock().new_id()))
}

/// A bus with one requested shutdown.
async fn requested() -> CommandBus {
    let bus = CommandBus::new(Arc::new(MemoryLog::new()), Clock::system());
    let miner = MinerFacts {
        miner_id: 7,
        address: Some(IpAddr::from([127, 0, 0, 1])),
        supported: true,
        hashing: true,
        held_by_run: None,
    };
    let order = MinerOrder::Shutdown;
    let request = MinerCommandCommand::Request { miner, order, requested_by: None, run: None, force: false };
    bus.execute::<MinerCommand>("order", request, &context(&bus)).await.unwrap();
    bus
}

/// What the log says of the order after the gateway has worked on it.
async fn performed(bus: &CommandBus, miner: Arc<Scripted>) -> Vec<MinerCommandEvent> {
    let limits = OrderLimits {
        tries_max: 3,
        try_again_after: Duration::ZERO,
        read_every: Duration::from_millis(1),
        patience: Some(Duration::from_millis(30)),
        conversations: 1,
    };
    let gateway = MinerOrders::new(miner, None, limits);
    gateway.perform(bus, "order").await.unwrap();
    let stream = bus.log().read_stream("miner_command", "order", 1).await.unwrap();
    stream.iter().filter_map(|event| event.decode::<MinerCommand>().unwrap()).collect()
}

#[tokio::test]
async fn a_reading_that_shows_obedience_confirms_the_order() {
    let miner = Scripted { readings: Mutex::new([Ok(true), Ok(true), Ok(false)].into()), ..Scripted::default() };
    let events = performed(&requested().await, Arc::new(miner)).await;
    let [
        MinerCommandEvent::Dispatched { tries: 1, before: Some(before), .. },
        MinerCommandEvent::Confirmed { observation, .. },
    ] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert_eq!((before.is_mining, observation.is_mining), (true, false));
}

#[tokio::test]
async fn a_miner_that_goes_on_has_drifted() {
    let events = performed(&requested().await, Arc::default()).await;
    assert!(matches!(events.as_slice(), [_, MinerCommandEvent::Drifted { .. }]), "{events:?}");
}

#[tokio::test]
async fn a_miner_that_comes_back_is_told_at_a_later_try() {
    let miner = Scripted {
        dispatches: Mutex::new([Err(unreachable_miner()), Err(MinerFault::TimedOut)].into()),
        readings: Mutex::new([Err(unreachable_miner()), Ok(false)].into()),
        ..Scripted::default()
    };
    let events = performed(&requested().await, Arc::new(miner)).await;
    let told = MinerCommandEvent::Dispatched { miner_id: 7, run: None, acknowledged: true, tries: 3, before: None };
    assert_eq!(events.first(), Some(&told));
    assert!(matches!(events.last(), Some(MinerCommandEvent::Confirmed { .. })), "{events:?}");
}

#[tokio::test]
async fn tries_end_and_what_cannot_get_better_is_tried_once() {
    let unsupported = MinerFault::Unsupported { order: "shutdown", make: "A".into(), model: "B".into() };
    let cases = [(unreachable_miner(), FailureReason::Unreachable, 3), (unsupported, FailureReason::Unsupported, 1)];
    for (fault, reason, tries) in cases {
        let miner = Scripted { dispatches: Mutex::new(vec![Err(fault); 9].into()), ..Scripted::default() };
        let miner = Arc::new(miner);
        let events = performed(&requested().await, Arc::clone(&miner)).await;
        let [MinerCommandEvent::Failed { reason: found, .. }] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!((*found, *miner.dispatched.lock().unwrap()), (reason, tries));
    }
}

#[tokio::test]
async fn a_miner_that_cannot_be_read_afterwards_has_failed() {
    let miner = Scripted { readings: Mutex::new([Err(unreachable_miner())].into()), ..Scripted::default() };
    let events = performed(&requested().await, Arc::new(miner)).await;
    let [_, MinerCommandEvent::Failed { reason, .. }] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(*reason, FailureReason::Unreachable);
}

/// After a restart of the server the order is watched, not given again.
#[tokio::test]
async fn an_order_that_went_out_is_not_given_twice() {
    let bus = requested().await;
    let record = MinerCommandCommand::RecordDispatch { acknowledged: false, tries: 1, before: None };
    bus.execute::<MinerCommand>("order", record, &context(&bus)).await.unwrap();
    let miner = Arc::new(Scripted { readings: Mutex::new([Ok(false)].into()), ..Scripted::default() });
    let events = performed(&bus, Arc::clone(&miner)).await;
    assert!(matches!(events.last(), Some(MinerCommandEvent::Confirmed { .. })), "{events:?}");
    assert_eq!(*miner.dispatched.lock().unwrap(), 0);
    let again = performed(&bus, miner).await;
    assert_eq!(again, events, "an order that has ended is left alone");
}
