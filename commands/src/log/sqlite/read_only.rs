//! The log in a file that another process may be writing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::log::{Append, Appended, CommandKey, CommandUnderKey, KeptCommand, Log, LogError, PAGE_EVENTS_MAX, Page};
use domain::{Recorded, TenantId};

use super::reader::{Reader, Readers};

/// How often the end of the log is looked up by who waits for it.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// The log in a file, to be read only: a server may have it open at the same time.
#[derive(Debug)]
pub struct ReadOnlySqliteLog {
    readers: Arc<Readers>,
}

impl ReadOnlySqliteLog {
    /// Opens the log at `path`.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when there is none.
    pub fn open(path: &Path) -> Result<Self, LogError> {
        if !path.is_file() {
            return Err(LogError::Unavailable(format!("there is no log at {}", path.display())));
        }
        Ok(Self { readers: Arc::new(Readers::new(path)) })
    }
}

fn read_only<T>() -> Result<T, LogError> {
    Err(LogError::Unavailable("the log was opened for reading only".to_owned()))
}

#[async_trait]
impl Log for ReadOnlySqliteLog {
    async fn append(&self, _: Append) -> Result<Appended, LogError> {
        read_only()
    }

    fn of_one_server(&self) -> bool {
        false
    }

    async fn read_stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        let (aggregate_type, aggregate_id) = (aggregate_type.to_owned(), aggregate_id.to_owned());
        self.readers.read(move |reader| reader.stream(&aggregate_type, &aggregate_id, after)).await
    }

    async fn read_all(&self, after: u64, aggregate_types: &[&str], limit: usize) -> Result<Page, LogError> {
        let limit = limit.min(PAGE_EVENTS_MAX);
        let wanted: Vec<String> = aggregate_types.iter().map(|&name| name.to_owned()).collect();
        let page = move |reader: &mut Reader| {
            let head = reader.head()?;
            if limit == 0 || after >= head {
                return Ok(Page { events: Vec::new(), through: after });
            }
            reader.page(after, head, &wanted, limit)
        };
        self.readers.read(page).await
    }

    async fn head(&self) -> Result<u64, LogError> {
        self.readers.read(Reader::head).await
    }

    async fn grown(&self, position: u64) {
        while !self.head().await.is_ok_and(|head| head > position) {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn command(&self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError> {
        let key = key.to_owned();
        self.readers.read(move |reader| reader.command(tenant, &key)).await
    }

    async fn commands(
        &self,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<CommandUnderKey>, LogError> {
        self.readers.read(move |reader| reader.commands(after.as_ref(), limit)).await
    }

    async fn keep_answer(&self, _: TenantId, _: &CommandKey, _: Vec<u8>) -> Result<(), LogError> {
        read_only()
    }

    async fn reader_position(&self, reader: &str) -> Result<u64, LogError> {
        let name = reader.to_owned();
        self.readers.read(move |reader| reader.position(&name)).await
    }

    async fn reader_positions(&self) -> Result<BTreeMap<String, u64>, LogError> {
        self.readers.read(Reader::positions).await
    }

    async fn missing_guards(&self) -> Result<Vec<&'static str>, LogError> {
        self.readers.read(Reader::missing_guards).await
    }

    async fn keep_reader_position(&self, _: &str, _: u64) -> Result<(), LogError> {
        read_only()
    }
}
