//! What every handler can reach.

use std::sync::Arc;

use commands::gateways::heartbeats::Heartbeats;
use commands::gateways::log_lines::{ActionProgress, LineQueue, LogLines};
use commands::gateways::market::MarketData;
use commands::gateways::notifications::Outside;
use commands::gateways::readings::BatteryReadings;
use commands::{Clock, CommandBus, CommandContext, CommandError, Holdups, NotYet, Readers, Receipt, Turns};
use domain::aggregate::Decider;
use domain::log::Log;
use projections::{Projection, Statuses};
use tokio::sync::watch;

use crate::as_of::PastLists;
use crate::auth::{OpenSessions, Tokens, UnknownLogins};
use crate::config::Config;
use crate::current::CurrentModels;
use crate::error::ApiError;
use crate::limits::Limits;
use crate::request::RequestContext;
use crate::secrets::Secrets;
use crate::zinnia::code_limits::CodeLimits;
use crate::zinnia::known_devices::KnownDevices;
use crate::zinnia::live::LiveFeed;
use crate::zinnia::token_usage::TokenUsage;

/// The state of the router.
pub type App = Arc<Server>;

/// The running server.
pub struct Server {
    pub config: Config,
    pub bus: Arc<CommandBus>,
    pub readers: Readers,
    pub models: CurrentModels,
    pub past: PastLists,
    pub market: Arc<dyn MarketData>,
    pub readings: Arc<dyn BatteryReadings>,
    /// What the agents of GPU servers last said.
    pub heartbeats: Arc<Heartbeats>,
    /// One at a time: registrations of one address, submissions of one user, curtailments of one tenant, cycles and stops
    /// of one strategy. All of them look something up that the other would change.
    pub turns: Turns,
    /// Requests under one key of a client's wait for one another. Apart from the others: handlers take those meanwhile.
    pub key_turns: Turns,
    /// Log lines that were kept.
    pub log_lines: Arc<dyn LogLines>,
    /// Where new ones are handed in.
    pub line_queue: LineQueue,
    /// How far events have become lines that say who did what.
    pub actions: ActionProgress,
    pub statuses: watch::Receiver<Arc<Statuses>>,
    /// Whether this server drives projections, processes and gateways, and hears agents.
    pub leading: watch::Receiver<bool>,
    /// Why all projections stand still, while they do.
    pub paused: watch::Receiver<Option<String>>,
    /// What process managers and gateways wait for.
    pub holdups: Arc<Holdups>,
    pub secrets: Secrets,
    pub tokens: Tokens,
    pub sessions: OpenSessions,
    /// Sign-ins that named nobody.
    pub unknown_logins: UnknownLogins,
    pub limits: Limits,
    pub devices: KnownDevices,
    pub live: LiveFeed,
    /// Calls addresses that users name.
    pub outside: Outside,
    pub token_usage: TokenUsage,
    pub code_limits: CodeLimits,
    pub metrics: metrics_exporter_prometheus::PrometheusHandle,
}

impl Server {
    /// The clock that decisions are made by.
    pub fn clock(&self) -> &Clock {
        self.bus.clock()
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn Log> {
        self.bus.log()
    }

    /// Carries out a command for `request` and waits until the read models show it.
    ///
    /// # Errors
    /// What the command was refused for, or that the log does not answer.
    pub async fn execute<A: Decider>(
        &self,
        request: &RequestContext,
        id: &str,
        command: A::Command,
    ) -> Result<Receipt<A>, ApiError> {
        self.carry_out(request, id, command, request.command()).await
    }

    /// Brings an aggregate into being that clients know by a number, its id; `command` says how under which number.
    ///
    /// # Errors
    /// What the command was refused for (then no number is taken), or that the log does not answer.
    pub async fn create<A: Decider>(
        &self,
        request: &RequestContext,
        command: impl Fn(i64) -> A::Command,
    ) -> Result<i64, ApiError> {
        A::default().decide(command(0), self.clock().now()).map_err(CommandError::Refused)?;
        let id = self.bus.allocate(A::TYPE, 1, &request.command()).await?;
        let receipt = self.execute::<A>(request, &id.to_string(), command(id)).await?;
        request.version(receipt.sequence);
        Ok(id)
    }

    /// What the same request, under the same key, [created](Self::create) before: its id, and the aggregate as it is now.
    /// For requests that cannot be decided anew once they are done.
    ///
    /// # Errors
    /// That the key was used for another request, or that the log does not answer.
    pub async fn created_before<A: Decider>(&self, request: &RequestContext) -> Result<Option<(i64, A)>, ApiError> {
        let first = request.first_command();
        if !self.bus.has_allocated(&first).await? {
            return Ok(None);
        }
        let id = self.bus.allocate(A::TYPE, 1, &first).await?;
        let (state, sequence) = self.bus.load::<A>(&id.to_string()).await?;
        if sequence == 0 {
            return Ok(None);
        }
        request.repeats_another();
        request.version(sequence);
        Ok(Some((id, state)))
    }

    /// Carries out a change of the one resource that the request names: honours `If-Match`, answers an `ETag`.
    ///
    /// # Errors
    /// What the command was refused for, that the resource has changed, or that the log does not answer.
    pub async fn change<A: Decider>(
        &self,
        request: &RequestContext,
        id: &str,
        command: A::Command,
    ) -> Result<Receipt<A>, ApiError> {
        let context = CommandContext { expected_sequence: request.if_match, ..request.command() };
        let receipt = self.carry_out(request, id, command, context).await?;
        request.version(receipt.sequence);
        Ok(receipt)
    }

    /// Carries out a command and waits for nobody. Before the answer comes [`settled`](Self::settled) or, when it shows
    /// nothing of a read model, [`handled`](Self::handled).
    ///
    /// # Errors
    /// What the command was refused for, or that the log does not answer.
    pub async fn execute_unsettled<A: Decider>(
        &self,
        request: &RequestContext,
        id: &str,
        command: A::Command,
    ) -> Result<Receipt<A>, ApiError> {
        let receipt = self.bus.execute::<A>(id, command, &request.command()).await?;
        request.note(id, &receipt)?;
        Ok(receipt)
    }

    /// Waits until the read models show what the commands of `request` did so far.
    pub async fn settled(&self, request: &RequestContext) {
        Self::answered_at(request, self.readers.passed(request.position()).await);
    }

    /// Waits until what the commands of `request` did so far has caused all that it causes: for an answer that shows
    /// nothing of a read model. Whoever [reads](CurrentModels::read) one waits for it.
    pub async fn handled(&self, request: &RequestContext) {
        Self::answered_at(request, self.readers.handled_through(request.position()).await);
    }

    fn answered_at(request: &RequestContext, waited: Result<u64, NotYet>) {
        match waited {
            Ok(position) => request.reached(position),
            // The command is done and durable: late read models are no reason to say otherwise.
            Err(late) => {
                request.falls_behind();
                tracing::warn!(%late, "answering before the read models");
            }
        }
    }

    async fn carry_out<A: Decider>(
        &self,
        request: &RequestContext,
        id: &str,
        command: A::Command,
        context: CommandContext,
    ) -> Result<Receipt<A>, ApiError> {
        let receipt = self.bus.execute::<A>(id, command, &context).await?;
        request.note(id, &receipt)?;
        self.settled(request).await;
        Ok(receipt)
    }
}

/// The row of a list as it is after a command: the list's own fold, so that an answer never shows an older state, nor
/// waits for one that is late.
pub(crate) fn row_after<A, P>(row: Option<P::Row>, key: &P::Key, receipt: &Receipt<A>) -> Option<P::Row>
where
    A: Decider<Event = P::Event>,
    P: Projection,
{
    let events = receipt.events.iter().zip(&receipt.recorded);
    events.fold(row, |row, (event, recorded)| P::fold(row, key, event, recorded))
}
