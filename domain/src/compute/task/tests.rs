use chrono::TimeDelta;
use cqrs_es::test::TestFramework;
use serde_json::json;

use super::refusal::ConfigFault;
use super::*;

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}
fn owner() -> UserId {
    UserId(Uuid::from_u128(1))
}
fn request(config: Value) -> TaskRequest {
    TaskRequest {
        title: "视频分析任务".into(),
        description: None,
        task_type: "training".into(),
        priority: 2,
        estimated_minutes: Some(30),
        config,
    }
}
fn allowance(available: i64, unfinished: u64) -> Allowance {
    Allowance { available: available.into(), unfinished, limit: 5 }
}
fn submit(request: TaskRequest, allowance: Allowance) -> TaskCommand {
    TaskCommand::Submit { owner: owner(), request, timeout_seconds: 3_600, ttl_seconds: 86_400, allowance }
}
fn submitted() -> TaskEvent {
    TaskEvent::Submitted {
        owner: owner(),
        request: request(json!({})),
        needs: Needs::default(),
        rate_per_minute: Decimal::new(10, 2),
        timeout_seconds: 3_600,
        ttl_seconds: 86_400,
        expires_at: noon() + TimeDelta::days(1),
    }
}
fn moved(from: TaskStatus) -> Moved {
    Moved { owner: owner(), task_type: "training".into(), from }
}
fn leased(lease: u32) -> TaskEvent {
    TaskEvent::Leased {
        server_id: Uuid::nil(),
        session: 1,
        lease,
        estimate: Decimal::new(300, 2),
        moved: moved(TaskStatus::Pending),
    }
}
fn lease() -> TaskCommand {
    TaskCommand::Lease { server_id: Uuid::nil(), session: 1 }
}
fn started(lease: u32, minutes_ago: i64) -> TaskEvent {
    TaskEvent::Started { lease, at: noon() - TimeDelta::minutes(minutes_ago) }
}
fn completed(lease: u32, cents: i64) -> TaskEvent {
    TaskEvent::Completed {
        lease,
        result: json!({ "ok": true }),
        cost: Decimal::new(cents, 2),
        moved: moved(TaskStatus::Running),
    }
}
fn complete(lease: u32) -> TaskCommand {
    TaskCommand::Complete { lease, result: json!({ "ok": true }) }
}
fn failed(lease: u32) -> TaskEvent {
    let cause = FailureCause::Program;
    TaskEvent::Failed { lease, cause, error: "exit 1".into(), moved: moved(TaskStatus::Running) }
}
fn requeued(lease: u32) -> TaskEvent {
    TaskEvent::Requeued { lease, why: "lost".into(), moved: moved(TaskStatus::Running) }
}
fn given(events: Vec<TaskEvent>) -> cqrs_es::test::AggregateTestExecutor<Task> {
    TestFramework::with(Now(noon())).given(events)
}
/// Running for `minutes`.
fn running(minutes: i64) -> Vec<TaskEvent> {
    vec![submitted(), leased(1), started(1, minutes)]
}
fn with(mut events: Vec<TaskEvent>, more: impl IntoIterator<Item = TaskEvent>) -> Vec<TaskEvent> {
    events.extend(more);
    events
}

#[test]
fn a_task_is_submitted_within_limits_and_money() {
    given(vec![]).when(submit(request(json!({})), allowance(3, 4))).then_expect_events(vec![submitted()]);
    given(vec![]).when(submit(request(json!({})), allowance(2, 0))).then_expect_error(TaskError::InsufficientBalance);
    given(vec![]).when(submit(request(json!({})), allowance(3, 5))).then_expect_error(TaskError::TooMany(5));
    given(vec![submitted()])
        .when(submit(request(json!({})), allowance(3, 0)))
        .then_expect_error(TaskError::AlreadySubmitted);
}

#[test]
fn impossible_tasks_are_not_submitted() {
    let refused = |request, error| given(vec![]).when(submit(request, allowance(1_000, 0))).then_expect_error(error);
    let fine = request(json!({}));
    refused(TaskRequest { title: " ".into(), ..fine.clone() }, TaskError::TitleOutOfRange);
    refused(TaskRequest { title: "x".repeat(201), ..fine.clone() }, TaskError::TitleOutOfRange);
    refused(TaskRequest { task_type: "a b".into(), ..fine.clone() }, TaskError::TypeInvalid);
    refused(TaskRequest { priority: 6, ..fine.clone() }, TaskError::PriorityOutOfRange);
    refused(TaskRequest { estimated_minutes: Some(0), ..fine }, TaskError::DurationOutOfRange);
    for (config, fault) in [
        (json!([]), ConfigFault::NoObject),
        (json!({ "command": [] }), ConfigFault::NoProgram),
        (json!({ "command": "ls" }), ConfigFault::NoWords),
        (json!({ "command": ["a", 1] }), ConfigFault::NoWords),
        // Looked for in the whole text, before the command itself is.
        (json!({ "command": ["a\u{0}b"] }), ConfigFault::Nul),
        (json!({ "command": vec!["a"; 101] }), ConfigFault::CommandOutOfRange),
        (json!({ "image": 7 }), ConfigFault::Image),
        (json!({ "gpu_count": 17 }), ConfigFault::GpuCount),
        (json!({ "gpu_count": null }), ConfigFault::GpuCount),
        (json!({ "memory_gb": -1 }), ConfigFault::MemoryGb),
        (json!({ "memory_gb": "much" }), ConfigFault::MemoryGb),
        (json!({ "timeout_seconds": 1 }), ConfigFault::TimeoutSeconds),
        (json!({ "ttl_seconds": 9 }), ConfigFault::TtlSeconds),
        (json!({ "text": "x".repeat(70_000) }), ConfigFault::TooLarge),
        (json!({ "text": "a\u{0}b" }), ConfigFault::Nul),
        (json!({ "gpu_count": 17, "image": 7, "ttl_seconds": "x" }), ConfigFault::Image),
    ] {
        let refused = Task::default().decide(submit(request(config.clone()), allowance(1_000, 0)), noon());
        assert_eq!(refused.unwrap_err(), TaskError::Config(fault), "{config}");
    }
}

#[test]
fn what_looks_like_a_nul_is_none() {
    let config = json!({ "pattern": "\\u0000" });
    Task::default().decide(submit(request(config), allowance(1_000, 0)), noon()).unwrap();
}

#[test]
fn what_config_says_of_limits_and_needs_counts() {
    let config = json!({ "gpu_count": 2, "memory_gb": 7.5, "timeout_seconds": 60, "ttl_seconds": 120 });
    let events = Task::default().decide(submit(request(config), allowance(6, 0)), noon()).unwrap();
    let TaskEvent::Submitted { needs, rate_per_minute, timeout_seconds, expires_at, .. } = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(*needs, Needs { gpus: 2, memory_gb: Decimal::new(75, 1) });
    assert_eq!((*rate_per_minute, *timeout_seconds), (Decimal::new(20, 2), 60));
    assert_eq!(*expires_at, noon() + TimeDelta::seconds(120));
}

#[test]
fn a_task_runs_once_its_estimate_is_held() {
    given(vec![submitted()]).when(lease()).then_expect_events(vec![leased(1)]);
    given(vec![submitted(), leased(1)]).when(lease()).then_expect_error(TaskError::IllegalState(TaskStatus::Leased));
    given(vec![submitted(), leased(1)]).when(TaskCommand::Start { lease: 1 }).then_expect_events(vec![started(1, 0)]);
    given(running(0)).when(TaskCommand::Start { lease: 1 }).then_expect_events(vec![]);
    let declined = TaskEvent::Failed {
        lease: 1,
        cause: FailureCause::InsufficientBalance,
        error: "insufficient balance".into(),
        moved: moved(TaskStatus::Leased),
    };
    given(vec![submitted(), leased(1)]).when(TaskCommand::Decline { lease: 1 }).then_expect_events(vec![declined]);
}

#[test]
fn use_is_paid_by_the_minute_to_the_next_cent() {
    given(running(10)).when(complete(1)).then_expect_events(vec![completed(1, 100)]);
    given(running(0)).when(complete(1)).then_expect_events(vec![completed(1, 0)]);
    assert_eq!(work::cost(Decimal::new(5, 2), TimeDelta::seconds(1)), Decimal::new(1, 2));
    assert_eq!(work::cost(Decimal::new(5, 2), TimeDelta::seconds(-1)), Decimal::ZERO);
    // 1,000 minutes and 40 seconds: 30.02 exactly.
    assert_eq!(work::cost(Decimal::new(3, 2), TimeDelta::seconds(60_040)), Decimal::new(3_002, 2));
}

#[test]
fn nobody_pays_for_the_time_in_which_nobody_could_end_a_run() {
    let timed_out =
        TaskEvent::TimedOut { lease: Some(1), cost: Decimal::new(600, 2), moved: moved(TaskStatus::Running) };
    given(running(600)).when(TaskCommand::TimeOut).then_expect_events(vec![timed_out]);
    given(running(600)).when(complete(1)).then_expect_events(vec![completed(1, 600)]);
}

#[test]
fn an_answer_that_is_repeated_counts_once() {
    given(with(running(10), [completed(1, 100)])).when(complete(1)).then_expect_events(vec![]);
    let fail = TaskCommand::Fail { lease: 1, error: "exit 1".into() };
    given(with(running(10), [failed(1)])).when(fail).then_expect_events(vec![]);
}

#[test]
fn a_late_answer_of_a_lost_server_is_refused() {
    let lost = with(running(10), [requeued(1)]);
    let taken_over = with(lost.clone(), [leased(2), started(2, 1)]);
    for events in [lost, taken_over.clone()] {
        given(events.clone()).when(complete(1)).then_expect_error(TaskError::LeaseLost(1));
        given(events.clone())
            .when(TaskCommand::Fail { lease: 1, error: String::new() })
            .then_expect_error(TaskError::LeaseLost(1));
        given(events)
            .when(TaskCommand::Progress { lease: 1, progress: 1.0 })
            .then_expect_error(TaskError::LeaseLost(1));
    }
    given(taken_over).when(complete(2)).then_expect_events(vec![completed(2, 10)]);
}

#[test]
fn progress_is_recorded_when_it_changes() {
    let progress = |progress| TaskCommand::Progress { lease: 1, progress };
    let progressed = TaskEvent::Progressed { lease: 1, progress: 45.5 };
    given(running(1)).when(progress(45.52)).then_expect_events(vec![progressed.clone()]);
    given(with(running(1), [progressed])).when(progress(45.5)).then_expect_events(vec![]);
    given(running(1)).when(progress(101.0)).then_expect_error(TaskError::ProgressOutOfRange);
    given(running(1)).when(progress(f64::NAN)).then_expect_error(TaskError::ProgressOutOfRange);
}

#[test]
fn a_task_is_cancelled_until_it_is_over() {
    let cancel = TaskCommand::Cancel { by: owner() };
    let cancelled = |lease, cents: i64, from| TaskEvent::Cancelled {
        by: owner(),
        lease,
        cost: Decimal::new(cents, 2),
        moved: moved(from),
    };
    given(vec![submitted()]).when(cancel.clone()).then_expect_events(vec![cancelled(None, 0, TaskStatus::Pending)]);
    given(running(3)).when(cancel.clone()).then_expect_events(vec![cancelled(Some(1), 30, TaskStatus::Running)]);
    given(with(running(3), [completed(1, 30)]))
        .when(cancel)
        .then_expect_error(TaskError::IllegalState(TaskStatus::Completed));
}

#[test]
fn a_retry_keeps_the_task_and_counts_its_leases_on() {
    let retry = TaskCommand::Retry { by: owner(), allowance: allowance(3, 0) };
    let expires_at = noon() + TimeDelta::days(1);
    let retried = TaskEvent::Retried { by: owner(), expires_at, moved: moved(TaskStatus::Failed) };
    let over = with(running(1), [failed(1)]);
    given(over.clone()).when(retry.clone()).then_expect_events(vec![retried.clone()]);
    given(with(over.clone(), [retried])).when(lease()).then_expect_events(vec![leased(2)]);
    given(running(1)).when(retry).then_expect_error(TaskError::IllegalState(TaskStatus::Running));
    let poor = TaskCommand::Retry { by: owner(), allowance: allowance(0, 0) };
    given(over.clone()).when(poor).then_expect_error(TaskError::InsufficientBalance);
    let busy = TaskCommand::Retry { by: owner(), allowance: allowance(3, 5) };
    given(over).when(busy).then_expect_error(TaskError::TooMany(5));
}

#[test]
fn life_counts_from_the_submission_and_the_run_from_its_start() {
    let out =
        |lease, cents: i64, from| vec![TaskEvent::TimedOut { lease, cost: Decimal::new(cents, 2), moved: moved(from) }];
    given(running(59)).when(TaskCommand::TimeOut).then_expect_events(vec![]);
    given(running(60)).when(TaskCommand::TimeOut).then_expect_events(out(Some(1), 600, TaskStatus::Running));
    given(vec![submitted()]).when(TaskCommand::TimeOut).then_expect_events(vec![]);
    let mut old = submitted();
    if let TaskEvent::Submitted { expires_at, .. } = &mut old {
        *expires_at = noon();
    }
    given(vec![old.clone()]).when(TaskCommand::TimeOut).then_expect_events(out(None, 0, TaskStatus::Pending));
    given(vec![old]).when(lease()).then_expect_error(TaskError::IllegalState(TaskStatus::Pending));
}

#[test]
fn a_task_without_money_to_go_on_is_stopped_and_pays_what_it_used() {
    let stop = |cents| TaskCommand::Stop { lease: 1, covered: Decimal::new(cents, 2) };
    let stopped =
        |cents| TaskEvent::Stopped { lease: 1, cost: Decimal::new(cents, 2), moved: moved(TaskStatus::Running) };
    given(running(10)).when(stop(100)).then_expect_events(vec![stopped(100)]);
    given(running(10)).when(stop(90)).then_expect_events(vec![stopped(90)]);
}

#[test]
fn a_task_that_runs_is_not_deleted() {
    let delete = TaskCommand::Delete { by: owner() };
    let deleted = |from| TaskEvent::Deleted { by: owner(), moved: moved(from) };
    given(running(1)).when(delete.clone()).then_expect_error(TaskError::IllegalState(TaskStatus::Running));
    given(vec![submitted()]).when(delete.clone()).then_expect_events(vec![deleted(TaskStatus::Pending)]);
    given(vec![submitted(), deleted(TaskStatus::Pending)]).when(delete).then_expect_error(TaskError::NotFound);
}
