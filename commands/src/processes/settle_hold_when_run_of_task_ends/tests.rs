use std::sync::Arc;

use domain::compute::task::work::TaskRequest;
use domain::compute::task::{Allowance, TaskCommand, TaskStatus};
use domain::log::Log;
use domain::metadata::{Metadata, TenantId, UserId};
use rust_decimal::Decimal;
use serde_json::json;

use super::*;
use crate::clock::Clock;
use crate::context::CommandContext;
use crate::log::MemoryLog;
use crate::processes::hold_estimate_when_task_is_leased::HoldEstimateWhenTaskIsLeased;

const TASK: Uuid = Uuid::from_u128(5);

struct Desk {
    log: Arc<MemoryLog>,
    bus: CommandBus,
    owner: UserId,
}

impl Desk {
    async fn with_balance(balance: i64) -> Self {
        let log = Arc::new(MemoryLog::new());
        let desk = Self { bus: CommandBus::new(log.clone(), Clock::system()), log, owner: UserId(Uuid::from_u128(1)) };
        let (amount, nil) = (Decimal::from(balance), Uuid::nil());
        let credit = BalanceCommand::Credit { amount, redemption_id: nil, code_id: nil };
        desk.bus.execute::<Balance>(&desk.owner.to_string(), credit, &context()).await.unwrap();
        desk
    }

    async fn task(&self, command: TaskCommand) -> Recorded {
        let receipt = self.bus.execute::<Task>(&TASK.to_string(), command, &context()).await.unwrap();
        receipt.recorded.into_iter().next().unwrap()
    }

    /// A task that is leased; answers the event.
    async fn leased(&self) -> Recorded {
        let request = TaskRequest {
            title: "x".into(),
            description: None,
            task_type: "training".into(),
            priority: 1,
            estimated_minutes: Some(30),
            config: json!({}),
        };
        let allowance = Allowance { available: 1_000.into(), unfinished: 0, limit: 1 };
        let (owner, timeout_seconds, ttl_seconds) = (self.owner, 3_600, 86_400);
        self.task(TaskCommand::Submit { owner, request, timeout_seconds, ttl_seconds, allowance }).await;
        self.task(TaskCommand::Lease { server_id: Uuid::nil(), session: 1 }).await
    }

    async fn figures(&self) -> (Decimal, Decimal, Decimal) {
        let (balance, _) = self.bus.load::<Balance>(&self.owner.to_string()).await.unwrap();
        (balance.figures.balance, balance.figures.held, balance.figures.spent)
    }

    async fn status(&self) -> TaskStatus {
        self.bus.load::<Task>(&TASK.to_string()).await.unwrap().0.known().unwrap().status
    }
}

fn context() -> CommandContext {
    CommandContext::new(Metadata::of(TenantId::DEFAULT, "system", "cli", Uuid::nil()))
}

fn figures(balance: i64, held: i64, spent: i64) -> (Decimal, Decimal, Decimal) {
    (balance.into(), held.into(), spent.into())
}

#[tokio::test]
async fn money_is_held_once_and_settled_once_however_often_events_are_handled() {
    let desk = Desk::with_balance(10).await;
    let leased = desk.leased().await;
    let first = HoldEstimateWhenTaskIsLeased.react(&desk.bus, &leased).await.unwrap();
    assert_eq!((desk.status().await, desk.figures().await), (TaskStatus::Running, figures(10, 3, 0)));
    let ended = desk.task(TaskCommand::Complete { lease: 1, result: json!({}) }).await;
    let settled = SettleHoldWhenRunOfTaskEnds.react(&desk.bus, &ended).await.unwrap();
    let after = desk.figures().await;
    assert_eq!((after.0 + after.2, after.1), (Decimal::from(10), Decimal::ZERO));
    let head = desk.log.head().await.unwrap();
    assert_eq!(HoldEstimateWhenTaskIsLeased.react(&desk.bus, &leased).await.unwrap(), first);
    assert_eq!(SettleHoldWhenRunOfTaskEnds.react(&desk.bus, &ended).await.unwrap(), settled);
    assert_eq!((desk.log.head().await.unwrap(), desk.figures().await), (head, after));
}

#[tokio::test]
async fn without_money_the_task_is_declined_and_nothing_stays_held() {
    let desk = Desk::with_balance(2).await;
    let leased = desk.leased().await;
    HoldEstimateWhenTaskIsLeased.react(&desk.bus, &leased).await.unwrap();
    assert_eq!((desk.status().await, desk.figures().await), (TaskStatus::Failed, figures(2, 0, 0)));
}

#[tokio::test]
async fn what_was_held_for_a_task_that_was_cancelled_before_it_ran_is_set_free() {
    let desk = Desk::with_balance(10).await;
    let leased = desk.leased().await;
    let cancelled = desk.task(TaskCommand::Cancel { by: desk.owner }).await;
    assert_eq!(HoldEstimateWhenTaskIsLeased.react(&desk.bus, &leased).await.unwrap(), None);
    assert_eq!(desk.figures().await, figures(10, 3, 0));
    SettleHoldWhenRunOfTaskEnds.react(&desk.bus, &cancelled).await.unwrap();
    assert_eq!(desk.figures().await, figures(10, 0, 0));
}

#[tokio::test]
async fn a_failed_run_is_refunded_with_all_that_was_captured() {
    let desk = Desk::with_balance(10).await;
    let leased = desk.leased().await;
    HoldEstimateWhenTaskIsLeased.react(&desk.bus, &leased).await.unwrap();
    let run = Run { task_id: TASK, lease: 1 };
    let meter = BalanceCommand::Meter { run, cost: 2.into(), cover: 3.into() };
    desk.bus.execute::<Balance>(&desk.owner.to_string(), meter, &context()).await.unwrap();
    assert_eq!(desk.figures().await, figures(8, 1, 2));
    let failed = desk.task(TaskCommand::Fail { lease: 1, error: "exit 1".into() }).await;
    SettleHoldWhenRunOfTaskEnds.react(&desk.bus, &failed).await.unwrap();
    assert_eq!(desk.figures().await, figures(10, 0, 0));
}
