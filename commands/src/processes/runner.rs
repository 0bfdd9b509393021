//! The one runner of all process managers.

mod pages;

use std::sync::Arc;
use std::time::Duration;

use domain::event::Recorded;
use domain::log::LogError;
use tokio::sync::watch;

use self::pages::Pages;
use super::{Process, ProcessError};
use crate::bus::CommandBus;
use crate::readers::{Caused, Handled};

const READER: &str = "processes";
/// Where servers that do not lead find out what the processes produced.
const PRODUCED: &str = "processes.produced";
const EVENTS_PER_PAGE: usize = 1_000;
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(100);
/// How soon the log is told how far the process managers have come. What it was not told is handled again after a crash.
const KEPT_WITHIN: Duration = Duration::from_millis(20);
/// How often a server that does not lead looks how far the leader has come.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(1);

/// Runs all process managers of this server.
pub struct ProcessRunner {
    bus: Arc<CommandBus>,
    processes: Vec<Box<dyn Process>>,
    consumed: Vec<&'static str>,
    handled: watch::Sender<Handled>,
}

/// What the log was told last of how far the process managers have come.
struct Kept {
    through: u64,
    produced: u64,
}

impl ProcessRunner {
    /// A runner for `processes`, whose commands go to `bus`.
    pub fn new(bus: Arc<CommandBus>, processes: Vec<Box<dyn Process>>) -> Self {
        let mut consumed: Vec<&str> = processes.iter().flat_map(|process| process.consumes().iter().copied()).collect();
        consumed.sort_unstable();
        consumed.dedup();
        Self { bus, processes, consumed, handled: watch::Sender::new(Handled::default()) }
    }

    /// How far the process managers have come.
    pub fn handled(&self) -> watch::Receiver<Handled> {
        self.handled.subscribe()
    }

    /// Follows the log for ever. Handles events while `leading`; otherwise watches how far the leader has come.
    pub async fn run(self, mut leading: watch::Receiver<bool>) {
        loop {
            let outcome =
                if *leading.borrow_and_update() { self.lead(&leading).await } else { self.follow(&leading).await };
            if let Err(error) = outcome {
                tracing::warn!(%error, "process managers pause");
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
        }
    }

    async fn lead(&self, leading: &watch::Receiver<bool>) -> Result<(), LogError> {
        let log = self.bus.log();
        let (through, produced) = (log.reader_position(READER).await?, log.head().await?);
        self.handled.send_replace(Handled::new(through, produced));
        tokio::select! {
            handled = self.handle_all(through, leading) => handled,
            kept = self.keep_all(Kept { through, produced }) => kept,
        }
    }

    /// Handles whatever stands after `through`, while `leading`.
    async fn handle_all(&self, through: u64, leading: &watch::Receiver<bool>) -> Result<(), LogError> {
        let log = self.bus.log();
        let mut pages = Pages::after(through);
        while *leading.borrow() {
            if pages.have_room() {
                let page = log.read_all(pages.read(), &self.consumed, EVENTS_PER_PAGE).await?;
                pages.begin(page, |events| self.handle(events));
            }
            let (read, have_room) = (pages.read(), pages.have_room());
            tokio::select! {
                Some((through, caused)) = pages.next() => {
                    self.handled.send_modify(|handled| handled.advance(through, caused));
                }
                () = log.grown(read), if have_room => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
        Ok(())
    }

    /// Tells the log from time to time how far the process managers have come.
    async fn keep_all(&self, mut kept: Kept) -> Result<(), LogError> {
        let (log, mut handled) = (self.bus.log(), self.handled.subscribe());
        while handled.wait_for(|handled| handled.through > kept.through).await.is_ok() {
            tokio::time::sleep(KEPT_WITHIN).await;
            let (through, produced) = {
                let handled = handled.borrow();
                (handled.through, handled.produced)
            };
            if produced > kept.produced {
                log.keep_reader_position(PRODUCED, produced).await?;
            }
            log.keep_reader_position(READER, through).await?;
            kept = Kept { through, produced };
        }
        Ok(())
    }

    async fn follow(&self, leading: &watch::Receiver<bool>) -> Result<(), LogError> {
        let log = self.bus.log();
        while !*leading.borrow() {
            // In this order: what was produced belongs to at least what was handled.
            let through = log.reader_position(READER).await?;
            let produced = log.reader_position(PRODUCED).await?;
            self.handled.send_if_modified(|handled| {
                let moved = (handled.through, handled.produced) != (through, produced);
                if moved && through >= handled.through {
                    // Which of it came of what, the leader does not tell.
                    handled.advance(through, Caused { by_requests: produced, by_processes: produced });
                } else if moved {
                    *handled = Handled::new(through, produced);
                }
                moved
            });
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
        Ok(())
    }

    /// Handles events of one stream, in order.
    async fn handle(&self, events: Vec<Recorded>) -> Caused {
        let mut caused = Caused::default();
        for event in &events {
            for process in self.processes.iter().filter(|process| process.consumes().contains(&&*event.aggregate_type))
            {
                if let Some(produced) = self.react(process.as_ref(), event).await {
                    caused = caused.max(caused_by(event, produced));
                }
            }
        }
        caused
    }

    async fn react(&self, process: &dyn Process, event: &Recorded) -> Option<u64> {
        loop {
            match process.react(&self.bus, event).await {
                Ok(produced) => return produced,
                Err(ProcessError::Refused(reason)) => {
                    tracing::error!(
                        process = process.name(),
                        position = event.position,
                        reason,
                        "a process was refused"
                    );
                    metrics::counter!("corelog_process_refusals_total", "process" => process.name()).increment(1);
                    return None;
                }
                Err(ProcessError::Retry(reason)) => {
                    tracing::warn!(
                        process = process.name(),
                        position = event.position,
                        reason,
                        "a process tries again"
                    );
                    tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                }
            }
        }
    }
}

/// That handling `event` caused what stands at `produced`. An event that does not say where it comes from may come from
/// anywhere.
fn caused_by(event: &Recorded, produced: u64) -> Caused {
    let (by_requests, by_processes) = match event.metadata() {
        Ok(metadata) if metadata.causation_id.is_none() => (produced, 0),
        Ok(_) => (0, produced),
        Err(_) => (produced, produced),
    };
    Caused { by_requests, by_processes }
}
