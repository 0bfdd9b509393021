//! What a server knows of a log on which it alone appends.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use domain::log::{CommandKey, CommandUnderKey, Page};
use futures::FutureExt;
use tokio::sync::Semaphore;

use super::*;

/// A log of one server. Each append waits for a permit, and is carried through although its sender has gone.
struct OwnLog {
    inner: Arc<MemoryLog>,
    permits: Arc<Semaphore>,
    streams_read: AtomicUsize,
}

fn one_server(permits: usize) -> (CommandBus, Arc<OwnLog>) {
    let permits = Arc::new(Semaphore::new(permits));
    let log = Arc::new(OwnLog { inner: Arc::new(MemoryLog::new()), permits, streams_read: AtomicUsize::new(0) });
    (CommandBus::new(log.clone(), Clock::system()), log)
}

#[async_trait]
impl Log for OwnLog {
    async fn append(&self, append: Append) -> Result<Appended, LogError> {
        let (inner, permits) = (Arc::clone(&self.inner), Arc::clone(&self.permits));
        let carried_through = async move {
            permits.acquire().await.unwrap().forget();
            inner.append(append).await
        };
        tokio::spawn(carried_through).await.unwrap()
    }

    fn of_one_server(&self) -> bool {
        true
    }

    async fn read_stream(&self, sort: &str, id: &str, after: u64) -> Result<Vec<Recorded>, LogError> {
        self.streams_read.fetch_add(1, Ordering::Relaxed);
        self.inner.read_stream(sort, id, after).await
    }

    async fn read_all(&self, after: u64, aggregate_types: &[&str], limit: usize) -> Result<Page, LogError> {
        self.inner.read_all(after, aggregate_types, limit).await
    }

    async fn head(&self) -> Result<u64, LogError> {
        self.inner.head().await
    }

    async fn grown(&self, position: u64) {
        self.inner.grown(position).await;
    }

    async fn command(&self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError> {
        self.inner.command(tenant, key).await
    }

    async fn commands(
        &self,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<CommandUnderKey>, LogError> {
        self.inner.commands(after, limit).await
    }

    async fn keep_answer(&self, tenant: TenantId, key: &CommandKey, answer: Vec<u8>) -> Result<(), LogError> {
        self.inner.keep_answer(tenant, key, answer).await
    }

    async fn reader_position(&self, reader: &str) -> Result<u64, LogError> {
        self.inner.reader_position(reader).await
    }

    async fn reader_positions(&self) -> Result<BTreeMap<String, u64>, LogError> {
        self.inner.reader_positions().await
    }

    async fn keep_reader_position(&self, reader: &str, position: u64) -> Result<(), LogError> {
        self.inner.keep_reader_position(reader, position).await
    }

    async fn missing_guards(&self) -> Result<Vec<&'static str>, LogError> {
        self.inner.missing_guards().await
    }
}

async fn loaded(server: &CommandBus) -> (Decimal, u64) {
    let (balance, sequence) = server.load::<Balance>(OWNER).await.unwrap();
    (balance.figures.balance, sequence)
}

#[tokio::test]
async fn what_it_has_seen_is_not_read_again() {
    let (server, log) = one_server(2);
    execute(&server, credit(), &context()).await.unwrap();
    assert_eq!(log.streams_read.load(Ordering::Relaxed), 1);
    execute(&server, credit(), &context()).await.unwrap();
    let too_much = BalanceCommand::Hold { run: Run { task_id: Uuid::nil(), lease: 1 }, amount: Decimal::from(25) };
    execute(&server, too_much, &context()).await.unwrap_err();
    assert_eq!(loaded(&server).await, (Decimal::from(20), 2));
    assert_eq!(log.streams_read.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_append_whose_sender_has_gone_is_not_missed() {
    let (server, log) = one_server(1);
    execute(&server, credit(), &context()).await.unwrap();
    assert!(execute(&server, credit(), &context()).now_or_never().is_none());
    // It is under way still: whatever is read now is not to be relied on later.
    assert_eq!(loaded(&server).await, (Decimal::TEN, 1));
    log.permits.add_permits(1);
    log.grown(1).await;
    assert_eq!(loaded(&server).await, (Decimal::from(20), 2));
    log.permits.add_permits(1);
    assert_eq!(execute(&server, credit(), &context()).await.unwrap().sequence, 3);
    let read = log.streams_read.load(Ordering::Relaxed);
    assert_eq!(loaded(&server).await, (Decimal::from(30), 3));
    assert_eq!(log.streams_read.load(Ordering::Relaxed), read, "it is still in doubt");
}
