//! The one runner: reads the log once and moves all projections along it. While one transaction writes, the next events
//! are folded.

mod pace;
mod published;
mod running;
mod writing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::log::{Log, PAGE_EVENTS_MAX, Page};
use futures::FutureExt;
use tokio::sync::watch;

pub use self::published::{ProjectionStatus, Statuses};

use self::pace::Pace;
use self::published::Published;
use self::running::{Running, Sorted};
use self::writing::Writing;
use crate::checkpoint;
use crate::database::{ReadModels, Tables};
use crate::projection::ProjectionError;
use crate::projector::AnyProjector;
use crate::read_ahead::ReadAhead;
use crate::writer::Batch;

const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(250);
/// While one batch is written, so many events are folded at once.
const FOLDED_BESIDE: u64 = 32;
/// Rows that may wait in memory for the transaction before theirs.
const ROWS_WAITING_MAX: usize = 20_000;
/// The pause of an idle leader only bounds how late a lost leadership is noticed.
const IDLE: Duration = Duration::from_secs(1);
/// How often a server that does not lead looks where the leader's projections are.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(10);

/// Moves all projections along the log, one transaction a batch.
pub struct Runner {
    log: Arc<dyn Log>,
    pace: Pace,
    tables: Tables,
    running: Vec<Running>,
    writing: Writing,
    /// When all checkpoints were last written.
    settled: Instant,
    published: Published,
    /// The highest position that an answer waits for.
    wanted: watch::Sender<u64>,
}

impl Runner {
    /// A runner over existing tables.
    pub fn new(log: Arc<dyn Log>, models: &ReadModels, projectors: Vec<Box<dyn AnyProjector>>) -> Self {
        Self {
            pace: if log.of_one_server() { Pace::ALONE } else { Pace::AMONG_OTHERS },
            log,
            tables: models.tables(),
            running: projectors.into_iter().map(Running::new).collect(),
            writing: Writing::default(),
            settled: Instant::now(),
            published: Published::default(),
            wanted: watch::Sender::new(0),
        }
    }

    /// The position that every projection has reached.
    pub fn position(&self) -> watch::Receiver<u64> {
        self.published.position.subscribe()
    }

    /// Where to say that somebody waits for a position: until then, events may gather for a moment.
    pub fn wanted(&self) -> watch::Sender<u64> {
        self.wanted.clone()
    }

    /// The state of every projection.
    pub fn statuses(&self) -> watch::Receiver<Arc<Statuses>> {
        self.published.statuses.subscribe()
    }

    /// Why all projections stand still, while they do: they try again until it has passed.
    pub fn paused(&self) -> watch::Receiver<Option<String>> {
        self.published.paused.subscribe()
    }

    /// Projects everything that is in the log now.
    ///
    /// # Errors
    /// When the log or the read models do not answer.
    pub async fn catch_up(&mut self) -> Result<(), ProjectionError> {
        self.load_checkpoints().await?;
        loop {
            let from = self.reached();
            match self.through_the_end().await {
                Err(ProjectionError::Overtaken(table)) => self.overtaken(table).await?,
                outcome if outcome.is_err() || self.reached() <= from => return outcome,
                _ => {}
            }
        }
    }

    /// Projects what is in the log, and writes all checkpoints.
    async fn through_the_end(&mut self) -> Result<(), ProjectionError> {
        let mut pages = ReadAhead::new(&self.log, self.reached(), u64::MAX, &[]);
        while let Some(page) = pages.next().await? {
            self.fold(&page).await?;
            self.write(false).await?;
        }
        self.write(true).await?;
        self.writing.over().await
    }

    /// Follows the log for ever. Projects while `leading`; otherwise watches how far the leader has come.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        loop {
            let outcome =
                if *leading.borrow_and_update() { self.lead(&leading).await } else { self.follow(&leading).await };
            if let Err(error) = outcome {
                tracing::warn!(%error, "projections pause");
                self.published.pause(error.to_string());
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
        }
    }

    async fn lead(&mut self, leading: &watch::Receiver<bool>) -> Result<(), ProjectionError> {
        self.load_checkpoints().await?;
        let outcome = self.steps(leading).await;
        // Who leads next finds nothing half done, and is not told of older positions later.
        outcome.and(self.writing.over().await)
    }

    async fn steps(&mut self, leading: &watch::Receiver<bool>) -> Result<(), ProjectionError> {
        while *leading.borrow() {
            match self.step().await {
                Err(ProjectionError::Overtaken(table)) => self.overtaken(table).await?,
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// Folds what is new, and writes it unless something is being written; waits when there is nothing to do.
    async fn step(&mut self) -> Result<(), ProjectionError> {
        // A log on another machine is not asked for what it is known not to have.
        let is_new = self.log.grown(self.reached()).now_or_never().is_some();
        let read = if is_new { self.read_and_fold().await? } else { 0 };
        if self.is_unwritten() && (self.writing.is_over() || self.rows_waiting() >= ROWS_WAITING_MAX) {
            self.write(self.settled.elapsed() >= self.pace.idle_written_within).await?;
            if read < PAGE_EVENTS_MAX {
                self.gather().await;
            }
        } else if !is_new {
            self.idle().await?;
        }
        Ok(())
    }

    /// Folds the next page of the log, and answers how many events it had.
    async fn read_and_fold(&mut self) -> Result<usize, ProjectionError> {
        let page = self.log.read_all(self.reached(), &[], PAGE_EVENTS_MAX).await?;
        if page.through > self.reached() {
            self.fold(&page).await?;
        }
        Ok(page.events.len())
    }

    /// Waits until there is something to fold or to write.
    async fn idle(&mut self) -> Result<(), ProjectionError> {
        let (log, reached) = (Arc::clone(&self.log), self.reached());
        if !self.writing.is_over() {
            return tokio::select! {
                outcome = self.writing.over() => outcome,
                () = log.grown(reached.saturating_add(FOLDED_BESIDE)) => Ok(()),
            };
        }
        self.published.go_on();
        let pause = if self.running.iter().any(Running::is_late) { self.pace.idle_written_within } else { IDLE };
        match tokio::time::timeout(pause, log.grown(reached)).await {
            Ok(()) => Ok(()),
            Err(_) => self.write(true).await,
        }
    }

    /// Lets the next events gather, until they are many or somebody waits for one.
    async fn gather(&self) {
        let (mut wanted, reached) = (self.wanted.subscribe(), self.reached());
        tokio::select! {
            _ = wanted.wait_for(|wanted| *wanted > reached) => {}
            () = self.log.grown(reached.saturating_add(self.pace.worth_a_batch)) => {}
            () = tokio::time::sleep(self.pace.gathered_within) => {}
        }
    }

    async fn follow(&mut self, leading: &watch::Receiver<bool>) -> Result<(), ProjectionError> {
        while !*leading.borrow() {
            let mut stored = checkpoint::load_all(&self.tables.db).await?;
            for running in &mut self.running {
                running.checkpoint = stored.remove(running.projector.table()).unwrap_or_default();
            }
            self.publish();
            self.published.go_on();
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
        Ok(())
    }

    /// Goes on from what the tables say: nothing in memory counts.
    async fn load_checkpoints(&mut self) -> Result<(), ProjectionError> {
        // Written or not: the checkpoints tell.
        let _ = self.writing.over().await;
        checkpoint::ensure(&self.tables.db, self.running.iter().map(|running| running.projector.table())).await?;
        let mut stored = checkpoint::load_all(&self.tables.db).await?;
        for running in &mut self.running {
            running.start_over(stored.remove(running.projector.table()).unwrap_or_default());
        }
        self.publish();
        Ok(())
    }

    async fn overtaken(&mut self, table: &'static str) -> Result<(), ProjectionError> {
        tracing::info!(table, "a table was moved on or replaced: going on from its checkpoint");
        self.load_checkpoints().await
    }

    async fn fold(&mut self, page: &Page) -> Result<(), ProjectionError> {
        let events = Sorted::new(&page.events);
        // Who cannot read an event halts before anybody folds, and holds up nobody.
        let decoded: Vec<_> = self.running.iter_mut().map(|running| running.decode(&events, page.through)).collect();
        for (running, fresh) in self.running.iter_mut().zip(decoded) {
            let Some(fresh) = fresh else { continue };
            let Running { projector, checkpoint, folded, .. } = running;
            checkpoint.position = page.through;
            if fresh.is_empty() {
                continue;
            }
            fresh.iter().for_each(|event| checkpoint.tally.add(event));
            projector.fold(&self.tables.db, &fresh).await?;
            *folded = true;
        }
        Ok(())
    }

    fn is_unwritten(&self) -> bool {
        *self.published.position.borrow() < self.reached()
    }

    fn rows_waiting(&self) -> usize {
        self.running.iter().map(|running| running.projector.unwritten()).sum()
    }

    /// Begins to write what was folded and, `with_idle`, the checkpoints of projections that had nothing to fold. Those
    /// who wait are told when it is written.
    async fn write(&mut self, with_idle: bool) -> Result<(), ProjectionError> {
        self.writing.over().await?;
        let mut batch = Batch::default();
        for running in &mut self.running {
            if running.folded || (with_idle && running.is_late()) {
                batch.advance(running.projector.table(), running.written, running.checkpoint.clone());
                running.written = running.checkpoint.position;
            }
            if std::mem::take(&mut running.folded) {
                batch.change(running.projector.changes());
            }
        }
        if with_idle {
            self.settled = Instant::now();
        }
        let (published, statuses, reached) = (self.published.clone(), self.statuses_now(), self.reached());
        self.writing.begin(&self.tables, batch, move || {
            published.show(statuses, reached);
            published.go_on();
        });
        Ok(())
    }

    fn reached(&self) -> u64 {
        self.running.iter().filter(|r| r.halted.is_none()).map(|r| r.checkpoint.position).min().unwrap_or(u64::MAX)
    }

    fn publish(&self) {
        self.published.show(self.statuses_now(), self.reached());
    }

    fn statuses_now(&self) -> Statuses {
        self.running.iter().map(|running| (running.projector.name(), running.status())).collect()
    }
}
