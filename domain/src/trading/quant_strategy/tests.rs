use chrono::TimeDelta;
use cqrs_es::test::TestFramework;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::*;
use crate::refusal::{Refusal, RefusalKind};
use crate::trading::order::{Fill, OrderSize, Side};
use crate::trading::verdict::{Action, Verdict};

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_735_732_800, 0).unwrap()
}
fn given(events: Vec<QuantStrategyEvent>) -> cqrs_es::test::AggregateTestExecutor<QuantStrategy> {
    TestFramework::with(Now(noon())).given(events)
}
fn draft(config: &Value) -> StrategyDraft {
    StrategyDraft {
        name: "BTC".into(),
        description: String::new(),
        config: config.as_object().unwrap().clone(),
        account_id: Some(Uuid::from_u128(2)),
        capital: None,
    }
}
fn dca() -> StrategyDraft {
    draft(&json!({"order_amount": 100, "interval_minutes": 60}))
}
fn create(kind: StrategyType, draft: StrategyDraft) -> QuantStrategyCommand {
    QuantStrategyCommand::Create { user_id: UserId(Uuid::from_u128(9)), symbol: "btc/usdt:usdt".into(), kind, draft }
}
/// The events of `commands`, one after the other, on a new strategy.
fn history(commands: Vec<QuantStrategyCommand>) -> Vec<QuantStrategyEvent> {
    let mut strategy = QuantStrategy::default();
    let mut history = vec![];
    for command in commands {
        for event in strategy.decide(command, noon()).unwrap() {
            cqrs_es::Aggregate::apply(&mut strategy, event.clone());
            history.push(event);
        }
    }
    history
}
fn to(to: StrategyStatus) -> QuantStrategyCommand {
    QuantStrategyCommand::ChangeStatus { to, connection_error: None }
}
fn status_changed(from: StrategyStatus, to: StrategyStatus, message: Option<&str>) -> QuantStrategyEvent {
    QuantStrategyEvent::StatusChanged { from, to, message: message.map(str::to_owned) }
}
fn active(kind: StrategyType, draft: StrategyDraft) -> Vec<QuantStrategyEvent> {
    history(vec![create(kind, draft), to(StrategyStatus::Active)])
}
/// Hourly candles with these closes, the last one closed at noon.
fn input(decision: u128, closes: &[i64]) -> CycleInput {
    let hours_back = |n: usize| TimeDelta::hours(i64::try_from(closes.len() - n).unwrap());
    let candle = |(n, close): (usize, &i64)| Candle {
        open_time: noon() - hours_back(n),
        open: (*close).into(),
        high: (*close).into(),
        low: (*close).into(),
        close: (*close).into(),
        volume: Decimal::ONE,
    };
    CycleInput {
        decision_id: Uuid::from_u128(decision),
        timeframe: Timeframe::OneHour,
        candles: closes.iter().enumerate().map(candle).collect(),
        account: AccountSnapshot {
            equity: 10_000.into(),
            available_balance: 10_000.into(),
            margin_used: Decimal::ZERO,
            unrealized_pnl: Decimal::ZERO,
            positions: vec![],
        },
        latency_ms: 1,
    }
}
fn start(decision: u128, closes: &[i64]) -> QuantStrategyCommand {
    QuantStrategyCommand::StartCycle(input(decision, closes))
}
fn after(mut events: Vec<QuantStrategyEvent>, commands: Vec<QuantStrategyCommand>) -> Vec<QuantStrategyEvent> {
    let mut strategy = QuantStrategy::default();
    for event in &events {
        cqrs_es::Aggregate::apply(&mut strategy, event.clone());
    }
    for command in commands {
        for event in strategy.decide(command, noon()).unwrap() {
            cqrs_es::Aggregate::apply(&mut strategy, event.clone());
            events.push(event);
        }
    }
    events
}
fn bought() -> OrderOutcome {
    OrderOutcome::Filled(Fill {
        side: Side::Buy,
        quantity: 1.into(),
        price: 100.into(),
        notional: 100.into(),
        fee: Decimal::ZERO,
        realized_pnl: None,
    })
}
fn complete(decision: u128, outcome: OrderOutcome) -> QuantStrategyCommand {
    QuantStrategyCommand::CompleteCycle { decision_id: Uuid::from_u128(decision), outcome }
}
fn refused(lasting: bool) -> OrderOutcome {
    OrderOutcome::Refused { reason: "no money".into(), lasting }
}
fn verdict(event: &QuantStrategyEvent) -> &Verdict {
    let QuantStrategyEvent::CycleStarted { deliberation, .. } = event else { panic!("{event:?} starts no cycle") };
    &deliberation.verdict
}

#[test]
fn a_strategy_is_created_once_as_a_draft() {
    let created = QuantStrategyEvent::Created {
        user_id: UserId(Uuid::from_u128(9)),
        name: "BTC".into(),
        description: String::new(),
        symbol: "BTC/USDT:USDT".parse().unwrap(),
        config: StrategyConfig::read(StrategyType::Dca, &dca().config).unwrap(),
        account_id: Some(Uuid::from_u128(2)),
        capital: None,
    };
    given(vec![]).when(create(StrategyType::Dca, dca())).then_expect_events(vec![created.clone()]);
    given(vec![created]).when(create(StrategyType::Dca, dca())).then_expect_error(QuantStrategyError::AlreadyCreated);
}

#[test]
fn impossible_settings_are_named() {
    let refused = |draft: StrategyDraft, message: &str| {
        let error = QuantStrategy::default().decide(create(StrategyType::Grid, draft), noon()).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.kind()), (message, RefusalKind::Invalid));
    };
    let grid = json!({"upper_price": 95_000, "lower_price": 105_000, "grid_count": 20, "total_investment": 5_000});
    refused(draft(&grid), "Invalid config for grid strategy: upper_price must be greater than lower_price");
    let message = "name must be 1 to 100 characters, none of them a control character";
    refused(StrategyDraft { name: " ".into(), ..dca() }, message);
    refused(StrategyDraft { name: "a\u{202e}b".into(), ..dca() }, message);
    let long = StrategyDraft { description: "x".repeat(2_001), ..dca() };
    refused(long, "description must be at most 2000 characters, none of them a control character");
    let percent = StrategyDraft { capital: Some(Capital::Percent(2.into())), ..dca() };
    refused(percent, "allocated_capital_percent must be above 0 and at most 1");
    let amount = StrategyDraft { capital: Some(Capital::Amount(0.into())), ..dca() };
    refused(amount, "allocated_capital must be above 0 and at most 1000000000");
}

#[test]
fn status_changes_follow_the_rules() {
    let activated = status_changed(StrategyStatus::Draft, StrategyStatus::Active, None);
    let draft = history(vec![create(StrategyType::Dca, dca())]);
    given(draft.clone()).when(to(StrategyStatus::Active)).then_expect_events(vec![activated]);
    let error = QuantStrategyError::InvalidTransition { from: StrategyStatus::Draft, to: StrategyStatus::Paused };
    assert_eq!(error.to_string(), "Invalid status transition from 'draft' to 'paused'");
    given(draft).when(to(StrategyStatus::Paused)).then_expect_error(error);
    given(vec![]).when(to(StrategyStatus::Active)).then_expect_error(QuantStrategyError::NotFound);
}

#[test]
fn only_a_strategy_with_a_connected_account_is_activated() {
    let homeless = StrategyDraft { account_id: None, ..dca() };
    let homeless = history(vec![create(StrategyType::Dca, homeless)]);
    given(homeless).when(to(StrategyStatus::Active)).then_expect_error(QuantStrategyError::NoAccount);
    let offline =
        QuantStrategyCommand::ChangeStatus { to: StrategyStatus::Active, connection_error: Some("no adapter".into()) };
    given(history(vec![create(StrategyType::Dca, dca())]))
        .when(offline)
        .then_expect_error(QuantStrategyError::AccountNotConnected { reason: "no adapter".into() });
}

#[test]
fn a_cycle_without_an_order_is_over_at_once() {
    let grid = json!({"upper_price": 110, "lower_price": 90, "grid_count": 4, "total_investment": 400});
    let events = after(active(StrategyType::Grid, draft(&grid)), vec![start(1, &[102])]);
    let [.., started, completed] = &events[..] else { panic!("{events:?}") };
    assert_eq!(verdict(started).action, Action::Wait);
    assert!(matches!(completed, QuantStrategyEvent::CycleCompleted { cycle: 1, outcome: None, .. }), "{completed:?}");
    let events = after(events, vec![start(2, &[102, 99])]);
    assert_eq!(verdict(&events[4]).action, Action::OpenLong);
    assert_eq!(events.len(), 5);
}

#[test]
fn a_cycle_with_an_order_ends_with_its_outcome() {
    let started = after(active(StrategyType::Dca, dca()), vec![start(1, &[100])]);
    given(started.clone()).when(start(2, &[100])).then_expect_error(QuantStrategyError::CycleRunning);
    given(started.clone()).when(complete(7, bought())).then_expect_events(vec![]);
    let done = after(started, vec![complete(1, bought())]);
    assert!(
        matches!(done.last(), Some(QuantStrategyEvent::CycleCompleted { runtime_state: RuntimeState::Dca(state), .. })
            if state.orders_placed == 1 && state.last_order_time == Some(noon())),
        "{done:?}"
    );
    given(done).when(complete(1, bought())).then_expect_events(vec![]);
}

#[test]
fn a_refused_order_warns_and_a_lasting_refusal_stops() {
    let started = after(active(StrategyType::Dca, dca()), vec![start(1, &[100])]);
    let warned = after(started.clone(), vec![complete(1, refused(false))]);
    let warning = status_changed(StrategyStatus::Active, StrategyStatus::Warning, Some("no money"));
    assert_eq!(warned.last(), Some(&warning));
    let recovered = after(warned, vec![start(2, &[100]), complete(2, bought())]);
    assert_eq!(recovered.last(), Some(&status_changed(StrategyStatus::Warning, StrategyStatus::Active, None)));
    let failed = after(started, vec![complete(1, refused(true))]);
    given(failed)
        .when(start(2, &[100]))
        .then_expect_error(QuantStrategyError::NotActive { status: StrategyStatus::Error });
}

#[test]
fn a_strategy_that_is_not_active_decides_nothing() {
    let draft = history(vec![create(StrategyType::Dca, dca())]);
    let error = QuantStrategyError::NotActive { status: StrategyStatus::Draft };
    given(draft).when(start(1, &[100])).then_expect_error(error);
    let stopped = after(active(StrategyType::Dca, dca()), vec![to(StrategyStatus::Stopped)]);
    let error = QuantStrategyError::NotActive { status: StrategyStatus::Stopped };
    given(stopped).when(start(1, &[100])).then_expect_error(error);
}

#[test]
fn a_fill_is_booked_even_after_the_strategy_was_stopped() {
    let events = vec![start(1, &[100]), to(StrategyStatus::Stopped), complete(1, bought())];
    let done = after(active(StrategyType::Dca, dca()), events);
    assert!(matches!(done.last(), Some(QuantStrategyEvent::CycleCompleted { .. })), "{done:?}");
    given(done).when(QuantStrategyCommand::Delete).then_expect_error(QuantStrategyError::DeleteWhileHolding);
}

#[test]
fn candles_that_are_not_closed_are_not_seen() {
    let mut early = input(1, &[100]);
    early.timeframe = Timeframe::FourHours;
    let error = QuantStrategyError::NoCandles { symbol: "BTC/USDT:USDT".parse().unwrap() };
    given(active(StrategyType::Dca, dca())).when(QuantStrategyCommand::StartCycle(early)).then_expect_error(error);
}

#[test]
fn rsi_buys_on_the_crossing() {
    let rsi = json!({"order_amount": 500, "rsi_period": 2, "leverage": 5});
    let falling = [100, 101, 100, 101, 100, 96];
    let events = after(active(StrategyType::Rsi, draft(&rsi)), vec![start(1, &falling)]);
    let bought = verdict(&events[2]);
    assert_eq!((bought.action, bought.size), (Action::OpenLong, Some(OrderSize::Quote(500.into()))));
    assert_eq!(bought.own_money(), Some(100.into()));
}

#[test]
fn the_allotted_capital_is_not_passed() {
    let thrifty = |capital| StrategyDraft { capital: Some(capital), ..dca() };
    let first = |capital| {
        let events = after(active(StrategyType::Dca, thrifty(capital)), vec![start(1, &[100])]);
        verdict(&events[2]).clone()
    };
    assert_eq!(first(Capital::Amount(100.into())).action, Action::OpenLong);
    assert_eq!(first(Capital::Percent(Decimal::new(1, 2))).action, Action::OpenLong);
    let idle = first(Capital::Amount(99.into()));
    assert_eq!((idle.action, idle.size), (Action::Wait, None));
    assert!(idle.reasoning.ends_with("100 more is over the allotted 99."), "{}", idle.reasoning);
}

#[test]
fn settings_change_while_nothing_is_held() {
    let events = active(StrategyType::Dca, dca());
    let change = |draft| QuantStrategyCommand::Change { draft };
    given(events.clone()).when(change(dca())).then_expect_events(vec![]);
    let other = draft(&json!({"order_amount": 200, "interval_minutes": 60}));
    let changed = after(events.clone(), vec![change(other.clone()), start(1, &[100])]);
    assert_eq!(verdict(&changed[3]).size, Some(OrderSize::Quote(200.into())));
    let holding = after(events, vec![start(1, &[100]), complete(1, bought())]);
    given(holding.clone()).when(change(other)).then_expect_error(QuantStrategyError::ChangeWhileHolding);
    let renamed = after(holding, vec![change(StrategyDraft { name: "Other".into(), ..dca() })]);
    assert!(matches!(renamed.last(), Some(QuantStrategyEvent::Changed { name, .. }) if name == "Other"));
}

#[test]
fn only_drafts_and_stopped_strategies_are_deleted() {
    let events = active(StrategyType::Dca, dca());
    let delete = QuantStrategyCommand::Delete;
    given(events.clone())
        .when(delete.clone())
        .then_expect_error(QuantStrategyError::DeleteWhile { status: StrategyStatus::Active });
    let stopped = after(events, vec![to(StrategyStatus::Stopped)]);
    given(stopped.clone()).when(delete.clone()).then_expect_events(vec![QuantStrategyEvent::Deleted]);
    let deleted = after(stopped, vec![delete.clone()]);
    given(deleted.clone()).when(delete).then_expect_events(vec![]);
    given(deleted).when(to(StrategyStatus::Active)).then_expect_error(QuantStrategyError::NotFound);
}

#[test]
fn the_stored_form_reads_back_as_it_was() {
    let events = after(
        active(StrategyType::Dca, dca()),
        vec![start(1, &[100]), complete(1, bought()), to(StrategyStatus::Stopped)],
    );
    for event in events {
        let stored = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<QuantStrategyEvent>(&stored).unwrap(), event);
    }
}
