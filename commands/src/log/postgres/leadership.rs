//! One server among those on a database leads: the one whose session holds an advisory lock.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::watch;

const TRY_LOCK: &str = "SELECT pg_try_advisory_lock(7165071312106252034)";
/// The database gives up a session that says nothing for so long, and the lock with it: a leader that was stopped, or that
/// the network does not reach any more, holds its connection for hours. PostgreSQL before 14 has no such setting.
const LIMIT_SILENCE: &str =
    "SELECT set_config(name, '10s', false) FROM pg_settings WHERE name = 'idle_session_timeout'";
/// How often the lock is tried for, and a held one is made sure of.
const INTERVAL: Duration = Duration::from_millis(500);
/// A session that does not answer for so long is given up, and with it the leadership.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Says whether this server leads, until nobody listens. The first try is over when this returns, so a server that is
/// alone starts as the leader.
///
/// The lock ends with its session, and that with a leader that does not speak any more. A leader that lost it without
/// knowing does no harm for the moments until it notices: checkpoints move by compare-and-set and commands of processes
/// carry keys.
pub(super) async fn compete(address: PgConnectOptions) -> watch::Receiver<bool> {
    let first = try_lock(&address).await;
    let (leading, receiver) = watch::channel(first.is_some());
    tokio::spawn(async move {
        let mut held = first;
        // Whoever does not listen any more lets go at once: the next server need not wait for it.
        while tokio::time::timeout(INTERVAL, leading.closed()).await.is_err() {
            held = match held {
                Some(session) => keep(session).await,
                None => try_lock(&address).await,
            };
            leading.send_if_modified(|leads| std::mem::replace(leads, held.is_some()) != held.is_some());
        }
    });
    receiver
}

async fn try_lock(address: &PgConnectOptions) -> Option<PgConnection> {
    let attempt = async {
        let mut session: PgConnection = address.connect().await?;
        sqlx::query(LIMIT_SILENCE).execute(&mut session).await?;
        let locked: bool = sqlx::query_scalar(TRY_LOCK).fetch_one(&mut session).await?;
        Ok::<_, sqlx::Error>(locked.then_some(session))
    };
    tokio::time::timeout(SILENCE_MAX, attempt).await.ok()?.ok()?
}

async fn keep(mut session: PgConnection) -> Option<PgConnection> {
    let answered = tokio::time::timeout(SILENCE_MAX, session.ping()).await;
    matches!(answered, Ok(Ok(()))).then_some(session)
}
