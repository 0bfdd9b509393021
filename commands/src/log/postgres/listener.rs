//! Being woken by what other servers append.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::PgListener;

use super::super::tail::Tail;
use super::reader::Reader;

/// Every transaction that appends notifies this channel of the position it reached.
const CHANNEL: &str = "corelog_events";

/// Keeps `tail` up to date for good: by notification, and by a look every `poll` because a notification can be lost
/// with its connection.
pub(super) async fn follow(reader: Reader, tail: Arc<Tail>, poll: Duration) {
    let mut listener = None;
    loop {
        let newly = if listener.is_none() {
            listener = listen(&reader).await;
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

async fn listen(reader: &Reader) -> Option<PgListener> {
    let connected = async {
        let mut listener = PgListener::connect_with(reader.pool()).await?;
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
