//! Being woken by readings that other servers take in.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;

/// Every transaction that adds readings notifies this channel of the last arrival.
pub(super) const CHANNEL: &str = "corelog_battery";
/// How often the last arrival is looked up when no notification comes: one can be lost with its connection.
const POLL: Duration = Duration::from_secs(2);

/// Keeps `head` up to date for good.
pub(super) async fn follow(pool: PgPool, head: watch::Sender<u64>) {
    let mut listener = None;
    loop {
        if listener.is_none() {
            listener = listen(&pool).await.inspect_err(|error| tracing::warn!(%error, "no notifications")).ok();
        }
        let last = match heard(listener.as_mut()).await {
            Ok(Some(last)) => Ok(last),
            Ok(None) => last_arrival(&pool).await,
            Err(error) => {
                listener = None;
                Err(error)
            }
        };
        match last {
            Ok(last) => {
                let last = u64::try_from(last).unwrap_or(0);
                head.send_if_modified(|head| std::mem::replace(head, last.max(*head)) < last);
            }
            Err(error) => {
                tracing::warn!(%error, "the last arrival of battery readings cannot be looked up");
                tokio::time::sleep(POLL).await;
            }
        }
    }
}

async fn listen(pool: &PgPool) -> sqlx::Result<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// The last arrival as notified; `None` when it is time to look it up.
async fn heard(listener: Option<&mut PgListener>) -> sqlx::Result<Option<i64>> {
    let Some(listener) = listener else {
        tokio::time::sleep(POLL).await;
        return Ok(None);
    };
    match tokio::time::timeout(POLL, listener.try_recv()).await {
        Ok(Ok(notification)) => Ok(notification.and_then(|notification| notification.payload().parse().ok())),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

async fn last_arrival(pool: &PgPool) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT arrival FROM battery_head").fetch_one(pool).await
}
