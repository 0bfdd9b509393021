//! Gateways: effects in the world outside, asked for by an event, their outcome recorded as another event.
//!
//! A piece of work is a stream of its own (a miner command, say). A gateway begins it when its first event is in the
//! log, and drives it until an event ends it; after a restart it takes up what was not ended. An effect may therefore
//! happen twice when the server dies between the effect and its record, never zero times. No replay causes an effect.
//!
//! Gateways are `mail`, `miner_orders`, `notifications` and the three clocks. Beside them are the ports they speak through
//! (`miners`, `mqtt`), the watch over devices, and what is kept beside the log (`readings`, `log_lines`, `market`,
//! `heartbeats`).

pub mod alert_watch;
pub mod curtailment_clock;
pub mod gpu_server_clock;
pub mod heartbeats;
pub mod log_lines;
pub mod mail;
pub mod market;
pub mod miner_orders;
pub mod miners;
pub mod mqtt;
pub mod notifications;
pub mod readings;
pub mod task_clock;

use std::collections::{BTreeMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::aggregate::Decider;
use domain::event::{DecodeError, Recorded};
use domain::log::{LogError, PAGE_EVENTS_MAX};
use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;
use crate::holdups::{Holdups, Waiting};

/// Pieces of work that one gateway drives at the same time, unless it says otherwise.
const WORK_AT_ONCE: usize = 64;
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(1);

/// What an event means for the piece of work that its stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    Begins,
    Continues,
    Ends,
}

/// An adapter that performs effects of one sort.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// The name of its position in the log, which is never changed.
    fn name(&self) -> &'static str;
    /// The sort of aggregate whose streams are its pieces of work.
    fn consumes(&self) -> &'static str;
    /// Most pieces of work that it drives at the same time.
    fn at_once(&self) -> usize {
        WORK_AT_ONCE
    }
    /// Called before the log is read, each time that this server begins to lead: what was noticed in an earlier lead may
    /// have ended elsewhere.
    fn begin(&self) {}
    /// What `event` means for its piece of work. Called in the order of the log.
    ///
    /// # Errors
    /// When the event cannot be read.
    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError>;
    /// Drives the piece of work `id` on from wherever it stands, and records the outcome. Called again later when the
    /// work was not ended.
    async fn perform(&self, bus: &CommandBus, id: &str) -> Result<(), String>;
}

/// Gives a command that nothing but the time asks for. That a rule refuses it means that somebody was faster.
async fn unasked<A: Decider>(bus: &CommandBus, id: &str, command: A::Command, gateway: &str) -> Result<(), String> {
    let Some(context) = context_of::<A>(bus, id, gateway).await? else { return Ok(()) };
    match bus.execute::<A>(id, command, &context).await {
        Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// What such a command carries: the tenant of its stream, and no key, because it may be given again.
async fn context_of<A: Decider>(bus: &CommandBus, id: &str, gateway: &str) -> Result<Option<CommandContext>, String> {
    let first = bus.log().read_stream(A::TYPE, id, 0).await.map_err(|error| error.to_string())?.into_iter().next();
    let Some(first) = first else { return Ok(None) };
    let context = CommandContext::caused_by(&first, format!("gateway:{gateway}"), "clock", bus.clock().new_id());
    let context = context.map_err(|error| error.to_string())?;
    Ok(Some(CommandContext { key: None, ..context }))
}

/// Runs one gateway.
pub struct GatewayRunner {
    bus: Arc<CommandBus>,
    gateway: Arc<dyn Gateway>,
    /// Work that was begun and not ended: id → position of its first event.
    open: BTreeMap<Arc<str>, u64>,
    running: HashSet<Arc<str>>,
    tasks: JoinSet<(Arc<str>, Result<(), String>)>,
    through: u64,
    kept: u64,
    holdups: Arc<Holdups>,
}

impl GatewayRunner {
    /// A runner for `gateway`, whose outcomes go to `bus`; it tells `holdups` what the gateway waits for.
    pub fn new(bus: Arc<CommandBus>, gateway: Arc<dyn Gateway>, holdups: Arc<Holdups>) -> Self {
        Self {
            bus,
            gateway,
            open: BTreeMap::new(),
            running: HashSet::new(),
            tasks: JoinSet::new(),
            through: 0,
            kept: 0,
            holdups,
        }
    }

    /// Follows the log for ever, performing effects while `leading`.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        while leading.wait_for(|leading| *leading).await.is_ok() {
            if let Err(error) = self.lead(&leading).await {
                tracing::warn!(gateway = self.gateway.name(), %error, "a gateway pauses");
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
            self.tasks.shutdown().await;
            self.holdups.cease(|who| who == Waiting::Gateway(self.gateway.name()));
            self.running.clear();
            self.open.clear();
        }
    }

    fn reader(&self) -> String {
        format!("gateway:{}", self.gateway.name())
    }

    async fn lead(&mut self, leading: &watch::Receiver<bool>) -> Result<(), LogError> {
        let log = Arc::clone(self.bus.log());
        self.gateway.begin();
        self.kept = log.reader_position(&self.reader()).await?;
        self.through = self.kept;
        while *leading.borrow() {
            let page = log.read_all(self.through, &[self.gateway.consumes()], PAGE_EVENTS_MAX).await?;
            let idle = page.through == self.through;
            page.events.iter().for_each(|event| self.take_notice(event));
            self.through = page.through;
            self.keep().await?;
            if idle {
                // Only at the end of the log is it known which work is still open.
                self.start_work();
                tokio::select! {
                    () = log.grown(self.through) => {}
                    Some(Ok((id, outcome))) = self.tasks.join_next() => self.finished(&id, outcome),
                    () = tokio::time::sleep(IDLE) => {}
                }
            }
        }
        Ok(())
    }

    fn take_notice(&mut self, event: &Recorded) {
        self.bus.saw(self.gateway.consumes(), event);
        match self.gateway.notice(event) {
            Ok(Notice::Begins) => {
                self.open.insert(Arc::from(&*event.aggregate_id), event.position);
            }
            Ok(Notice::Continues) => {}
            Ok(Notice::Ends) => {
                self.open.remove(&*event.aggregate_id);
            }
            Err(error) => {
                tracing::error!(gateway = self.gateway.name(), %error, "a gateway cannot read an event");
                // It may begin something. A server that can read it finds it again: the position stays before it.
                self.open.entry(Arc::from(&*event.aggregate_id)).or_insert(event.position);
            }
        }
    }

    fn start_work(&mut self) {
        let room = self.gateway.at_once().saturating_sub(self.running.len());
        let waiting = self.open.keys().filter(|id| !self.running.contains(*id));
        let next: Vec<Arc<str>> = waiting.take(room).cloned().collect();
        for id in next {
            self.running.insert(Arc::clone(&id));
            let (bus, gateway) = (Arc::clone(&self.bus), Arc::clone(&self.gateway));
            self.tasks.spawn(async move {
                let performed = AssertUnwindSafe(gateway.perform(&bus, &id)).catch_unwind().await;
                let outcome = performed.unwrap_or_else(|_| Err("it broke off".to_owned()));
                if outcome.is_err() {
                    tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                }
                (id, outcome)
            });
        }
    }

    fn finished(&mut self, id: &Arc<str>, outcome: Result<(), String>) {
        self.running.remove(id);
        let who = Waiting::Gateway(self.gateway.name());
        match outcome {
            Ok(()) => self.holdups.got_on(who, id),
            Err(reason) => {
                if self.holdups.failed(who, id) {
                    tracing::warn!(gateway = self.gateway.name(), %id, reason, "work is taken up until it succeeds");
                }
            }
        }
    }

    async fn keep(&mut self) -> Result<(), LogError> {
        let position = self.open.values().min().map_or(self.through, |first| first - 1);
        // Not worth a flush each time: what is read again is recognised.
        if position >= self.kept + 1_000 {
            self.bus.log().keep_reader_position(&self.reader(), position).await?;
            self.kept = position;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
