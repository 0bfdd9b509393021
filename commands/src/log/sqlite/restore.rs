//! Filling an empty file in one transaction.

use std::fs::File;
use std::path::Path;

use async_trait::async_trait;
use domain::Recorded;
use domain::log::{CommandUnderKey, LogError};
use rusqlite::Connection;

use super::super::restore::{Restore, not_empty};
use super::writer::{self, KEEP, KEEP_POSITION};
use super::{integer, lock, unavailable};

const EMPTY: &str = "SELECT NOT EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM commands)";

/// A file that is being filled. No other process can open the log meanwhile.
#[derive(Debug)]
pub struct SqliteRestore {
    /// In a transaction; `None` only while a thread works on it, or after a failure.
    connection: Option<Connection>,
    _lock: File,
}

impl SqliteRestore {
    /// Begins to fill the log at `path`, which is made when there is none.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when it is not empty or in use.
    pub fn begin(path: &Path) -> Result<Self, LogError> {
        let lock = lock(path)?;
        let connection = writer::connect_and_set_up(path)?;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(unavailable)?;
        let empty: bool = connection.query_row(EMPTY, [], |row| row.get(0)).map_err(unavailable)?;
        if !empty {
            return Err(not_empty());
        }
        Ok(Self { connection: Some(connection), _lock: lock })
    }

    /// Runs `work` on a thread that may block.
    async fn work(
        &mut self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()> + Send + 'static,
    ) -> Result<(), LogError> {
        let broken_off = || LogError::Unavailable("filling the log was broken off".to_owned());
        let connection = self.connection.take().ok_or_else(broken_off)?;
        let task = tokio::task::spawn_blocking(move || work(&connection).map(|()| connection));
        let connection = task.await.map_err(unavailable)?.map_err(unavailable)?;
        self.connection = Some(connection);
        Ok(())
    }
}

#[async_trait]
impl Restore for SqliteRestore {
    async fn events(&mut self, events: Vec<Recorded>) -> Result<(), LogError> {
        let insert_all = move |connection: &Connection| {
            let mut insert = connection.prepare_cached(writer::INSERT)?;
            events.iter().try_for_each(|event| writer::insert_event(&mut insert, event))
        };
        self.work(insert_all).await
    }

    async fn commands(&mut self, commands: Vec<CommandUnderKey>) -> Result<(), LogError> {
        let insert_all = move |connection: &Connection| {
            let mut insert = connection.prepare_cached(KEEP)?;
            for CommandUnderKey { tenant, key, kept } in &commands {
                let positions = (integer(kept.first_position), integer(kept.last_position));
                let tenant = tenant.0.as_bytes();
                insert.execute((tenant, key, &kept.fingerprint, positions.0, positions.1, &kept.answer))?;
            }
            Ok(())
        };
        self.work(insert_all).await
    }

    async fn reader_position(&mut self, reader: String, position: u64) -> Result<(), LogError> {
        self.work(move |connection| connection.execute(KEEP_POSITION, (reader, integer(position))).map(|_| ())).await
    }

    async fn commit(mut self: Box<Self>) -> Result<(), LogError> {
        self.work(|connection| connection.execute_batch("COMMIT")).await
    }
}
