use cqrs_es::Aggregate;
use cqrs_es::test::TestFramework;
use proptest::prelude::*;

use super::*;

fn credit(amount: i64) -> BalanceCommand {
    BalanceCommand::Credit { amount: Decimal::from(amount), redemption_id: Uuid::nil(), code_id: Uuid::nil() }
}
fn credited(amount: i64, balance_after: i64) -> BalanceEvent {
    BalanceEvent::Credited {
        amount: Decimal::from(amount),
        balance_after: Decimal::from(balance_after),
        redemption_id: Uuid::nil(),
        code_id: Uuid::nil(),
    }
}
fn run(lease: u32) -> Run {
    Run { task_id: Uuid::nil(), lease }
}
fn figures(balance: i64, held: i64, spent: i64) -> Figures {
    Figures { balance: balance.into(), held: held.into(), spent: spent.into() }
}
fn entry(lease: u32, amount: i64, before: Figures, after: Figures) -> Entry {
    Entry { run: run(lease), amount: amount.into(), before, after }
}
fn hold(lease: u32, amount: i64) -> BalanceCommand {
    BalanceCommand::Hold { run: run(lease), amount: amount.into() }
}
fn given(events: Vec<BalanceEvent>) -> cqrs_es::test::AggregateTestExecutor<Balance> {
    TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
}
/// Ten credited, of which six are held for a run.
fn holding() -> Vec<BalanceEvent> {
    vec![credited(10, 10), BalanceEvent::Held(entry(1, 6, figures(10, 0, 0), figures(10, 6, 0)))]
}

#[test]
fn credits_add_up() {
    given(vec![]).when(credit(100)).then_expect_events(vec![credited(100, 100)]);
    given(vec![credited(100, 100)]).when(credit(50)).then_expect_events(vec![credited(50, 150)]);
}

#[test]
fn a_credit_of_nothing_is_refused() {
    given(vec![]).when(credit(0)).then_expect_error(BalanceError::AmountOutOfRange);
}

#[test]
fn what_was_paid_for_is_credited_above_the_most_that_is_adjusted_to() {
    let rich = || vec![credited(1, 1_000_000_000)];
    given(rich()).when(credit(1)).then_expect_events(vec![credited(1, 1_000_000_001)]);
    let by = UserId(Uuid::nil());
    let adjust =
        |amount: i64| BalanceCommand::Adjust { adjustment: Adjustment::By(amount.into()), reason: "gift".into(), by };
    given(rich()).when(adjust(1)).then_expect_error(BalanceError::TooMuch);
    let richer = || vec![credited(2, 1_000_000_002)];
    let less = BalanceEvent::Adjusted {
        amount: Decimal::from(-1),
        reason: "gift".into(),
        by,
        before: figures(1_000_000_002, 0, 0),
        after: figures(1_000_000_001, 0, 0),
    };
    given(richer()).when(adjust(-1)).then_expect_events(vec![less]);
}

#[test]
fn what_is_held_cannot_be_held_again() {
    given(holding()).when(hold(2, 5)).then_expect_error(BalanceError::Insufficient);
    let fits = BalanceEvent::Held(entry(2, 4, figures(10, 6, 0), figures(10, 10, 0)));
    given(holding()).when(hold(2, 4)).then_expect_events(vec![fits]);
    given(holding()).when(hold(1, 6)).then_expect_events(vec![]);
    given(vec![]).when(hold(1, 1)).then_expect_error(BalanceError::Insufficient);
}

#[test]
fn a_run_is_captured_by_use_and_the_rest_is_released() {
    given(holding()).when(BalanceCommand::Settle { run: run(1), cost: 2.into() }).then_expect_events(vec![
        BalanceEvent::Captured(entry(1, 2, figures(10, 6, 0), figures(8, 4, 2))),
        BalanceEvent::Released(entry(1, 4, figures(8, 4, 2), figures(8, 0, 2))),
    ]);
    given(vec![]).when(BalanceCommand::Settle { run: run(1), cost: 2.into() }).then_expect_events(vec![]);
}

#[test]
fn a_refund_reverses_both_spent_and_balance() {
    let mut events = holding();
    events.push(BalanceEvent::Captured(entry(1, 2, figures(10, 6, 0), figures(8, 4, 2))));
    given(events).when(BalanceCommand::Refund { run: run(1) }).then_expect_events(vec![
        BalanceEvent::Refunded(entry(1, 2, figures(8, 4, 2), figures(10, 4, 0))),
        BalanceEvent::Released(entry(1, 4, figures(10, 4, 0), figures(10, 0, 0))),
    ]);
}

#[test]
fn a_run_that_goes_on_holds_more_until_the_money_is_used_up() {
    let meter = |cost: i64, cover: i64| BalanceCommand::Meter { run: run(1), cost: cost.into(), cover: cover.into() };
    given(holding()).when(meter(6, 7)).then_expect_events(vec![
        BalanceEvent::Held(entry(1, 1, figures(10, 6, 0), figures(10, 7, 0))),
        BalanceEvent::Captured(entry(1, 6, figures(10, 7, 0), figures(4, 1, 6))),
    ]);
    given(holding()).when(meter(0, 3)).then_expect_events(vec![]);
    given(holding()).when(meter(10, 11)).then_expect_error(BalanceError::Insufficient);
}

#[test]
fn an_adjustment_says_why_and_leaves_what_is_held() {
    let by = UserId(Uuid::nil());
    let adjust = |adjustment, reason: &str| BalanceCommand::Adjust { adjustment, reason: reason.to_owned(), by };
    let adjusted = |amount: i64, before, after| {
        vec![BalanceEvent::Adjusted { amount: amount.into(), reason: "gift".into(), by, before, after }]
    };
    given(vec![]).when(adjust(Adjustment::By(5.into()), "gift")).then_expect_events(adjusted(
        5,
        figures(0, 0, 0),
        figures(5, 0, 0),
    ));
    given(holding()).when(adjust(Adjustment::To(6.into()), "gift")).then_expect_events(adjusted(
        -4,
        figures(10, 6, 0),
        figures(6, 6, 0),
    ));
    given(holding()).when(adjust(Adjustment::To(10.into()), "gift")).then_expect_events(vec![]);
    given(holding()).when(adjust(Adjustment::To(5.into()), "gift")).then_expect_error(BalanceError::BelowHeld);
    given(vec![]).when(adjust(Adjustment::By((-1).into()), "gift")).then_expect_error(BalanceError::BelowHeld);
    given(vec![]).when(adjust(Adjustment::By(5.into()), " ")).then_expect_error(BalanceError::ReasonOutOfRange);
    let fine = Adjustment::By(Decimal::new(1_001, 3));
    given(vec![]).when(adjust(fine, "gift")).then_expect_error(BalanceError::AmountOutOfRange);
}

fn any_command() -> impl Strategy<Value = BalanceCommand> {
    let amount = || (-200_i64..2_000).prop_map(|cents| Decimal::new(cents, 2));
    let run = || (1_u32..4).prop_map(run);
    prop_oneof![
        amount().prop_map(|amount| BalanceCommand::Credit { amount, redemption_id: Uuid::nil(), code_id: Uuid::nil() }),
        (amount(), any::<bool>()).prop_map(|(amount, by)| BalanceCommand::Adjust {
            adjustment: if by { Adjustment::By(amount) } else { Adjustment::To(amount) },
            reason: "test".into(),
            by: UserId(Uuid::nil()),
        }),
        (run(), amount()).prop_map(|(run, amount)| BalanceCommand::Hold { run, amount }),
        (run(), amount(), amount()).prop_map(|(run, cost, more)| BalanceCommand::Meter {
            run,
            cost,
            cover: cost + more
        }),
        (run(), amount()).prop_map(|(run, cost)| BalanceCommand::Settle { run, cost }),
        run().prop_map(|run| BalanceCommand::Refund { run }),
    ]
}

/// What an event adds to the balance, to what is held and to what was spent, from its kind and amount alone.
fn change(event: &BalanceEvent) -> (Decimal, Decimal, Decimal) {
    let zero = Decimal::ZERO;
    match event {
        BalanceEvent::Credited { amount, .. } | BalanceEvent::Adjusted { amount, .. } => (*amount, zero, zero),
        BalanceEvent::Held(entry) => (zero, entry.amount, zero),
        BalanceEvent::Captured(entry) => (-entry.amount, -entry.amount, entry.amount),
        BalanceEvent::Released(entry) => (zero, -entry.amount, zero),
        BalanceEvent::Refunded(entry) => (entry.amount, zero, -entry.amount),
    }
}

proptest! {
    /// Whatever is commanded: the entries sum to the balance after each of them, nothing falls below zero, and the holds
    /// add up to what is held.
    #[test]
    fn the_entries_sum_to_the_balance_at_every_position(commands in proptest::collection::vec(any_command(), 1..60)) {
        let (mut balance, mut sums) = (Balance::default(), (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO));
        for command in commands {
            for event in balance.decide(command, DateTime::UNIX_EPOCH).unwrap_or_default() {
                let (total, held, spent) = change(&event);
                sums = (sums.0 + total, sums.1 + held, sums.2 + spent);
                balance.apply(event);
                let Figures { balance: total, held, spent } = balance.figures;
                prop_assert_eq!(sums, (total, held, spent));
                prop_assert!(held >= Decimal::ZERO && spent >= Decimal::ZERO && balance.available() >= Decimal::ZERO);
                prop_assert_eq!(balance.holds.iter().map(|hold| hold.held).sum::<Decimal>(), held);
            }
        }
    }
}
