//! The one task that writes: everything that waits becomes one statement, which is one durable transaction.

mod batch;

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::log::{Appended, LogError};
use migrations::EVENT_STORE_POSTGRES;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::{mpsc, watch};

use self::batch::{Verdicts, independent};
use super::super::jobs::{Job, fill};
use super::super::names::Shared;
use super::super::tail::Tail;
use super::{PostgresOptions, unavailable};

/// A connection that was not used for so long is tried before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// Owns the only connection that writes.
pub(super) struct Writer {
    address: PgConnectOptions,
    /// No answer in this time: the server is gone, and cannot even say so.
    silence_max: Duration,
    shared: Shared,
    /// How far the log reached after what this server appended last.
    appended: watch::Sender<u64>,
    /// `None` after a failure: the next batch connects again.
    open: Option<Open>,
}

struct Open {
    connection: PgConnection,
    used: Instant,
}

impl Writer {
    pub(super) fn new(address: PgConnectOptions, options: &PostgresOptions) -> Self {
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        let address = address.options([
            // Durable when committed, and each statement of the function sees what was committed before it.
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read\\ committed"),
            // Somebody else who appends and never ends makes us fail and try again, not wait for ever.
            ("lock_timeout", &milliseconds(options.turn_timeout)),
            ("statement_timeout", &milliseconds(options.statement_timeout)),
            ("idle_in_transaction_session_timeout", &milliseconds(options.statement_timeout)),
            // Plans are made once; one that was made when the tables were empty must fit when they are full.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("jit", "off"),
        ]);
        let silence_max = options.statement_timeout + options.turn_timeout;
        Self { address, silence_max, shared: Shared::default(), appended: watch::Sender::new(0), open: None }
    }

    /// Connects and makes the tables when there are none.
    pub(super) async fn set_up(&mut self) -> Result<(), LogError> {
        let connection = self.connection().await?;
        let applied = EVENT_STORE_POSTGRES.apply_postgres(connection).await;
        applied.map_err(|error| LogError::Unavailable(error.to_string()))
    }

    /// How far the log reached after what this server appended last; 0 before it appends.
    pub(super) fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    /// Works until nobody can send any more.
    pub(super) async fn run(mut self, mut waiting: mpsc::Receiver<Job>, tail: Arc<Tail>) {
        let mut batch = Vec::new();
        loop {
            if batch.is_empty() {
                let Some(job) = waiting.recv().await else { return };
                batch.push(job);
            }
            fill(&mut batch, &mut waiting);
            let (now, later) = independent(batch);
            self.commit(now, &tail).await;
            batch = later;
        }
    }

    /// All of `jobs` is durable when anybody hears of it, or none is.
    async fn commit(&mut self, jobs: Vec<Job>, tail: &Tail) {
        match self.write(&jobs).await {
            Ok(verdicts) => self.answer(jobs, verdicts, tail),
            Err(Failure::OfOne(_)) if jobs.len() > 1 => {
                // The database does not say whose fault it is, so each has its own turn.
                for job in jobs {
                    Box::pin(self.commit(vec![job], tail)).await;
                }
            }
            Err(Failure::OfOne(error) | Failure::OfAll(error)) => {
                tracing::error!(%error, commands = jobs.len(), "a batch could not be written");
                for job in jobs {
                    job.fail(error.clone());
                }
            }
        }
    }

    async fn write(&mut self, jobs: &[Job]) -> Result<Verdicts, Failure> {
        let silence_max = self.silence_max;
        let attempt = async { batch::append(jobs, self.connection().await?).await.map_err(Failure::from) };
        let verdicts = tokio::time::timeout(silence_max, attempt).await;
        let verdicts = verdicts
            .unwrap_or_else(|_| Err(Failure::OfAll(LogError::Unavailable("the database does not answer".to_owned()))));
        if let Err(Failure::OfAll(_)) = &verdicts {
            self.open = None;
        }
        verdicts
    }

    /// The connection, known to have worked a moment ago.
    async fn connection(&mut self) -> Result<&mut PgConnection, LogError> {
        let open = match self.open.take() {
            Some(open) if open.used.elapsed() < IDLE => Some(open),
            Some(mut open) => open.connection.ping().await.is_ok().then_some(open),
            None => None,
        };
        let connection = match open {
            Some(open) => open.connection,
            None => self.address.connect().await.map_err(|error| unavailable(&error))?,
        };
        Ok(&mut self.open.insert(Open { connection, used: Instant::now() }).connection)
    }

    fn answer(&mut self, jobs: Vec<Job>, mut verdicts: Verdicts, tail: &Tail) {
        let mut answers = Vec::with_capacity(jobs.len());
        let mut recorded = Vec::with_capacity(jobs.len());
        for job in jobs {
            match job {
                Job::KeepAnswer(_, answer) | Job::KeepPosition(_, answer) => drop(answer.send(Ok(()))),
                Job::Append(append, answer) => {
                    let appended = verdicts.next(&append, &mut self.shared);
                    if let Appended::Done(events) = &appended {
                        recorded.extend_from_slice(events);
                    }
                    answers.push((answer, appended));
                }
            }
        }
        if !recorded.is_empty() {
            tail.append(recorded);
            self.appended.send_replace(verdicts.head());
        }
        // A sender that has gone needs no answer.
        for (answer, appended) in answers {
            drop(answer.send(Ok(appended)));
        }
    }
}

/// Why a batch was not appended.
enum Failure {
    /// By what it says, another batch may pass: some command in it is at fault.
    OfOne(LogError),
    /// The database, or the way to it.
    OfAll(LogError),
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        Self::OfAll(error)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        // Data exceptions, violated constraints, limits of the program.
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        let of_one = code.is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)));
        let error = LogError::Unavailable(error.to_string());
        if of_one { Self::OfOne(error) } else { Self::OfAll(error) }
    }
}
