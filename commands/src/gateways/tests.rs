//! What the runner of gateways makes of the log.

use chrono::DateTime;
use cqrs_es::Aggregate;
use domain::TenantId;
use domain::billing::balance::Balance;
use domain::log::Log;
use uuid::Uuid;

use super::*;
use crate::clock::Clock;
use crate::log::MemoryLog;

/// Its work begins with every event that can be read.
struct AnyBalance;

#[async_trait]
impl Gateway for AnyBalance {
    fn name(&self) -> &'static str {
        "any_balance"
    }

    fn consumes(&self) -> &'static str {
        Balance::TYPE
    }

    fn at_once(&self) -> usize {
        1
    }

    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError> {
        event.decode::<Balance>().map(|_| Notice::Begins)
    }

    async fn perform(&self, _: &CommandBus, _: &str) -> Result<(), String> {
        Ok(())
    }
}

fn of_a_newer_version(position: u64, id: &str) -> Recorded {
    Recorded {
        position,
        event_id: Uuid::nil(),
        aggregate_type: Balance::TYPE.into(),
        aggregate_id: Arc::<str>::from(id).into(),
        sequence: 1,
        event_type: "balance.credited".into(),
        event_version: 99,
        payload: Arc::<str>::from("{}").into(),
        tenant: TenantId::DEFAULT,
        metadata: Arc::<str>::from("{}").into(),
        recorded_at: DateTime::UNIX_EPOCH,
    }
}

#[tokio::test]
async fn what_it_cannot_read_is_left_for_a_server_that_can() {
    let log = Arc::new(MemoryLog::new());
    let bus = Arc::new(CommandBus::new(log.clone(), Clock::system()));
    let mut runner = GatewayRunner::new(bus, Arc::new(AnyBalance), Arc::default());
    runner.take_notice(&of_a_newer_version(7, "a"));
    runner.take_notice(&of_a_newer_version(8, "a"));
    runner.through = 2_000;
    runner.keep().await.unwrap();
    assert_eq!(runner.open.values().collect::<Vec<_>>(), [&7], "the reader's position would pass it over");
    assert_eq!(log.reader_position(&runner.reader()).await.unwrap(), 0);
}
