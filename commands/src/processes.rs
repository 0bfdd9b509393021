//! Process managers: events in, commands out. The name of each is a sentence.
//!
//! They follow the log from a kept position. A command caused by an event carries the event's id as its key, so an
//! event that is handled again after a crash causes nothing twice. They do not run in a replay.

pub mod carry_out_decisions_of_strategies;
pub mod close_alerts_of_deleted_device;
pub mod confirm_username_on_use;
pub mod convert_won_lead;
pub mod credit_balance_on_redeem;
pub mod hold_estimate_when_task_is_leased;
pub mod notify_owner_of_alert;
pub mod report_miner_commands_to_curtailment;
pub mod set_up_alert_rules_on_registration;
pub mod settle_hold_when_run_of_task_ends;
pub mod switch_miner_on_confirmed_command;
pub mod tell_miners_of_curtailment;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::event::{DecodeError, Recorded};
use domain::log::{Log, LogError};
use futures::{StreamExt, stream};
use tokio::sync::watch;

use crate::bus::{CommandBus, CommandError};
use crate::readers::{Caused, Handled};

const READER: &str = "processes";
/// Where servers that do not lead find out what the processes produced.
const PRODUCED: &str = "processes.produced";
const EVENTS_PER_PAGE: usize = 1_000;
/// Streams whose events are handled at the same time.
const STREAMS_AT_ONCE: usize = 256;
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(100);
const KEEP_INTERVAL: Duration = Duration::from_millis(50);
/// How often a server that does not lead looks how far the leader has come.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(1);

/// A process manager.
#[async_trait]
pub trait Process: Send + Sync + 'static {
    /// Its sentence, such as `credit_balance_on_redeem`.
    fn name(&self) -> &'static str;
    /// The sorts of aggregates whose events it looks at.
    fn consumes(&self) -> &'static [&'static str];
    /// Gives the commands that `event` calls for. Answers the position of the last event this caused.
    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError>;
}

/// Why an event was not handled.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// May pass: the event is handled again.
    #[error("{0}")]
    Retry(String),
    /// A rule refuses the command; handling it again would not help.
    #[error("{0}")]
    Refused(String),
}

impl<E: std::error::Error> From<CommandError<E>> for ProcessError {
    fn from(error: CommandError<E>) -> Self {
        match error {
            CommandError::Contended | CommandError::Log(_) => Self::Retry(error.to_string()),
            CommandError::Refused(_) | CommandError::Foreign | CommandError::Stale { .. } | CommandError::KeyReused => {
                Self::Refused(error.to_string())
            }
        }
    }
}

impl From<DecodeError> for ProcessError {
    fn from(error: DecodeError) -> Self {
        Self::Refused(error.to_string())
    }
}

impl From<LogError> for ProcessError {
    fn from(error: LogError) -> Self {
        Self::Retry(error.to_string())
    }
}

/// Every process manager there is. A new one is one line here.
pub fn all() -> Vec<Box<dyn Process>> {
    vec![
        Box::new(confirm_username_on_use::ConfirmUsernameOnUse),
        Box::new(convert_won_lead::ConvertWonLead),
        Box::new(credit_balance_on_redeem::CreditBalanceOnRedeem),
        Box::new(hold_estimate_when_task_is_leased::HoldEstimateWhenTaskIsLeased),
        Box::new(settle_hold_when_run_of_task_ends::SettleHoldWhenRunOfTaskEnds),
        Box::new(tell_miners_of_curtailment::TellMinersOfCurtailment),
        Box::new(report_miner_commands_to_curtailment::ReportMinerCommandsToCurtailment),
        Box::new(switch_miner_on_confirmed_command::SwitchMinerOnConfirmedCommand),
        Box::new(carry_out_decisions_of_strategies::CarryOutDecisionsOfStrategies),
        Box::new(set_up_alert_rules_on_registration::SetUpAlertRulesOnRegistration),
        Box::new(notify_owner_of_alert::NotifyOwnerOfAlert),
        Box::new(close_alerts_of_deleted_device::CloseAlertsOfDeletedDevice),
    ]
}

/// Runs all process managers of this server.
pub struct ProcessRunner {
    bus: Arc<CommandBus>,
    processes: Vec<Box<dyn Process>>,
    consumed: Vec<&'static str>,
    handled: watch::Sender<Handled>,
    kept: Kept,
}

/// What the log was told last of how far the process managers have come.
struct Kept {
    through: u64,
    produced: u64,
    at: Instant,
}

impl ProcessRunner {
    /// A runner for `processes`, whose commands go to `bus`.
    pub fn new(bus: Arc<CommandBus>, processes: Vec<Box<dyn Process>>) -> Self {
        let mut consumed: Vec<&str> = processes.iter().flat_map(|process| process.consumes().iter().copied()).collect();
        consumed.sort_unstable();
        consumed.dedup();
        let handled = watch::Sender::new(Handled::default());
        let kept = Kept { through: 0, produced: 0, at: Instant::now() };
        Self { bus, processes, consumed, handled, kept }
    }

    /// How far the process managers have come.
    pub fn handled(&self) -> watch::Receiver<Handled> {
        self.handled.subscribe()
    }

    /// Follows the log for ever. Handles events while `leading`; otherwise watches how far the leader has come.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        loop {
            let outcome =
                if *leading.borrow_and_update() { self.lead(&leading).await } else { self.follow(&leading).await };
            if let Err(error) = outcome {
                tracing::warn!(%error, "process managers pause");
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
        }
    }

    async fn lead(&mut self, leading: &watch::Receiver<bool>) -> Result<(), LogError> {
        let log = Arc::clone(self.bus.log());
        let through = log.reader_position(READER).await?;
        let produced = log.head().await?;
        self.kept = Kept { through, produced, at: Instant::now() };
        self.handled.send_replace(Handled::new(through, produced));
        while *leading.borrow() {
            let from = self.handled.borrow().through;
            if self.step(&log, from).await? == from {
                self.keep(&log).await?;
                let _ = tokio::time::timeout(IDLE, log.grown(from)).await;
            } else if self.kept.at.elapsed() > KEEP_INTERVAL {
                self.keep(&log).await?;
            }
        }
        Ok(())
    }

    async fn follow(&mut self, leading: &watch::Receiver<bool>) -> Result<(), LogError> {
        let log = Arc::clone(self.bus.log());
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

    /// Handles one page; answers how far that came.
    async fn step(&mut self, log: &Arc<dyn Log>, from: u64) -> Result<u64, LogError> {
        let page = log.read_all(from, &self.consumed, EVENTS_PER_PAGE).await?;
        let mut streams: BTreeMap<_, Vec<Recorded>> = BTreeMap::new();
        for event in page.events {
            let stream = (Arc::clone(&event.aggregate_type), event.aggregate_id.clone());
            streams.entry(stream).or_default().push(event);
        }
        let handling = streams.into_values().map(|events| self.handle(events));
        let handled = stream::iter(handling).buffer_unordered(STREAMS_AT_ONCE);
        let caused = handled.fold(Caused::default(), async |a: Caused, b| a.max(b)).await;
        self.handled.send_modify(|handled| handled.advance(page.through, caused));
        Ok(page.through)
    }

    /// Handles the events of one stream in order.
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

    async fn keep(&mut self, log: &Arc<dyn Log>) -> Result<(), LogError> {
        let (through, produced) = {
            let handled = self.handled.borrow();
            (handled.through, handled.produced)
        };
        if produced > self.kept.produced {
            log.keep_reader_position(PRODUCED, produced).await?;
        }
        if through > self.kept.through {
            log.keep_reader_position(READER, through).await?;
        }
        self.kept = Kept { through, produced, at: Instant::now() };
        Ok(())
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
