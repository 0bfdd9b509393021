//! The one runner of all process managers.

mod pages;

use std::sync::Arc;
use std::time::Duration;

use domain::event::Recorded;
use domain::log::{LogError, Page};
use tokio::sync::{mpsc, watch};

use self::pages::Pages;
use super::{Process, ProcessError};
use crate::bus::CommandBus;
use crate::holdups::{Holdups, Waiting};
use crate::readers::{Caused, Handled};

const READER: &str = "processes";
/// Where servers that do not lead find out what the processes produced.
const PRODUCED: &str = "processes.produced";
const EVENTS_PER_PAGE: usize = 1_000;
/// Pages that are read and wait to be handled.
const PAGES_AHEAD: usize = 1;
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
    holdups: Arc<Holdups>,
}

/// What the log was told last of how far the process managers have come.
struct Kept {
    through: u64,
    produced: u64,
}

impl ProcessRunner {
    /// A runner for `processes`, whose commands go to `bus`; it tells `holdups` what they wait for.
    pub fn new(bus: Arc<CommandBus>, processes: Vec<Box<dyn Process>>, holdups: Arc<Holdups>) -> Self {
        let mut consumed: Vec<&str> = processes.iter().flat_map(|process| process.consumes().iter().copied()).collect();
        consumed.sort_unstable();
        consumed.dedup();
        Self { bus, processes, consumed, handled: watch::Sender::new(Handled::default()), holdups }
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
            // Whatever was being handled is handled again, here or elsewhere.
            self.holdups.cease(|who| matches!(who, Waiting::Process(_)));
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
        // Whoever led before may have caused events without telling.
        log.keep_reader_position(PRODUCED, produced).await?;
        let (read, pages) = mpsc::channel(PAGES_AHEAD);
        // All at the same time: what is being handled may hold the connection that reading waits for.
        tokio::select! {
            read = self.read_all(through, read) => read,
            () = self.handle_all(pages, leading) => Ok(()),
            kept = self.keep_all(Kept { through, produced }) => kept,
        }
    }

    /// Reads whatever stands after `through`.
    async fn read_all(&self, through: u64, pages: mpsc::Sender<Page>) -> Result<(), LogError> {
        let (log, mut after) = (self.bus.log(), through);
        loop {
            let page = log.read_all(after, &self.consumed, EVENTS_PER_PAGE).await?;
            if page.through == after {
                log.grown(after).await;
                continue;
            }
            after = page.through;
            if pages.send(page).await.is_err() {
                return Ok(());
            }
        }
    }

    /// Handles what was `read`, while `leading`.
    async fn handle_all(&self, mut read: mpsc::Receiver<Page>, leading: &watch::Receiver<bool>) {
        let mut pages = Pages::new();
        while *leading.borrow() {
            let have_room = pages.have_room();
            tokio::select! {
                Some((through, caused)) = pages.next() => {
                    self.handled.send_modify(|handled| handled.advance(through, caused));
                }
                Some(page) = read.recv(), if have_room => pages.begin(page, |events| self.handle(events)),
                () = tokio::time::sleep(IDLE) => {}
            }
        }
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

    /// Tries until the event is handled.
    async fn react(&self, process: &dyn Process, event: &Recorded) -> Option<u64> {
        let (name, position) = (process.name(), event.position);
        let mut was_held_up = false;
        let produced = loop {
            match process.react(&self.bus, event).await {
                Ok(produced) => break produced,
                Err(ProcessError::Refused(reason)) => {
                    tracing::error!(process = name, position, reason, "a process was refused");
                    metrics::counter!("corelog_process_refusals_total", "process" => name).increment(1);
                    break None;
                }
                Err(ProcessError::Retry(reason)) => {
                    if self.holdups.failed(Waiting::Process(name), &position.to_string()) {
                        tracing::warn!(process = name, position, reason, "a process tries until it succeeds");
                    }
                    was_held_up = true;
                    tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                }
            }
        };
        if was_held_up {
            self.holdups.got_on(Waiting::Process(name), &position.to_string());
        }
        produced
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use async_trait::async_trait;
    use domain::crm::lead::{Lead, LeadCommand, LeadDetails};
    use domain::metadata::{Metadata, TenantId};
    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::context::CommandContext;
    use crate::log::MemoryLog;

    /// Fails until it is allowed to succeed.
    struct Hindered(Arc<AtomicBool>);

    #[async_trait]
    impl Process for Hindered {
        fn name(&self) -> &'static str {
            "hindered"
        }

        fn consumes(&self) -> &'static [&'static str] {
            &["lead"]
        }

        async fn react(&self, _: &CommandBus, _: &Recorded) -> Result<Option<u64>, ProcessError> {
            if self.0.load(Ordering::SeqCst) { Ok(None) } else { Err(ProcessError::Retry("not yet".to_owned())) }
        }
    }

    async fn until(holdups: &Holdups, of_processes: u64) {
        let told = async {
            while holdups.waits().of_processes != of_processes {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), told).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_a_process_waits_for_is_told_until_it_gets_on() {
        let bus = Arc::new(CommandBus::new(Arc::new(MemoryLog::new()), Clock::system()));
        let (free, holdups) = (Arc::new(AtomicBool::new(false)), Arc::new(Holdups::default()));
        let processes: Vec<Box<dyn Process>> = vec![Box::new(Hindered(Arc::clone(&free)))];
        let runner = ProcessRunner::new(Arc::clone(&bus), processes, Arc::clone(&holdups));
        let mut handled = runner.handled();
        let (_leading, leads) = watch::channel(true);
        let running = tokio::spawn(runner.run(leads));
        let context = CommandContext::new(Metadata::of(TenantId::DEFAULT, "system", "cli", Uuid::nil()));
        let details = LeadDetails { name: "Mira".into(), ..LeadDetails::default() };
        bus.execute::<Lead>("1", LeadCommand::Create { id: 1, details }, &context).await.unwrap();
        until(&holdups, 1).await;
        free.store(true, Ordering::SeqCst);
        handled.wait_for(|handled| handled.through >= 1).await.unwrap();
        until(&holdups, 0).await;
        running.abort();
    }
}
