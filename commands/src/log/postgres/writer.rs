//! The one thread that writes: what waits becomes one statement, which is one durable transaction.

mod batch;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::log::{Appended, LogError};
use migrations::EVENT_STORE_POSTGRES;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::runtime::{self, Handle};
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
    tail: Arc<Tail>,
    shared: Shared,
    /// How far the log reached after what this server appended last.
    appended: watch::Sender<u64>,
    /// Where senders wait for their answers.
    senders: Handle,
    /// `None` after a failure: the next batch connects again.
    open: Option<Open>,
}

struct Open {
    connection: PgConnection,
    used: Instant,
}

/// Makes the tables when there are none.
pub(super) async fn set_up(address: PgConnectOptions, options: &PostgresOptions) -> Result<(), LogError> {
    let connected = for_writing(address, options).connect().await;
    let mut connection = connected.map_err(|error| unavailable(&error))?;
    let applied = EVENT_STORE_POSTGRES.apply_postgres(&mut connection).await;
    applied.map_err(|error| LogError::Unavailable(error.to_string()))
}

fn for_writing(address: PgConnectOptions, options: &PostgresOptions) -> PgConnectOptions {
    let milliseconds = |duration: Duration| duration.as_millis().to_string();
    address.options([
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
    ])
}

impl Writer {
    /// A writer for senders in the runtime that this is called in.
    pub(super) fn new(address: PgConnectOptions, options: &PostgresOptions, tail: Arc<Tail>) -> Self {
        let silence_max = options.statement_timeout + options.turn_timeout;
        let (shared, appended, senders) = (Shared::default(), watch::Sender::new(0), Handle::current());
        let address = for_writing(address, options);
        Self { address, silence_max, tail, shared, appended, senders, open: None }
    }

    /// How far the log reached after what this server appended last; 0 before it appends.
    pub(super) fn appended(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    /// Works on a thread of its own until nobody can send any more: among the tasks of all requests the writer would
    /// hear late that a batch is written, and everybody waits for that.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(self, waiting: mpsc::Receiver<Job>) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("log-writer".to_owned());
        thread.spawn(move || runtime.block_on(self.run(waiting))).map(drop)
    }

    async fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        let mut batch = Vec::new();
        loop {
            if batch.is_empty() {
                let Some(job) = waiting.recv().await else { return };
                batch.push(job);
            }
            fill(&mut batch, &mut waiting);
            let (now, later) = independent(batch);
            self.commit(now).await;
            batch = later;
        }
    }

    /// All of `jobs` is durable when anybody hears of it, or none is.
    async fn commit(&mut self, jobs: Vec<Job>) {
        match self.write(&jobs).await {
            Ok(verdicts) => self.answer(jobs, verdicts),
            Err(Failure::OfOne(_)) if jobs.len() > 1 => {
                // The database does not say whose fault it is, so each has its own turn.
                for job in jobs {
                    Box::pin(self.commit(vec![job])).await;
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

    fn answer(&mut self, jobs: Vec<Job>, mut verdicts: Verdicts) {
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
            self.tail.append(recorded);
            self.appended.send_replace(verdicts.head());
        }
        // A sender that has gone needs no answer. One task wakes all of them from within their runtime: to wake each
        // from here costs a system call each.
        let answers = answers.into_iter();
        self.senders.spawn(async move { answers.for_each(|(answer, done)| drop(answer.send(Ok(done)))) });
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
