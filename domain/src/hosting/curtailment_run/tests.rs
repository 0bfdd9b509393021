//! What each command makes of each state.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use cqrs_es::test::TestFramework;
use rust_decimal::Decimal;

use super::plan::ExecutionMode;
use super::target::PlannedTarget;
use super::*;
use crate::hosting::curtailment_selection::{Economics, Exclusion, Strategy};
use crate::hosting::miner::registration::FigureSource;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}
fn target(miner_id: i64) -> PlannedTarget {
    PlannedTarget {
        miner_id,
        serial_number: format!("MINER-{miner_id:03}"),
        model_id: 1,
        customer_id: None,
        hashrate_ths: 200.0,
        power_w: 3_500.0,
        power_source: FigureSource::Nameplate,
        daily_profit_usd: None,
    }
}
fn plan() -> Plan {
    Plan {
        site_id: 4,
        name: None,
        strategy: Strategy::EfficiencyFirst,
        mode: ExecutionMode::Auto,
        target_reduction_kw: 6.0,
        expected_reduction_kw: 7.0,
        targets: vec![target(1), target(2)],
        excluded: BTreeMap::from([(Exclusion::Maintenance, 1)]),
        economics: Economics {
            duration_hours: 24.0,
            electricity_usd_per_kwh: Decimal::new(5, 2),
            market: None,
            power_saved_kwh: 168.0,
            cost_saved_usd: Decimal::new(84, 1),
            btc_lost: None,
            revenue_lost_usd: None,
            net_savings_usd: None,
        },
        starts_at: noon(),
        ends_at: noon() + TimeDelta::days(1),
        attempts_max: 2,
    }
}
fn planned() -> CurtailmentRunEvent {
    CurtailmentRunEvent::Planned { id: 3, plan: Box::new(plan()) }
}
fn started() -> CurtailmentRunEvent {
    CurtailmentRunEvent::Started { miner_ids: vec![1, 2] }
}
fn moved(miner_id: i64, step: RunStep, state: TargetState, attempt: u32, why: Option<&str>) -> CurtailmentRunEvent {
    CurtailmentRunEvent::TargetMoved { miner_id, step, state, attempt, why: why.map(Into::into) }
}
fn stopped(miner_id: i64, state: TargetState) -> CurtailmentRunEvent {
    moved(miner_id, RunStep::Curtail, state, 1, None)
}
fn restored(miner_id: i64, state: TargetState) -> CurtailmentRunEvent {
    moved(miner_id, RunStep::Restore, state, 1, None)
}
fn activated(reduction_kw: f64, confirmed: u32, failed: u32) -> CurtailmentRunEvent {
    let hashrate_ths = Some(200.0 * f64::from(confirmed));
    CurtailmentRunEvent::Activated { reduction_kw, hashrate_ths, confirmed, failed }
}
fn restore(cause: RestoreCause, miner_ids: &[i64]) -> CurtailmentRunEvent {
    CurtailmentRunEvent::RestoreStarted { cause, miner_ids: miner_ids.to_vec() }
}
fn curtail(miner_id: i64, outcome: TargetOutcome) -> CurtailmentRunCommand {
    CurtailmentRunCommand::RecordOutcome { miner_id, step: RunStep::Curtail, outcome }
}
fn start_again(miner_id: i64, outcome: TargetOutcome) -> CurtailmentRunCommand {
    CurtailmentRunCommand::RecordOutcome { miner_id, step: RunStep::Restore, outcome }
}
fn drifted() -> TargetOutcome {
    TargetOutcome::Drifted { why: "still mining".into() }
}
fn failed() -> TargetOutcome {
    TargetOutcome::Failed { why: "nobody there".into() }
}
fn cancelled_by_somebody() -> RestoreCause {
    RestoreCause::Cancelled { reason: Some("price fell".into()) }
}
fn cancel() -> CurtailmentRunCommand {
    CurtailmentRunCommand::Cancel { reason: Some("price fell".into()) }
}
fn given(events: Vec<CurtailmentRunEvent>) -> cqrs_es::test::AggregateTestExecutor<CurtailmentRun> {
    TestFramework::with(Now(noon())).given(events)
}
/// Started, and the first of two miners confirmed.
fn half_way() -> Vec<CurtailmentRunEvent> {
    vec![
        planned(),
        started(),
        stopped(1, TargetState::Dispatched),
        stopped(1, TargetState::Confirmed),
        stopped(2, TargetState::Dispatched),
    ]
}
fn active() -> Vec<CurtailmentRunEvent> {
    let mut events = half_way();
    events.extend([stopped(2, TargetState::Confirmed), activated(7.0, 2, 0)]);
    events
}
fn with(mut events: Vec<CurtailmentRunEvent>, more: &[CurtailmentRunEvent]) -> Vec<CurtailmentRunEvent> {
    events.extend_from_slice(more);
    events
}

#[test]
fn a_run_is_planned_once_and_started_once() {
    let command = || CurtailmentRunCommand::Plan { id: 3, plan: Box::new(plan()), start: false };
    given(vec![]).when(command()).then_expect_events(vec![planned()]);
    given(vec![planned()]).when(command()).then_expect_error(CurtailmentRunError::AlreadyPlanned);
    let at_once = CurtailmentRunCommand::Plan { id: 3, plan: Box::new(plan()), start: true };
    given(vec![]).when(at_once).then_expect_events(vec![planned(), started()]);
    given(vec![planned()]).when(CurtailmentRunCommand::Start).then_expect_events(vec![started()]);
    given(vec![planned(), started()])
        .when(CurtailmentRunCommand::Start)
        .then_expect_error(CurtailmentRunError::WrongState { state: "executing" });
}

#[test]
fn impossible_plans_are_refused() {
    let refused = |plan: Plan, error| {
        given(vec![])
            .when(CurtailmentRunCommand::Plan { id: 3, plan: Box::new(plan), start: true })
            .then_expect_error(error);
    };
    refused(Plan { targets: vec![], ..plan() }, CurtailmentRunError::TargetsOutOfRange);
    refused(Plan { targets: vec![target(1), target(1)], ..plan() }, CurtailmentRunError::TargetsOutOfRange);
    refused(Plan { targets: (0..2_001).map(target).collect(), ..plan() }, CurtailmentRunError::TargetsOutOfRange);
    refused(Plan { name: Some("x".repeat(201)), ..plan() }, CurtailmentRunError::TextTooLong);
    refused(Plan { ends_at: noon(), ..plan() }, CurtailmentRunError::TimesOutOfRange);
    refused(Plan { ends_at: noon() + TimeDelta::days(32), ..plan() }, CurtailmentRunError::TimesOutOfRange);
    let yesterday = Plan { starts_at: noon() - TimeDelta::days(1), ends_at: noon(), ..plan() };
    refused(yesterday, CurtailmentRunError::TimesOutOfRange);
    for attempts_max in [0, 51] {
        refused(Plan { attempts_max, ..plan() }, CurtailmentRunError::AttemptsOutOfRange);
    }
}

#[test]
fn a_run_whose_time_has_passed_does_not_start() {
    let past = Plan { starts_at: noon() - TimeDelta::days(2), ends_at: noon(), ..plan() };
    given(vec![CurtailmentRunEvent::Planned { id: 3, plan: Box::new(past) }])
        .when(CurtailmentRunCommand::Start)
        .then_expect_error(CurtailmentRunError::Over);
}

#[test]
fn an_unknown_run_takes_no_command() {
    for command in [CurtailmentRunCommand::Start, curtail(1, drifted()), CurtailmentRunCommand::Restore, cancel()] {
        given(vec![]).when(command).then_expect_error(CurtailmentRunError::NotFound);
    }
}

#[test]
fn a_run_is_active_when_the_last_target_has_settled() {
    given(vec![planned(), started()])
        .when(curtail(1, TargetOutcome::Dispatched))
        .then_expect_events(vec![stopped(1, TargetState::Dispatched)]);
    given(half_way())
        .when(curtail(2, TargetOutcome::Confirmed))
        .then_expect_events(vec![stopped(2, TargetState::Confirmed), activated(7.0, 2, 0)]);
    given(half_way()).when(curtail(2, failed())).then_expect_events(vec![
        moved(2, RunStep::Curtail, TargetState::Unavailable, 1, Some("nobody there")),
        activated(3.5, 1, 1),
    ]);
}

#[test]
fn a_target_that_drifts_is_told_again_and_then_given_up() {
    let again = moved(2, RunStep::Curtail, TargetState::Pending, 2, Some("still mining"));
    given(half_way()).when(curtail(2, drifted())).then_expect_events(vec![again.clone()]);
    given(with(half_way(), &[again])).when(curtail(2, drifted())).then_expect_events(vec![
        moved(2, RunStep::Curtail, TargetState::Drifted, 2, Some("still mining")),
        activated(3.5, 1, 1),
    ]);
}

#[test]
fn outcomes_that_nobody_waits_for_change_nothing() {
    given(half_way()).when(curtail(1, TargetOutcome::Confirmed)).then_expect_events(vec![]);
    given(half_way()).when(curtail(2, TargetOutcome::Dispatched)).then_expect_events(vec![]);
    given(half_way()).when(curtail(9, TargetOutcome::Confirmed)).then_expect_events(vec![]);
    given(half_way()).when(start_again(2, TargetOutcome::Confirmed)).then_expect_events(vec![]);
    given(vec![planned()]).when(curtail(1, TargetOutcome::Confirmed)).then_expect_events(vec![]);
    given(with(half_way(), &[restore(cancelled_by_somebody(), &[1, 2])]))
        .when(curtail(2, TargetOutcome::Confirmed))
        .then_expect_events(vec![]);
}

#[test]
fn a_run_without_a_single_reachable_miner_ends_at_once() {
    given(vec![planned(), started(), stopped(1, TargetState::Unavailable)])
        .when(curtail(2, failed()))
        .then_expect_events(vec![
            moved(2, RunStep::Curtail, TargetState::Unavailable, 1, Some("nobody there")),
            CurtailmentRunEvent::CompletedWithFailures { failures: 2 },
        ]);
}

#[test]
fn the_end_starts_the_miners_again_and_completes_the_run() {
    let end = restore(RestoreCause::Ended, &[1, 2]);
    given(active()).when(CurtailmentRunCommand::Restore).then_expect_events(vec![end.clone()]);
    let restoring = with(active(), &[end, restored(1, TargetState::Released)]);
    given(restoring.clone())
        .when(start_again(2, TargetOutcome::Confirmed))
        .then_expect_events(vec![restored(2, TargetState::Released), CurtailmentRunEvent::Completed]);
    given(restoring).when(start_again(2, failed())).then_expect_events(vec![
        moved(2, RunStep::Restore, TargetState::RestoreFailed, 1, Some("nobody there")),
        CurtailmentRunEvent::CompletedWithFailures { failures: 1 },
    ]);
}

#[test]
fn a_target_that_failed_twice_counts_once() {
    let events = with(
        half_way(),
        &[
            moved(2, RunStep::Curtail, TargetState::Drifted, 2, None),
            activated(3.5, 1, 1),
            restore(RestoreCause::Ended, &[1, 2]),
            restored(1, TargetState::Released),
        ],
    );
    given(events).when(start_again(2, failed())).then_expect_events(vec![
        moved(2, RunStep::Restore, TargetState::RestoreFailed, 1, Some("nobody there")),
        CurtailmentRunEvent::CompletedWithFailures { failures: 1 },
    ]);
}

#[test]
fn miners_that_were_never_told_are_not_told_to_start() {
    let events = with(
        vec![planned(), started(), stopped(1, TargetState::Unavailable)],
        &[stopped(2, TargetState::Dispatched), stopped(2, TargetState::Confirmed), activated(3.5, 1, 1)],
    );
    given(events).when(CurtailmentRunCommand::Restore).then_expect_events(vec![restore(RestoreCause::Ended, &[2])]);
}

#[test]
fn a_planned_run_is_cancelled_at_once() {
    given(vec![planned()])
        .when(cancel())
        .then_expect_events(vec![CurtailmentRunEvent::Cancelled { reason: Some("price fell".into()), failures: 0 }]);
    given(vec![planned()])
        .when(CurtailmentRunCommand::Cancel { reason: Some("x".repeat(201)) })
        .then_expect_error(CurtailmentRunError::TextTooLong);
}

#[test]
fn a_run_under_way_is_cancelled_when_its_miners_hash_again() {
    let restoring = restore(cancelled_by_somebody(), &[1, 2]);
    given(half_way()).when(cancel()).then_expect_events(vec![restoring.clone()]);
    given(active()).when(cancel()).then_expect_events(vec![restoring.clone()]);
    given(with(active(), &[restoring.clone(), restored(1, TargetState::Released)]))
        .when(start_again(2, TargetOutcome::Confirmed))
        .then_expect_events(vec![
            restored(2, TargetState::Released),
            CurtailmentRunEvent::Cancelled { reason: Some("price fell".into()), failures: 0 },
        ]);
    given(with(active(), &[restoring]))
        .when(cancel())
        .then_expect_error(CurtailmentRunError::WrongState { state: "restoring" });
}

#[test]
fn an_ended_run_stays_as_it_is() {
    let ends = [
        (CurtailmentRunEvent::Completed, "completed"),
        (CurtailmentRunEvent::CompletedWithFailures { failures: 1 }, "completed_with_failures"),
        (CurtailmentRunEvent::Cancelled { reason: None, failures: 0 }, "cancelled"),
    ];
    for (end, state) in ends {
        for command in [CurtailmentRunCommand::Start, CurtailmentRunCommand::Restore, cancel()] {
            given(with(active(), std::slice::from_ref(&end)))
                .when(command)
                .then_expect_error(CurtailmentRunError::WrongState { state });
        }
    }
    given(vec![planned()])
        .when(CurtailmentRunCommand::Restore)
        .then_expect_error(CurtailmentRunError::WrongState { state: "planned" });
}

#[test]
fn time_starts_and_ends_a_run_unless_an_operator_does() {
    let run = |mode, events: &[CurtailmentRunEvent]| {
        let mut run = CurtailmentRun::default();
        let planned = CurtailmentRunEvent::Planned { id: 3, plan: Box::new(Plan { mode, ..plan() }) };
        for event in std::iter::once(&planned).chain(events) {
            cqrs_es::Aggregate::apply(&mut run, event.clone());
        }
        let CurtailmentRun::Known(run) = run else { panic!("not known") };
        run
    };
    let due = |run: &Run, hours| run.due(noon() + TimeDelta::hours(hours)).map(|command| format!("{command:?}"));
    let (auto, manual) = (run(ExecutionMode::Auto, &[]), run(ExecutionMode::Manual, &[]));
    assert_eq!((due(&auto, -1), due(&auto, 0)), (None, Some("Start".into())));
    assert_eq!((due(&manual, 0), due(&auto, 24)), (None, due(&manual, 24)));
    assert!(due(&auto, 24).unwrap().starts_with("Cancel"));
    let started = |mode| run(mode, &[started()]);
    assert_eq!(due(&started(ExecutionMode::Auto), 23), None);
    assert_eq!(due(&started(ExecutionMode::SemiAuto), 24), Some("Restore".into()));
    assert_eq!(due(&started(ExecutionMode::Manual), 24), None);
    assert!(run(ExecutionMode::Auto, &[CurtailmentRunEvent::Completed]).is_over() && !auto.is_over());
}
