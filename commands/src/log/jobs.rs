//! Commands that wait for the writer, and how many of them it takes at once.

use std::time::{Duration, Instant};

use domain::TenantId;
use domain::log::{Append, Appended, CommandKey, LogError};
use tokio::sync::{mpsc, oneshot};

use super::limits;

/// Senders wait when so many commands wait already.
const WAITING_MAX: usize = 4_096;
/// Most commands of one transaction.
const BATCH_JOBS_MAX: usize = 1_024;
/// A transaction takes no more commands when it has so many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a transaction waits for commands that may come.
const COMPANY_WAIT_MAX: Duration = Duration::from_micros(200);

/// Where the writer says how it went.
pub(super) type Answer<T> = oneshot::Sender<Result<T, LogError>>;

/// What a writer does.
#[derive(Debug)]
pub(super) enum Job {
    Append(Append, Answer<Appended>),
    KeepAnswer(KeepAnswer, Answer<()>),
    KeepPosition(KeepPosition, Answer<()>),
}

/// See [`domain::log::Log::keep_answer`].
#[derive(Debug)]
pub(super) struct KeepAnswer {
    pub(super) tenant: TenantId,
    pub(super) key: CommandKey,
    pub(super) answer: Vec<u8>,
}

/// See [`domain::log::Log::keep_reader_position`].
#[derive(Debug)]
pub(super) struct KeepPosition {
    pub(super) reader: String,
    pub(super) position: u64,
}

/// The queue in front of a writer.
#[derive(Debug, Clone)]
pub(super) struct Jobs {
    queue: mpsc::Sender<Job>,
}

impl Jobs {
    /// A queue and its far end.
    pub(super) fn queue() -> (Self, mpsc::Receiver<Job>) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        (Self { queue }, waiting)
    }

    pub(super) async fn append(&self, append: Append) -> Result<Appended, LogError> {
        limits::check(&append)?;
        self.done(|answer| Job::Append(append, answer)).await
    }

    pub(super) async fn keep_answer(&self, keep: KeepAnswer) -> Result<(), LogError> {
        limits::check_key(&keep.key)?;
        self.done(|answer| Job::KeepAnswer(keep, answer)).await
    }

    pub(super) async fn keep_position(&self, keep: KeepPosition) -> Result<(), LogError> {
        self.done(|answer| Job::KeepPosition(keep, answer)).await
    }

    async fn done<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T, LogError> {
        let stopped = || LogError::Unavailable("the writer has stopped".to_owned());
        let (answer, answered) = oneshot::channel();
        self.queue.send(job(answer)).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Append(append, _) => limits::bytes(append),
            Self::KeepAnswer(keep, _) => keep.answer.len(),
            Self::KeepPosition(keep, _) => keep.reader.len(),
        }
    }

    /// Tells the sender that it failed.
    pub(super) fn fail(self, error: LogError) {
        // A sender that has gone needs no answer.
        match self {
            Self::Append(_, answer) => drop(answer.send(Err(error))),
            Self::KeepAnswer(_, answer) | Self::KeepPosition(_, answer) => drop(answer.send(Err(error))),
        }
    }
}

/// Who shared the last transaction, and is likely to be back soon: clients that wait for their answers come in rounds.
/// Whoever was alone waits for nobody.
#[derive(Debug, Default)]
pub(super) struct Company {
    last: usize,
    since: Option<Instant>,
}

impl Company {
    /// Whether a transaction of `present` commands should wait a moment for more.
    pub(super) fn is_awaited(&mut self, present: usize) -> bool {
        present < self.last / 2 && self.since.get_or_insert_with(Instant::now).elapsed() < COMPANY_WAIT_MAX
    }

    /// So many came.
    pub(super) fn came(&mut self, present: usize) {
        *self = Self { last: present, since: None };
    }
}

/// Adds to `batch` what waits now, as far as one transaction takes it.
pub(super) fn fill(batch: &mut Vec<Job>, waiting: &mut mpsc::Receiver<Job>) {
    let mut bytes: usize = batch.iter().map(Job::bytes).sum();
    while batch.len() < BATCH_JOBS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(job) = waiting.try_recv() else { return };
        bytes += job.bytes();
        batch.push(job);
    }
}
