//! Being woken by what other servers append, and waking them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
use tokio::sync::watch;

use super::super::tail::Tail;
use super::reader::Reader;

/// This channel is notified of the position that an append reached.
const CHANNEL: &str = "corelog_events";

/// How often other servers are notified at most.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(10);
/// How long the listener tries to connect before it says that it cannot.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(100);

/// Notifies other servers of what this one has appended, until its writer is gone. Aside from the appends: a
/// transaction that notifies takes a lock of the whole database server, and more time than an append. Should this
/// server end in between, the others find its events when they look.
pub(super) async fn announce(reader: Reader, mut appended: watch::Receiver<u64>) {
    while appended.changed().await.is_ok() {
        let mut position = *appended.borrow_and_update();
        while let Err(error) = reader.notify(CHANNEL, position).await {
            tracing::warn!(%error, "other servers cannot be notified");
            tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            position = *appended.borrow_and_update();
        }
        tokio::time::sleep(ANNOUNCE_INTERVAL).await;
    }
}

/// Keeps `tail` up to date for good: by notification, and by a look every `poll` because a notification can be lost
/// with its connection.
pub(super) async fn follow(address: PgConnectOptions, reader: Reader, tail: Arc<Tail>, poll: Duration) {
    let connections =
        PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECTED_WITHIN).connect_lazy_with(address);
    let mut listener = None;
    loop {
        let newly = if listener.is_none() {
            listener = listen(&connections).await;
            listener.is_some()
        } else {
            false
        };
        // What was appended before we listened is not heard.
        if newly || worth_a_look(&mut listener, &tail, poll).await {
            match reader.head().await {
                Ok(head) => tail.advance(head),
                Err(error) => {
                    tracing::warn!(%error, "the end of the log cannot be looked up");
                    listener = None;
                    tokio::time::sleep(poll).await;
                }
            }
        }
    }
}

async fn listen(connections: &PgPool) -> Option<PgListener> {
    let connected = async {
        let mut listener = PgListener::connect_with(connections).await?;
        listener.listen(CHANNEL).await?;
        Ok::<_, sqlx::Error>(listener)
    };
    connected.await.inspect_err(|error| tracing::warn!(%error, "no notifications of the log")).ok()
}

/// Waits for a notification or the next look. Our own appends are known before their notification arrives.
async fn worth_a_look(listener: &mut Option<PgListener>, tail: &Tail, poll: Duration) -> bool {
    let Some(connected) = listener else {
        tokio::time::sleep(poll).await;
        return true;
    };
    match tokio::time::timeout(poll, connected.try_recv()).await {
        Ok(Ok(Some(notification))) => {
            notification.payload().parse::<u64>().map_or(true, |position| position > tail.head())
        }
        // Connected again; what was appended in between was not heard.
        Ok(Ok(None)) | Err(_) => true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "notifications of the log are interrupted");
            *listener = None;
            true
        }
    }
}
