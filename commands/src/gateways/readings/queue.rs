//! Reports that wait for the writer, and how many of them it takes at once.

use tokio::sync::{mpsc, oneshot};

use super::{Accepted, ReadingsFault, Report};

/// Senders wait when so many reports wait already.
const WAITING_MAX: usize = 4_096;
/// A transaction takes no more reports when it has so many readings.
const BATCH_READINGS_MAX: usize = 8_192;

/// A report and where to say what came of it.
pub(super) struct Job {
    pub(super) reports: Vec<Report>,
    pub(super) answer: oneshot::Sender<Result<Accepted, ReadingsFault>>,
}

/// The queue in front of a writer.
#[derive(Debug, Clone)]
pub(super) struct Queue(mpsc::Sender<Job>);

impl Queue {
    /// A queue and its far end.
    pub(super) fn new() -> (Self, mpsc::Receiver<Job>) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        (Self(queue), waiting)
    }

    pub(super) async fn append(&self, reports: Vec<Report>) -> Result<Accepted, ReadingsFault> {
        if reports.is_empty() {
            return Ok(Accepted { kept: Vec::new(), new: 0 });
        }
        let stopped = || ReadingsFault("the writer has stopped".to_owned());
        let (answer, answered) = oneshot::channel();
        self.0.send(Job { reports, answer }).await.map_err(|_| stopped())?;
        answered.await.unwrap_or_else(|_| Err(stopped()))
    }
}

/// `first` and what waits behind it now, as far as one transaction takes it.
pub(super) fn batch(first: Job, waiting: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut readings = first.reports.len();
    let mut batch = vec![first];
    while readings < BATCH_READINGS_MAX {
        let Ok(job) = waiting.try_recv() else { break };
        readings += job.reports.len();
        batch.push(job);
    }
    batch
}

/// Tells each sender what came of its report.
pub(super) fn answer(batch: Vec<Job>, outcome: Result<Vec<Accepted>, ReadingsFault>) {
    // A sender that has gone needs no answer.
    match outcome {
        Ok(accepted) => {
            batch.into_iter().zip(accepted).for_each(|(job, accepted)| drop(job.answer.send(Ok(accepted))));
        }
        Err(fault) => {
            tracing::error!(%fault, reports = batch.len(), "readings could not be written");
            batch.into_iter().for_each(|job| drop(job.answer.send(Err(fault.clone()))));
        }
    }
}
