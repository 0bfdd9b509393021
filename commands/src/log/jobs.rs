//! Commands that wait for the writer, and how many of them it takes at once.

use domain::TenantId;
use domain::log::{Append, Appended, CommandKey, LogError};
use tokio::sync::{mpsc, oneshot};

use super::limits;

/// Senders wait when so many commands wait already.
const WAITING_MAX: usize = 4_096;
/// Most commands of one transaction.
const BATCH_JOBS_MAX: usize = 1_024;
/// A transaction takes half of the commands that wait, but not fewer than this: those who are told first work on while
/// the others are written. If it took all, everybody would wait for the writer and then the writer for everybody.
const BATCH_JOBS_MIN: usize = 32;
/// A transaction takes no more commands when it has so many bytes.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

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

/// Adds to `batch` what one transaction takes of what waits now.
pub(super) fn fill(batch: &mut Vec<Job>, waiting: &mut mpsc::Receiver<Job>) {
    let jobs_max = (waiting.len() / 2).clamp(BATCH_JOBS_MIN, BATCH_JOBS_MAX);
    let mut bytes: usize = batch.iter().map(Job::bytes).sum();
    while batch.len() < jobs_max && bytes < BATCH_BYTES_MAX {
        let Ok(job) = waiting.try_recv() else { return };
        bytes += job.bytes();
        batch.push(job);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `waiting` commands the next transactions take.
    fn taken(waiting: usize) -> Vec<usize> {
        let (jobs, mut queue) = Jobs::queue();
        for _ in 0..waiting {
            let keep = KeepPosition { reader: "r".to_owned(), position: 1 };
            jobs.queue.try_send(Job::KeepPosition(keep, oneshot::channel().0)).unwrap();
        }
        let mut taken = Vec::new();
        while !queue.is_empty() {
            let mut batch = Vec::new();
            fill(&mut batch, &mut queue);
            taken.push(batch.len());
        }
        taken
    }

    #[test]
    fn a_transaction_takes_half_of_many_and_all_of_few() {
        assert_eq!(taken(1), [1]);
        assert_eq!(taken(32), [32]);
        assert_eq!(taken(64), [32, 32]);
        assert_eq!(taken(200), [100, 50, 32, 18]);
        assert_eq!(taken(WAITING_MAX)[..2], [BATCH_JOBS_MAX, BATCH_JOBS_MAX]);
    }
}
