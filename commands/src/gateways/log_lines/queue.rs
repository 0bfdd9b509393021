//! The way of a line into its table: a bounded queue, and one writer that empties it in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::TimeDelta;
use domain::metadata::TenantId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::{Level, LinesFault, LogLines, NewLine, Source};
use crate::clock::Clock;

/// Entries that wait for the writer. Lines beyond that are lost, and counted.
const WAITING_MAX: usize = 16_384;
/// Entries of one batch.
const BATCH_MAX: usize = 2_048;
const TRIES_MAX: usize = 5;
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(200);
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// How long lines are kept.
#[derive(Debug, Clone, Copy)]
pub struct Retention {
    pub days: u32,
    pub lines_max: u64,
}

enum Entry {
    /// Kept when there is room.
    Line(Box<NewLine>),
    /// Kept before its sender goes on.
    Lines(Vec<NewLine>, oneshot::Sender<Result<(), LinesFault>>),
}

/// Where lines are handed in. Cheap to clone.
#[derive(Clone)]
pub struct LineQueue {
    entries: mpsc::Sender<Entry>,
    lost: Arc<AtomicU64>,
}

impl LineQueue {
    /// A queue, and the writer that empties it into `lines`.
    pub fn new(lines: Arc<dyn LogLines>, clock: Clock) -> (Self, LineWriter) {
        let (entries, waiting) = mpsc::channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        (Self { entries, lost: Arc::clone(&lost) }, LineWriter { lines, clock, waiting, lost })
    }

    /// Hands in a line and goes on at once. It is lost when the queue is full.
    pub fn offer(&self, line: NewLine) {
        if self.entries.try_send(Entry::Line(Box::new(line))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Hands in lines and returns when they are kept, and with them everything that was offered before.
    ///
    /// # Errors
    /// When the database does not answer; then none of them was kept.
    pub async fn keep(&self, lines: Vec<NewLine>) -> Result<(), LinesFault> {
        let (kept, answer) = oneshot::channel();
        let closed = || LinesFault("the server is shutting down".to_owned());
        self.entries.send(Entry::Lines(lines, kept)).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Returns when everything that was offered before is kept.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn flush(&self) -> Result<(), LinesFault> {
        self.keep(Vec::new()).await
    }
}

/// The one writer of this server.
pub struct LineWriter {
    lines: Arc<dyn LogLines>,
    clock: Clock,
    waiting: mpsc::Receiver<Entry>,
    lost: Arc<AtomicU64>,
}

impl LineWriter {
    /// Writes for ever, and lets old lines go while `leading`.
    pub async fn run(mut self, retention: Retention, leading: watch::Receiver<bool>) {
        let mut trim = tokio::time::interval_at(Instant::now() + TRIM_INTERVAL, TRIM_INTERVAL);
        trim.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                received = self.waiting.recv_many(&mut batch, BATCH_MAX) => {
                    if received == 0 {
                        return;
                    }
                    self.write(std::mem::take(&mut batch)).await;
                }
                _ = trim.tick() => {
                    if *leading.borrow() {
                        self.trim(retention).await;
                    }
                }
            }
        }
    }

    async fn write(&self, batch: Vec<Entry>) {
        let (mut lines, mut waiting, mut told) = (Vec::with_capacity(batch.len()), Vec::new(), 0);
        for entry in batch {
            match entry {
                Entry::Line(line) => lines.push(*line),
                Entry::Lines(more, sender) => {
                    told += more.len();
                    lines.extend(more);
                    waiting.push(sender);
                }
            }
        }
        lines.extend(self.loss());
        let unasked = lines.len() - told;
        let written = self.written(lines).await;
        if written.is_err() {
            // Whoever waits is told, and may come again with the same lines.
            self.lost.fetch_add(unasked as u64, Ordering::Relaxed);
        }
        for sender in waiting {
            // Whoever does not wait any more need not know.
            let _ = sender.send(written.clone());
        }
    }

    /// A line that says how many were lost since the last one.
    fn loss(&self) -> Option<NewLine> {
        let lost = Some(self.lost.swap(0, Ordering::Relaxed)).filter(|lost| *lost > 0)?;
        metrics::counter!("corelog_log_lines_lost_total").increment(lost);
        let message = format!("{lost} log lines were lost: more came than could be written");
        Some(NewLine::new(self.clock.now(), TenantId::DEFAULT, Source::System, Level::Warning, message))
    }

    async fn written(&self, lines: Vec<NewLine>) -> Result<(), LinesFault> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        for _ in 0..TRIES_MAX {
            outcome = self.lines.append(lines.clone(), None).await;
            match &outcome {
                Ok(()) => return outcome,
                Err(error) => tracing::debug!(%error, "log lines are written again"),
            }
            tokio::time::sleep(PAUSE_AFTER_FAULT).await;
        }
        outcome
    }

    async fn trim(&self, retention: Retention) {
        let before = self.clock.now() - TimeDelta::days(i64::from(retention.days));
        match self.lines.trim(before, retention.lines_max).await {
            Ok(0) => {}
            Ok(gone) => tracing::info!(gone, "old log lines went"),
            Err(error) => tracing::warn!(%error, "old log lines stay for now"),
        }
    }
}
