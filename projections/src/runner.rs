//! The one runner: reads the log once and moves all projections along it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::event::Recorded;
use domain::log::{Log, PAGE_EVENTS_MAX};
use sea_orm::{DatabaseConnection, TransactionTrait};
use tokio::sync::watch;

use crate::checkpoint::{self, Checkpoint};
use crate::projection::ProjectionError;
use crate::projector::AnyProjector;

const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(250);
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
    halted: Option<String>,
}

/// Moves all projections along the log, one transaction a batch.
pub struct Runner {
    log: Arc<dyn Log>,
    db: DatabaseConnection,
    running: Vec<Running>,
    position: watch::Sender<u64>,
    statuses: watch::Sender<Arc<Statuses>>,
}

impl Runner {
    /// A runner over existing tables.
    pub fn new(log: Arc<dyn Log>, db: DatabaseConnection, projectors: Vec<Box<dyn AnyProjector>>) -> Self {
        let running = projectors
            .into_iter()
            .map(|projector| Running { projector, checkpoint: Checkpoint::default(), halted: None })
            .collect();
        Self { log, db, running, position: watch::Sender::new(0), statuses: watch::Sender::new(Arc::default()) }
    }

    /// The position that every projection has reached.
    pub fn position(&self) -> watch::Receiver<u64> {
        self.position.subscribe()
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
        while self.step().await? {}
        Ok(())
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
            if !self.step().await? {
                let grown = self.log.grown(self.reached());
                // The pause only bounds how late a lost leadership is noticed.
                let _ = tokio::time::timeout(Duration::from_secs(1), grown).await;
            }
        }
        Ok(())
    }

    async fn follow(&mut self, leading: &watch::Receiver<bool>) -> Result<(), ProjectionError> {
        while !*leading.borrow() {
            let mut stored = checkpoint::load_all(&self.db).await?;
            for running in &mut self.running {
                running.checkpoint = stored.remove(running.projector.table()).unwrap_or_default();
            }
            self.publish();
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
        Ok(())
    }

    async fn load_checkpoints(&mut self) -> Result<(), ProjectionError> {
        checkpoint::ensure(&self.db, self.running.iter().map(|running| running.projector.table())).await?;
        let mut stored = checkpoint::load_all(&self.db).await?;
        for running in &mut self.running {
            running.projector.forget();
            running.checkpoint = stored.remove(running.projector.table()).unwrap_or_default();
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
        match self.project(&page.events, page.through).await {
            Ok(()) => self.publish(),
            Err(error) => {
                self.load_checkpoints().await?;
                let ProjectionError::Overtaken(table) = error else { return Err(error) };
                tracing::info!(table, "a table was moved on or replaced: going on from its checkpoint");
            }
        }
        Ok(true)
    }

    async fn project(&mut self, events: &[Recorded], through: u64) -> Result<(), ProjectionError> {
        let batches = self.decode(events, through);
        let txn = self.db.begin().await?;
        let mut moved = Vec::with_capacity(batches.len());
        let mut passed = BTreeMap::<u64, Vec<&'static str>>::new();
        for (index, fresh) in batches {
            let Running { projector, checkpoint, .. } = &mut self.running[index];
            let mut next = Checkpoint { position: through, ..checkpoint.clone() };
            if fresh.is_empty() {
                passed.entry(checkpoint.position).or_default().push(projector.table());
            } else {
                fresh.iter().for_each(|event| next.tally.add(event));
                checkpoint::advance(&txn, projector.table(), checkpoint, &next).await?;
                projector.project(&txn, &fresh).await?;
            }
            moved.push((index, next));
        }
        for (from, tables) in passed {
            checkpoint::pass(&txn, &tables, from, through).await?;
        }
        txn.commit().await?;
        for (index, next) in moved {
            self.running[index].checkpoint = next;
        }
        Ok(())
    }

    /// What each projection has to fold, by its place in `running`. One that cannot read an event halts.
    fn decode<'a>(&mut self, events: &'a [Recorded], through: u64) -> Vec<(usize, Vec<&'a Recorded>)> {
        let mut batches = Vec::with_capacity(self.running.len());
        for (index, running) in self.running.iter_mut().enumerate() {
            let since = running.checkpoint.position;
            if running.halted.is_some() || since >= through {
                continue;
            }
            let projector = &mut running.projector;
            let fresh = |event: &&Recorded| event.position > since && projector.consumes(&event.aggregate_type);
            let fresh: Vec<&Recorded> = events.iter().filter(fresh).collect();
            match projector.decode(&fresh) {
                Ok(()) => batches.push((index, fresh)),
                Err(error) => {
                    tracing::error!(critical = true, projection = projector.name(), %error, "a projection halts");
                    projector.forget();
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
        self.position.send_replace(self.reached());
    }
}
