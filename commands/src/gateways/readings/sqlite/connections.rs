//! The connections beside the writer, whom they never wait for when they only read.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::super::ReadingsFault;
use super::BUSY;

/// Most of them that work at once.
const CONNECTIONS_MAX: usize = 4;

/// Connections, opened when they are needed.
#[derive(Debug)]
pub(super) struct Connections {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Connections {
    /// None yet, to the file at `path`.
    pub(super) fn to(path: &Path) -> Self {
        Self { path: path.to_owned(), idle: Mutex::default(), permits: Semaphore::new(CONNECTIONS_MAX) }
    }

    /// Asks `question` on a thread that may block.
    pub(super) async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&mut Connection) -> Result<T, ReadingsFault> + Send + 'static,
    ) -> Result<T, ReadingsFault> {
        let _permit = self.permits.acquire().await.map_err(|error| ReadingsFault::because(&error))?;
        let connections = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let mut connection = connections.take()?;
            let answer = question(&mut connection)?;
            // After an error the connection is not used again.
            connections.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            Ok(answer)
        });
        asked.await.map_err(|error| ReadingsFault::because(&error))?
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| connect(&self.path), Ok)
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}
