//! The one executor of commands, for all aggregates.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::aggregate::Decider;
use domain::event::{DecodeError, EventNames, Recorded};
use domain::log::{Append, Appended, KeptCommand, Log, LogError, NewEvent};
use domain::payload::{self, UnfitPayload};

use crate::cache::{AggregateCache, Loaded};
use crate::clock::Clock;
use crate::context::CommandContext;
use crate::turns::Turns;

/// How often a command is decided anew because another server was faster.
const ATTEMPTS_MAX: usize = 8;

/// What a command did.
#[derive(Debug, Clone)]
pub struct Receipt<A: Decider> {
    /// Its events; none when there was nothing to change.
    pub events: Vec<A::Event>,
    /// The same as the log has them; none after a dry run.
    pub recorded: Vec<Recorded>,
    /// The aggregate after them.
    pub state: A,
    /// Sequence of the stream's last event: the aggregate's version.
    pub sequence: u64,
    /// Position of the stream's last event: wait for it to see the effect.
    pub position: u64,
    /// The command had been carried out before, under the same key.
    pub repeated: bool,
}

/// Why a command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError<E: std::error::Error> {
    /// A rule of the business.
    #[error(transparent)]
    Refused(E),
    /// The stream belongs to another tenant, and the command would begin it; surfaces say "not found".
    #[error("not found")]
    Foreign,
    /// `If-Match` names another sequence than the present one.
    #[error("the resource has changed: it is at version {actual}")]
    Stale { actual: u64 },
    /// The key was used for another command.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Other servers were faster every time.
    #[error("too many conflicting commands on one resource")]
    Contended,
    /// Its event could never be read again.
    #[error(transparent)]
    Unfit(#[from] UnfitPayload),
    /// The log does not answer, or holds what cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl<E: std::error::Error> From<DecodeError> for CommandError<E> {
    fn from(error: DecodeError) -> Self {
        Self::Log(LogError::Damaged(error.to_string()))
    }
}

/// Loads, decides, appends. Knows nothing of read models.
pub struct CommandBus {
    log: Arc<dyn Log>,
    clock: Clock,
    cache: AggregateCache,
    turns: Turns,
    append_failed: AtomicBool,
}

impl CommandBus {
    /// A bus over `log`.
    pub fn new(log: Arc<dyn Log>, clock: Clock) -> Self {
        let append_failed = AtomicBool::new(false);
        Self { log, clock, cache: AggregateCache::new(), turns: Turns::new(), append_failed }
    }

    /// Whether the log did not take the last append, as when the disk is full: it may answer reads all the same.
    pub fn append_failed(&self) -> bool {
        self.append_failed.load(Ordering::Relaxed)
    }

    /// The clock that decisions are made by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The log that it appends to.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// Carries out `command` on the aggregate `id`. Returns when its events are durable.
    ///
    /// # Errors
    /// [`CommandError`]; nothing was appended.
    pub async fn execute<A: Decider>(
        &self,
        id: &str,
        command: A::Command,
        context: &CommandContext,
    ) -> Result<Receipt<A>, CommandError<A::Error>> {
        let _turn = self.turns.take(A::TYPE, id).await;
        for _ in 0..ATTEMPTS_MAX {
            if let Some(receipt) = self.attempt::<A>(id, command.clone(), context).await? {
                return Ok(receipt);
            }
        }
        Err(CommandError::Contended)
    }

    /// The aggregate `id` as it was when last seen here, without asking the log if it was: for whoever looks again soon
    /// and reports what it is told of meanwhile with [`Self::saw`].
    ///
    /// # Errors
    /// When the log does not answer or cannot be read.
    pub async fn last_seen<A: Decider>(&self, id: &str) -> Result<A, LogError> {
        match self.cache.look::<A>(A::TYPE, id) {
            Some(loaded) => Ok(loaded.state),
            None => self.load(id).await.map(|(state, _)| state),
        }
    }

    /// Takes notice of an event, which another server may have appended.
    pub fn saw(&self, aggregate_type: &'static str, event: &Recorded) {
        self.cache.evict_before(aggregate_type, &event.aggregate_id, event.sequence);
    }

    /// The aggregate `id` as it is now, and the sequence of its last event.
    ///
    /// # Errors
    /// When the log does not answer or cannot be read.
    pub async fn load<A: Decider>(&self, id: &str) -> Result<(A, u64), LogError> {
        let _turn = self.turns.take(A::TYPE, id).await;
        let mut loaded = self.cache.take::<A>(A::TYPE, id);
        self.read_on(id, &mut loaded).await?;
        let (state, sequence) = (loaded.state.clone(), loaded.sequence);
        self.cache.put(A::TYPE, id, loaded);
        Ok((state, sequence))
    }

    /// One try; `None` when another server appended to the stream meanwhile.
    async fn attempt<A: Decider>(
        &self,
        id: &str,
        command: A::Command,
        context: &CommandContext,
    ) -> Result<Option<Receipt<A>>, CommandError<A::Error>> {
        let mut loaded = self.cache.take::<A>(A::TYPE, id);
        match self.decided(id, &mut loaded, command, context).await {
            Err(refusal) => {
                self.cache.put(A::TYPE, id, loaded);
                // A repeated command may be refused now because it was carried out before.
                match self.repeated(context).await? {
                    Some(kept) => self.first_receipt(id, &kept, context).await.map(Some),
                    None => Err(refusal),
                }
            }
            Ok(events) if events.is_empty() || context.dry_run => {
                let receipt = receipt(loaded.clone(), events, Vec::new());
                self.cache.put(A::TYPE, id, loaded);
                Ok(Some(receipt))
            }
            Ok(events) => self.append(id, loaded, events, context).await,
        }
    }

    /// What `command` would append. Another server may have appended since the aggregate was last seen: an append finds
    /// out by itself, and whatever else would be answered is decided by all that the log has now.
    async fn decided<A: Decider>(
        &self,
        id: &str,
        loaded: &mut Loaded<A>,
        command: A::Command,
        context: &CommandContext,
    ) -> Result<Vec<A::Event>, CommandError<A::Error>> {
        if loaded.sequence > 0 && !context.dry_run {
            let events = Self::decide(loaded, command.clone(), context, &self.clock);
            if events.as_ref().is_ok_and(|events| !events.is_empty()) {
                return events;
            }
        }
        self.read_on(id, loaded).await?;
        Self::decide(loaded, command, context, &self.clock)
    }

    fn decide<A: Decider>(
        loaded: &Loaded<A>,
        command: A::Command,
        context: &CommandContext,
        clock: &Clock,
    ) -> Result<Vec<A::Event>, CommandError<A::Error>> {
        if loaded.tenant.is_some_and(|tenant| tenant != context.metadata.tenant) {
            // Whoever asks hears what is said of a stream that is not there.
            let absent = A::default().decide(command, clock.now());
            return Err(absent.err().map_or(CommandError::Foreign, CommandError::Refused));
        }
        let stale = context.expected_sequence.is_some_and(|expected| expected != loaded.sequence);
        if stale && loaded.sequence > 0 {
            return Err(CommandError::Stale { actual: loaded.sequence });
        }
        // What is not there has no version: that it is missing is said first.
        let events = loaded.state.decide(command, clock.now()).map_err(CommandError::Refused)?;
        if stale { Err(CommandError::Stale { actual: 0 }) } else { Ok(events) }
    }

    async fn append<A: Decider>(
        &self,
        id: &str,
        mut loaded: Loaded<A>,
        events: Vec<A::Event>,
        context: &CommandContext,
    ) -> Result<Option<Receipt<A>>, CommandError<A::Error>> {
        let append = Append {
            aggregate_type: A::TYPE,
            aggregate_id: id.to_owned(),
            expected_sequence: loaded.sequence,
            events: events.iter().map(|event| self.stored::<A>(event)).collect::<Result<_, _>>()?,
            tenant: context.metadata.tenant,
            metadata: json(&context.metadata)?,
            key: context.key.clone(),
        };
        let appended = self.log.append(append).await;
        self.append_failed.store(matches!(appended, Err(LogError::Unavailable(_))), Ordering::Relaxed);
        match appended? {
            Appended::Done(recorded) => {
                loaded.sequence += events.len() as u64;
                loaded.position = recorded.last().map_or(loaded.position, |last| last.position);
                loaded.tenant = loaded.tenant.or(Some(context.metadata.tenant));
                loaded.in_doubt = false;
                events.iter().for_each(|event| loaded.state.apply(event.clone()));
                self.cache.put(A::TYPE, id, loaded.clone());
                Ok(Some(receipt(loaded, events, recorded)))
            }
            Appended::Conflict => Ok(None),
            Appended::Repeated(kept) => {
                self.cache.put(A::TYPE, id, loaded);
                self.first_receipt(id, &kept, context).await.map(Some)
            }
        }
    }

    fn stored<A: Decider>(&self, event: &A::Event) -> Result<NewEvent, CommandError<A::Error>> {
        let (event_type, event_version) = event.name();
        let payload = json(event)?;
        payload::check(payload.as_bytes(), payload::LEVELS_MAX)?;
        Ok(NewEvent { event_id: self.clock.new_id(), event_type, event_version, payload })
    }

    /// Folds what the log has beyond `loaded`: nothing, when only this bus appends and it was seen before.
    async fn read_on<A: Decider>(&self, id: &str, loaded: &mut Loaded<A>) -> Result<(), LogError> {
        if loaded.sequence > 0 && self.log.of_one_server() {
            return Ok(());
        }
        let recorded = self.log.read_stream(A::TYPE, id, loaded.sequence).await?;
        fold(loaded, &recorded).map_err(|error| LogError::Damaged(error.to_string()))
    }

    async fn repeated(&self, context: &CommandContext) -> Result<Option<KeptCommand>, LogError> {
        match &context.key {
            Some(key) => self.log.command(context.metadata.tenant, &key.key).await,
            None => Ok(None),
        }
    }

    /// The receipt that the first command under this key got.
    async fn first_receipt<A: Decider>(
        &self,
        id: &str,
        kept: &KeptCommand,
        context: &CommandContext,
    ) -> Result<Receipt<A>, CommandError<A::Error>> {
        if context.key.as_ref().is_none_or(|key| key.fingerprint != kept.fingerprint) {
            return Err(CommandError::KeyReused);
        }
        let recorded = self.log.read_stream(A::TYPE, id, 0).await?;
        let mut loaded = Loaded::<A>::default();
        fold(&mut loaded, recorded.iter().take_while(|event| event.position <= kept.last_position))?;
        let of_command = |event: &Recorded| (kept.first_position..=kept.last_position).contains(&event.position);
        let recorded: Vec<Recorded> = recorded.into_iter().filter(of_command).collect();
        let events = recorded.iter().filter_map(|event| event.decode::<A>().transpose()).collect::<Result<_, _>>()?;
        Ok(Receipt { repeated: true, ..receipt(loaded, events, recorded) })
    }
}

/// Folds `recorded`, which follow what is folded.
fn fold<'a, A: Decider>(
    loaded: &mut Loaded<A>,
    recorded: impl IntoIterator<Item = &'a Recorded>,
) -> Result<(), DecodeError> {
    for event in recorded {
        if let Some(decoded) = event.decode::<A>()? {
            loaded.state.apply(decoded);
        }
        loaded.sequence = event.sequence;
        loaded.position = event.position;
        loaded.tenant = loaded.tenant.or(Some(event.tenant));
    }
    Ok(())
}

fn receipt<A: Decider>(loaded: Loaded<A>, events: Vec<A::Event>, recorded: Vec<Recorded>) -> Receipt<A> {
    Receipt {
        events,
        recorded,
        state: loaded.state,
        sequence: loaded.sequence,
        position: loaded.position,
        repeated: false,
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, LogError> {
    serde_json::to_string(value).map_err(|error| LogError::Damaged(error.to_string()))
}

#[cfg(test)]
mod tests;
