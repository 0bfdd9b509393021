//! Connections that are kept from one read to the next. A pool of sqlx asks the server for a sign of life whenever one
//! comes back: a second round trip for each read.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Semaphore;

/// A connection that nobody used for so long is tried before it is used.
const IDLE: Duration = Duration::from_secs(1);
const PAUSE_BEFORE_TRYING_AGAIN: Duration = Duration::from_millis(50);

/// A limited number of connections, opened when they are needed.
#[derive(Debug)]
pub(super) struct Connections {
    address: PgConnectOptions,
    /// How long one who reads waits for the others.
    turn_timeout: Duration,
    permits: Semaphore,
    idle: Mutex<Vec<Kept>>,
    /// When one was found lost: those that were used last before that are tried before they are used.
    failure: Mutex<Option<Instant>>,
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Kept {
    connection: PgConnection,
    used: Instant,
    /// See [`leave`](Self::leave).
    left: bool,
}

impl Connections {
    pub(super) fn new(address: PgConnectOptions, most: usize, turn_timeout: Duration) -> Self {
        let permits = Semaphore::new(most);
        Self { address, turn_timeout, permits, idle: Mutex::default(), failure: Mutex::default() }
    }

    /// Reads by a connection, once more when it was lost. `read` hands it back: after an error, or when a read is given
    /// up in between, it is not used again.
    pub(super) async fn read<T, F>(&self, read: impl Fn(Kept) -> F) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<(T, Kept)>>,
    {
        let turn = tokio::time::timeout(self.turn_timeout, self.permits.acquire()).await;
        let _turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        let attempt = async || {
            // A server that is gone without a word answers neither a call nor a sign of life.
            let connected = tokio::time::timeout(self.turn_timeout, self.connected()).await;
            read(connected.map_err(|_| sqlx::Error::PoolTimedOut)??).await
        };
        let mut result = attempt().await;
        if result.as_ref().is_err_and(lost) {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            result = attempt().await;
        }
        let (read, kept) = result?;
        self.keep(kept);
        Ok(read)
    }

    fn keep(&self, kept: Kept) {
        if !kept.left {
            let kept = Kept { used: Instant::now(), ..kept };
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
    }

    async fn connected(&self) -> sqlx::Result<Kept> {
        while let Some(mut kept) = self.take() {
            if !self.is_doubtful(&kept) || kept.connection.ping().await.is_ok() {
                return Ok(kept);
            }
        }
        Ok(Kept { connection: self.connect().await?, used: Instant::now(), left: false })
    }

    async fn connect(&self) -> sqlx::Result<PgConnection> {
        loop {
            match self.address.connect().await {
                Err(error) if is_starting(&error) => tokio::time::sleep(PAUSE_BEFORE_TRYING_AGAIN).await,
                outcome => return outcome,
            }
        }
    }

    fn take(&self) -> Option<Kept> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn is_doubtful(&self, kept: &Kept) -> bool {
        let failure = *self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        kept.used.elapsed() > IDLE || failure.is_some_and(|failure| kept.used < failure)
    }
}

impl Kept {
    /// An answer was not read to its end: whoever used the connection next would have to.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }
}

impl Deref for Kept {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Kept {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// Whether the server is not there yet, or is full: it may be there in a moment.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum; only these pass by themselves")]
fn is_starting(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| code == "57P03" || code == "53300"),
        _ => false,
    }
}

/// Whether the connection is at fault, or the server was restarted behind it.
#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum; only these say that the connection is gone")]
fn lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_server_that_says_nothing_is_not_waited_for_for_ever() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = PgConnectOptions::new().host("127.0.0.1").port(silent.local_addr().unwrap().port());
        let connections = Connections::new(address, 1, Duration::from_millis(50));
        let read = timeout(PATIENCE, connections.read(|kept| async { Ok(((), kept)) })).await;
        assert!(matches!(read, Ok(Err(sqlx::Error::PoolTimedOut))), "{read:?}");
        assert_eq!(connections.permits.available_permits(), 1, "its turn is the next one's");
    }
}
