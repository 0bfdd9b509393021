//! The one runner: reads the log once and moves all projections along it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::event::Recorded;
use domain::log::{Log, PAGE_EVENTS_MAX, Page};
use tokio::sync::watch;

use crate::checkpoint::{self, Checkpoint};
use crate::database::{ReadModels, Tables};
use crate::projection::ProjectionError;
use crate::projector::AnyProjector;
use crate::read_ahead::ReadAhead;
use crate::writer::Batch;

const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(250);
/// How late the checkpoints of projections that have nothing to fold may be written. Servers that do not lead wait for
/// them; a batch that wrote them all would mostly write those.
const IDLE_WRITTEN_WITHIN: Duration = Duration::from_millis(20);
/// How long events gather for one batch while nobody waits for them: it costs nearly the same for a few as for many.
const GATHERED_WITHIN: Duration = Duration::from_millis(10);
/// The pause of an idle leader only bounds how late a lost leadership is noticed.
const IDLE: Duration = Duration::from_secs(1);
/// How often a server that does not lead looks where the leader's projections are.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(10);

/// What operators see of one projection.
#[derive(Debug, Clone)]
pub struct ProjectionStatus {
    pub table: &'static str,
    pub checkpoint: Checkpoint,
    /// Why it stopped, when it did.
    pub halted: Option<String>,
}

/// The state of all projections, by name.
pub type Statuses = BTreeMap<&'static str, ProjectionStatus>;

struct Running {
    projector: Box<dyn AnyProjector>,
    checkpoint: Checkpoint,
    /// The position of the checkpoint in the table: behind, while there was nothing to fold.
    written: u64,
    halted: Option<String>,
}

impl Running {
    fn is_late(&self) -> bool {
        self.halted.is_none() && self.written < self.checkpoint.position
    }
}

/// Moves all projections along the log, one transaction a batch.
pub struct Runner {
    log: Arc<dyn Log>,
    tables: Tables,
    running: Vec<Running>,
    /// When all checkpoints were last written.
    settled: Instant,
    position: watch::Sender<u64>,
    /// The highest position that an answer waits for.
    wanted: watch::Sender<u64>,
    statuses: watch::Sender<Arc<Statuses>>,
}

impl Runner {
    /// A runner over existing tables.
    pub fn new(log: Arc<dyn Log>, models: &ReadModels, projectors: Vec<Box<dyn AnyProjector>>) -> Self {
        let running = projectors
            .into_iter()
            .map(|projector| Running { projector, checkpoint: Checkpoint::default(), written: 0, halted: None })
            .collect();
        Self {
            log,
            tables: models.tables(),
            running,
            settled: Instant::now(),
            position: watch::Sender::new(0),
            wanted: watch::Sender::new(0),
            statuses: watch::Sender::new(Arc::default()),
        }
    }

    /// The position that every projection has reached.
    pub fn position(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
    }

    /// Where to say that somebody waits for a position: until then, events may gather for a moment.
    pub fn wanted(&self) -> watch::Sender<u64> {
        self.wanted.clone()
    }

    /// The state of every projection.
    pub fn statuses(&self) -> watch::Receiver<Arc<Statuses>> {
        self.statuses.subscribe()
    }

    /// Projects everything that is in the log now.
    ///
    /// # Errors
    /// When the log or the read models do not answer.
    pub async fn catch_up(&mut self) -> Result<(), ProjectionError> {
        self.load_checkpoints().await?;
        loop {
            let from = self.reached();
            let mut pages = ReadAhead::new(&self.log, from, u64::MAX, &[]);
            while let Some(page) = pages.next().await? {
                if !self.take(&page).await? {
                    break;
                }
            }
            if self.reached() <= from {
                return self.settle().await;
            }
        }
    }

    /// Follows the log for ever. Projects while `leading`; otherwise watches how far the leader has come.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        loop {
            let outcome =
                if *leading.borrow_and_update() { self.lead(&leading).await } else { self.follow(&leading).await };
            if let Err(error) = outcome {
                tracing::warn!(%error, "projections pause");
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
        }
    }

    async fn lead(&mut self, leading: &watch::Receiver<bool>) -> Result<(), ProjectionError> {
        self.load_checkpoints().await?;
        while *leading.borrow() {
            if self.step().await? {
                self.gather().await;
            } else {
                let pause = if self.running.iter().any(Running::is_late) { IDLE_WRITTEN_WITHIN } else { IDLE };
                if tokio::time::timeout(pause, self.log.grown(self.reached())).await.is_err() {
                    self.settle().await?;
                }
            }
        }
        Ok(())
    }

    /// Lets the next events gather, until somebody waits for one.
    async fn gather(&self) {
        let (mut wanted, reached) = (self.wanted.subscribe(), self.reached());
        let _ = tokio::time::timeout(GATHERED_WITHIN, wanted.wait_for(|wanted| *wanted > reached)).await;
    }

    async fn follow(&mut self, leading: &watch::Receiver<bool>) -> Result<(), ProjectionError> {
        while !*leading.borrow() {
            let mut stored = checkpoint::load_all(&self.tables.db).await?;
            for running in &mut self.running {
                running.checkpoint = stored.remove(running.projector.table()).unwrap_or_default();
            }
            self.publish();
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
        Ok(())
    }

    async fn load_checkpoints(&mut self) -> Result<(), ProjectionError> {
        checkpoint::ensure(&self.tables.db, self.running.iter().map(|running| running.projector.table())).await?;
        let mut stored = checkpoint::load_all(&self.tables.db).await?;
        for running in &mut self.running {
            running.projector.forget();
            running.checkpoint = stored.remove(running.projector.table()).unwrap_or_default();
            running.written = running.checkpoint.position;
        }
        self.publish();
        Ok(())
    }

    /// Projects one page; `false` when there was nothing new.
    async fn step(&mut self) -> Result<bool, ProjectionError> {
        let from = self.reached();
        let page = self.log.read_all(from, &[], PAGE_EVENTS_MAX).await?;
        if page.through == from {
            return Ok(false);
        }
        self.take(&page).await.map(|_| true)
    }

    /// Projects `page`; `false` when somebody else was there first, and the projections are elsewhere now.
    async fn take(&mut self, page: &Page) -> Result<bool, ProjectionError> {
        let outcome = self.project(&page.events, page.through).await;
        self.published(outcome).await
    }

    /// Writes the checkpoints of projections that had nothing to fold.
    async fn settle(&mut self) -> Result<(), ProjectionError> {
        let outcome = self.write(Batch::default(), true).await;
        self.published(outcome).await.map(|_| ())
    }

    /// Tells who waits. After a failure nothing in memory counts.
    async fn published(&mut self, outcome: Result<(), ProjectionError>) -> Result<bool, ProjectionError> {
        let Err(error) = outcome else {
            self.publish();
            return Ok(true);
        };
        self.load_checkpoints().await?;
        let ProjectionError::Overtaken(table) = error else { return Err(error) };
        tracing::info!(table, "a table was moved on or replaced: going on from its checkpoint");
        Ok(false)
    }

    async fn project(&mut self, events: &[Recorded], through: u64) -> Result<(), ProjectionError> {
        let mut batch = Batch::default();
        for (index, fresh) in self.decode(events, through) {
            let Running { projector, checkpoint, written, .. } = &mut self.running[index];
            checkpoint.position = through;
            if fresh.is_empty() {
                continue;
            }
            fresh.iter().for_each(|event| checkpoint.tally.add(event));
            projector.fold(&self.tables.db, &fresh).await?;
            batch.advance(projector.table(), *written, checkpoint.clone());
            batch.change(projector.changes());
            *written = through;
        }
        self.write(batch, self.settled.elapsed() >= IDLE_WRITTEN_WITHIN).await
    }

    /// Writes `batch` and, `with_idle`, the checkpoints of projections that had nothing to fold.
    async fn write(&mut self, mut batch: Batch, with_idle: bool) -> Result<(), ProjectionError> {
        if with_idle {
            for running in self.running.iter_mut().filter(|running| running.is_late()) {
                batch.advance(running.projector.table(), running.written, running.checkpoint.clone());
                running.written = running.checkpoint.position;
            }
            self.settled = Instant::now();
        }
        self.tables.write(batch).await
    }

    /// What each projection has to fold, by its place in `running`. One that cannot read an event halts.
    fn decode<'a>(&mut self, events: &'a [Recorded], through: u64) -> Vec<(usize, Vec<&'a Recorded>)> {
        let mut sorts: HashMap<&str, Vec<&Recorded>> = HashMap::new();
        for event in events {
            sorts.entry(&event.aggregate_type).or_default().push(event);
        }
        let mut batches = Vec::with_capacity(self.running.len());
        for (index, running) in self.running.iter_mut().enumerate() {
            if running.halted.is_some() || running.checkpoint.position >= through {
                continue;
            }
            let fresh = fresh(&sorts, running.projector.aggregate_types(), running.checkpoint.position);
            match running.projector.decode(&fresh) {
                Ok(()) => batches.push((index, fresh)),
                Err(error) => {
                    tracing::error!(critical = true, projection = running.projector.name(), %error, "a projection halts");
                    running.projector.forget();
                    running.halted = Some(error.to_string());
                }
            }
        }
        batches
    }

    fn reached(&self) -> u64 {
        self.running.iter().filter(|r| r.halted.is_none()).map(|r| r.checkpoint.position).min().unwrap_or(u64::MAX)
    }

    fn publish(&self) {
        let statuses = self.running.iter().map(|running| {
            let status = ProjectionStatus {
                table: running.projector.table(),
                checkpoint: running.checkpoint.clone(),
                halted: running.halted.clone(),
            };
            (running.projector.name(), status)
        });
        self.statuses.send_replace(Arc::new(statuses.collect()));
        let reached = self.reached();
        self.position.send_if_modified(|position| std::mem::replace(position, reached) != reached);
    }
}

/// The events of `wanted` sorts after position `since`, in order.
fn fresh<'a>(sorts: &HashMap<&str, Vec<&'a Recorded>>, wanted: &[&str], since: u64) -> Vec<&'a Recorded> {
    let mut fresh: Vec<&Recorded> = Vec::new();
    for events in wanted.iter().filter_map(|sort| sorts.get(sort)) {
        fresh.extend(events.iter().filter(|event| event.position > since));
    }
    if wanted.len() > 1 {
        fresh.sort_unstable_by_key(|event| event.position);
    }
    fresh
}
