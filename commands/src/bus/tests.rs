//! What one server knows of a log on which another appends too, and what nobody may append.

use cqrs_es::Aggregate;
use domain::billing::balance::{Balance, BalanceCommand, BalanceError, Run};
use domain::metadata::{Metadata, TenantId};
use domain::platform::mail::{Mail, MailCommand, SealedLetter};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::log::MemoryLog;

mod one_server;

const OWNER: &str = "00000000-0000-0000-0000-000000000001";

fn two_servers() -> [CommandBus; 2] {
    let log = Arc::new(MemoryLog::new());
    [log.clone(), log].map(|log| CommandBus::new(log, Clock::system()))
}

fn context() -> CommandContext {
    of_tenant(7)
}

fn of_tenant(tenant: u128) -> CommandContext {
    CommandContext::new(Metadata::of(TenantId(Uuid::from_u128(tenant)), "system", "cli", Uuid::nil()))
}

fn credit() -> BalanceCommand {
    BalanceCommand::Credit { amount: Decimal::TEN, redemption_id: Uuid::nil(), code_id: Uuid::nil() }
}

fn hold() -> BalanceCommand {
    BalanceCommand::Hold { run: Run { task_id: Uuid::nil(), lease: 1 }, amount: Decimal::ONE }
}

async fn execute(
    server: &CommandBus,
    command: BalanceCommand,
    context: &CommandContext,
) -> Result<Receipt<Balance>, CommandError<BalanceError>> {
    server.execute(OWNER, command, context).await
}

#[tokio::test]
async fn a_refusal_is_decided_by_the_newest() {
    let [one, other] = two_servers();
    let refused = execute(&one, hold(), &context()).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(BalanceError::Insufficient)), "{refused:?}");
    execute(&other, credit(), &context()).await.unwrap();
    execute(&one, hold(), &context()).await.unwrap();
    let too_much = BalanceCommand::Hold { run: Run { task_id: Uuid::nil(), lease: 2 }, amount: Decimal::from(15) };
    execute(&one, too_much.clone(), &context()).await.unwrap_err();
    execute(&other, credit(), &context()).await.unwrap();
    assert_eq!(execute(&one, too_much, &context()).await.unwrap().sequence, 4);
}

#[tokio::test]
async fn that_there_is_nothing_to_change_is_decided_by_the_newest() {
    let [one, other] = two_servers();
    execute(&other, credit(), &context()).await.unwrap();
    execute(&one, hold(), &context()).await.unwrap();
    // `one` knows the hold, `other` knows the credit alone.
    let settle = BalanceCommand::Settle { run: Run { task_id: Uuid::nil(), lease: 1 }, cost: Decimal::ONE };
    let settled = execute(&other, settle, &context()).await.unwrap();
    assert_eq!(settled.state.figures.balance, Decimal::from(9));
}

#[tokio::test]
async fn what_is_loaded_is_the_newest() {
    let [one, other] = two_servers();
    assert_eq!(one.load::<Balance>(OWNER).await.unwrap().1, 0);
    for sequence in [1, 2] {
        execute(&other, credit(), &context()).await.unwrap();
        let (balance, seen) = one.load::<Balance>(OWNER).await.unwrap();
        assert_eq!((balance.figures.balance, seen), (Decimal::from(10 * sequence), sequence));
    }
}

#[tokio::test]
async fn an_expected_sequence_is_compared_with_the_newest() {
    let [one, other] = two_servers();
    execute(&one, credit(), &context()).await.unwrap();
    execute(&other, credit(), &context()).await.unwrap();
    let expecting = |sequence| CommandContext { expected_sequence: Some(sequence), ..context() };
    execute(&one, hold(), &expecting(2)).await.unwrap();
    let stale = execute(&other, hold(), &expecting(1)).await.unwrap_err();
    assert!(matches!(stale, CommandError::Stale { actual: 3 }), "{stale:?}");
    let (nobody, expecting) = ("00000000-0000-0000-0000-000000000002", expecting(1));
    let missing = one.execute::<Balance>(nobody, hold(), &expecting).await.unwrap_err();
    assert!(matches!(missing, CommandError::Refused(BalanceError::Insufficient)), "{missing:?}");
    let stale = one.execute::<Balance>(nobody, credit(), &expecting).await.unwrap_err();
    assert!(matches!(stale, CommandError::Stale { actual: 0 }), "{stale:?}");
}

#[tokio::test]
async fn a_rehearsal_is_decided_by_the_newest() {
    let [one, other] = two_servers();
    execute(&one, credit(), &context()).await.unwrap();
    execute(&other, credit(), &context()).await.unwrap();
    let rehearsal = CommandContext { dry_run: true, ..context() };
    let rehearsed = execute(&one, hold(), &rehearsal).await.unwrap();
    assert_eq!((rehearsed.sequence, rehearsed.events.len(), rehearsed.recorded.len()), (2, 1, 0));
}

#[tokio::test]
async fn what_was_last_seen_is_forgotten_when_the_stream_is_seen_to_go_on() {
    let [one, other] = two_servers();
    execute(&one, credit(), &context()).await.unwrap();
    let credited = execute(&other, credit(), &context()).await.unwrap();
    let balance = async || one.last_seen::<Balance>(OWNER).await.unwrap().figures.balance;
    assert_eq!(balance().await, Decimal::TEN);
    credited.recorded.iter().for_each(|event| one.saw(Balance::TYPE, event));
    assert_eq!(balance().await, Decimal::from(20));
}

#[tokio::test]
async fn a_stream_of_another_tenant_is_as_good_as_none() {
    let [server, _] = two_servers();
    execute(&server, credit(), &context()).await.unwrap();
    // What is refused where nothing is, is refused in the same words.
    let refused = execute(&server, hold(), &of_tenant(8)).await.unwrap_err();
    assert!(matches!(refused, CommandError::Refused(BalanceError::Insufficient)), "{refused:?}");
    let foreign = execute(&server, credit(), &of_tenant(8)).await.unwrap_err();
    assert!(matches!(foreign, CommandError::Foreign), "{foreign:?}");
}

#[tokio::test]
async fn what_could_never_be_read_again_is_not_appended() {
    let [server, _] = two_servers();
    let (to, subject, sealed_text) = ("a@example.com".to_owned(), "a".to_owned(), "a\0b".to_owned());
    let request = MailCommand::Request { letter: SealedLetter { to, subject, sealed_text, send_before: None } };
    let unfit = server.execute::<Mail>("1", request, &context()).await.unwrap_err();
    assert!(matches!(unfit, CommandError::Unfit(UnfitPayload::Nul)), "{unfit:?}");
    assert_eq!(server.log().head().await.unwrap(), 0);
}
