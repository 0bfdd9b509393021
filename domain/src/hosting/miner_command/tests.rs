use cqrs_es::test::TestFramework;
use uuid::Uuid;

use super::*;
use crate::hosting::miner_order::Pool;

const RUN: Option<RunPart> = Some(RunPart { plan_id: 3, step: RunStep::Curtail });

fn facts() -> MinerFacts {
    MinerFacts {
        miner_id: 7,
        address: Some(IpAddr::from([127, 0, 0, 11])),
        supported: true,
        hashing: true,
        held_by_run: None,
    }
}
fn request(miner: MinerFacts, order: MinerOrder) -> MinerCommandCommand {
    MinerCommandCommand::Request {
        miner,
        order,
        requested_by: Some(UserId(Uuid::from_u128(1))),
        run: RUN,
        force: false,
    }
}
fn requested(order: MinerOrder) -> MinerCommandEvent {
    MinerCommandEvent::Requested {
        miner_id: 7,
        order,
        address: IpAddr::from([127, 0, 0, 11]),
        requested_by: Some(UserId(Uuid::from_u128(1))),
        run: RUN,
    }
}
fn observation(is_mining: bool) -> Observation {
    Observation {
        read_at: DateTime::UNIX_EPOCH,
        is_mining,
        hashrate_ths: Some(if is_mining { 195.5 } else { 0.0 }),
        power_w: None,
        temperature_max_c: Some(75.2),
    }
}
fn record_dispatch() -> MinerCommandCommand {
    MinerCommandCommand::RecordDispatch { acknowledged: true, tries: 1, before: None }
}
fn dispatched() -> MinerCommandEvent {
    MinerCommandEvent::Dispatched { miner_id: 7, run: RUN, acknowledged: true, tries: 1, before: None }
}
fn confirm() -> MinerCommandCommand {
    MinerCommandCommand::Confirm { observation: observation(false) }
}
fn confirmed() -> MinerCommandEvent {
    MinerCommandEvent::Confirmed { miner_id: 7, run: RUN, order: MinerOrder::Shutdown, observation: observation(false) }
}
fn drift() -> MinerCommandCommand {
    MinerCommandCommand::RecordDrift { why: "still mining".into(), observation: observation(true) }
}
fn drifted() -> MinerCommandEvent {
    MinerCommandEvent::Drifted { miner_id: 7, run: RUN, why: "still mining".into(), observation: observation(true) }
}
fn fail() -> MinerCommandCommand {
    MinerCommandCommand::Fail { reason: FailureReason::Unreachable, why: "nobody there".into() }
}
fn failed() -> MinerCommandEvent {
    MinerCommandEvent::Failed { miner_id: 7, run: RUN, reason: FailureReason::Unreachable, why: "nobody there".into() }
}
fn pools(url: &str, worker: &str) -> MinerOrder {
    MinerOrder::SetPool { pools: vec![Pool { url: url.into(), worker: worker.into() }] }
}
fn given(events: Vec<MinerCommandEvent>) -> cqrs_es::test::AggregateTestExecutor<MinerCommand> {
    TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
}

#[test]
fn an_order_is_requested_once() {
    let shutdown = || request(facts(), MinerOrder::Shutdown);
    given(vec![]).when(shutdown()).then_expect_events(vec![requested(MinerOrder::Shutdown)]);
    given(vec![requested(MinerOrder::Shutdown)])
        .when(shutdown())
        .then_expect_error(MinerCommandError::AlreadyRequested);
}

#[test]
fn a_miner_that_cannot_be_told_is_not_told() {
    let nowhere = MinerFacts { address: None, ..facts() };
    given(vec![]).when(request(nowhere, MinerOrder::Restart)).then_expect_error(MinerCommandError::NoAddress);
    let other_firmware = MinerFacts { supported: false, ..facts() };
    given(vec![])
        .when(request(other_firmware, MinerOrder::SetFan { speed_percent: Some(80) }))
        .then_expect_error(MinerCommandError::Unsupported { order: "set_fan" });
}

#[test]
fn a_miner_that_a_run_keeps_stopped_is_not_started_unless_forced() {
    let held = MinerFacts { hashing: false, held_by_run: Some(3), ..facts() };
    given(vec![]).when(request(held, MinerOrder::Start)).then_expect_error(MinerCommandError::Held { plan_id: 3 });
    let MinerCommandCommand::Request { miner, order, requested_by, run, .. } = request(held, MinerOrder::Start) else {
        panic!("not a request");
    };
    given(vec![])
        .when(MinerCommandCommand::Request { miner, order, requested_by, run, force: true })
        .then_expect_events(vec![requested(MinerOrder::Start)]);
}

#[test]
fn a_miner_is_not_told_what_it_does_already_unless_forced() {
    let stopped = MinerFacts { hashing: false, ..facts() };
    given(vec![])
        .when(request(stopped, MinerOrder::Shutdown))
        .then_expect_error(MinerCommandError::AlreadyThere { state: "shut down" });
    given(vec![])
        .when(request(facts(), MinerOrder::Start))
        .then_expect_error(MinerCommandError::AlreadyThere { state: "running" });
    let MinerCommandCommand::Request { order, requested_by, run, .. } = request(stopped, MinerOrder::Shutdown) else {
        panic!("not a request");
    };
    let forced = MinerCommandCommand::Request { miner: stopped, order, requested_by, run, force: true };
    given(vec![]).when(forced).then_expect_events(vec![requested(MinerOrder::Shutdown)]);
}

#[test]
fn pools_and_fans_have_limits() {
    let refused = |order, error| given(vec![]).when(request(facts(), order)).then_expect_error(error);
    let pool = Pool { url: "stratum+tcp://pool.example:3333".into(), worker: "site-a.1".into() };
    refused(MinerOrder::SetPool { pools: vec![] }, MinerCommandError::PoolsOutOfRange);
    refused(MinerOrder::SetPool { pools: vec![pool; 4] }, MinerCommandError::PoolsOutOfRange);
    for url in ["pool.example:3333", "http://pool.example:3333", "stratum+tcp://pool.example", "stratum+tcp://:1"] {
        refused(pools(url, "w"), MinerCommandError::PoolOutOfRange);
    }
    refused(pools("stratum+tcp://pool.example:3333", ""), MinerCommandError::PoolOutOfRange);
    refused(MinerOrder::SetFan { speed_percent: Some(101) }, MinerCommandError::FanSpeedOutOfRange);
    let good = pools("stratum+tcp://pool.example:3333", "site-a.1");
    given(vec![]).when(request(facts(), good.clone())).then_expect_events(vec![requested(good)]);
}

#[test]
fn a_dispatched_order_is_confirmed_or_drifts() {
    let before = || vec![requested(MinerOrder::Shutdown)];
    let after = || vec![requested(MinerOrder::Shutdown), dispatched()];
    given(before()).when(record_dispatch()).then_expect_events(vec![dispatched()]);
    given(after()).when(confirm()).then_expect_events(vec![confirmed()]);
    given(after()).when(drift()).then_expect_events(vec![drifted()]);
    for command in [confirm(), drift()] {
        given(before()).when(command).then_expect_error(MinerCommandError::WrongState { state: "requested" });
    }
    given(after()).when(record_dispatch()).then_expect_error(MinerCommandError::WrongState { state: "dispatched" });
}

#[test]
fn an_order_can_fail_before_and_after_its_dispatch() {
    given(vec![requested(MinerOrder::Shutdown)]).when(fail()).then_expect_events(vec![failed()]);
    given(vec![requested(MinerOrder::Shutdown), dispatched()]).when(fail()).then_expect_events(vec![failed()]);
}

#[test]
fn an_end_is_the_end() {
    for (end, state) in [(confirmed(), "confirmed"), (drifted(), "drifted"), (failed(), "failed")] {
        for command in [record_dispatch(), confirm(), drift(), fail()] {
            given(vec![requested(MinerOrder::Shutdown), dispatched(), end.clone()])
                .when(command)
                .then_expect_error(MinerCommandError::WrongState { state });
        }
    }
    given(vec![]).when(confirm()).then_expect_error(MinerCommandError::NotFound);
}

#[test]
fn explanations_are_shortened() {
    let long = MinerCommandCommand::Fail { reason: FailureReason::BadAnswer, why: "ä".repeat(600) };
    let short = MinerCommandEvent::Failed {
        miner_id: 7,
        run: RUN,
        reason: FailureReason::BadAnswer,
        why: "ä".repeat(WHY_CHARS_MAX),
    };
    given(vec![requested(MinerOrder::Shutdown)]).when(long).then_expect_events(vec![short]);
}
