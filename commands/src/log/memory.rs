//! The log in memory, for unit tests: the rules of the other engines, without their durability.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::log::{Append, Appended, CommandKey, CommandUnderKey, KeptCommand, Log, LogError, PAGE_EVENTS_MAX, Page};
use domain::{Recorded, TenantId};

use super::names::Shared;
use super::tail::{Tail, wanted};
use super::{ends, limits, recorded, time_of_recording};

/// A log that is gone with the process.
#[derive(Debug)]
pub struct MemoryLog {
    kept: Mutex<Kept>,
    tail: Tail,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Recorded>,
    /// Places in `events`, in order of sequence.
    streams: HashMap<(String, String), Vec<usize>>,
    commands: HashMap<(TenantId, String), KeptCommand>,
    readers: BTreeMap<String, u64>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> Self {
        Self { kept: Mutex::default(), tail: Tail::new(0) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn append(&mut self, append: &Append) -> Appended {
        let key = append.key.clone().map(|key| ((append.tenant, key.key), key.fingerprint));
        if let Some(kept) = key.as_ref().and_then(|(key, _)| self.commands.get(key)) {
            return Appended::Repeated(kept.clone());
        }
        let stream = (append.aggregate_type.to_owned(), append.aggregate_id.clone());
        let sequence = self.streams.get(&stream).map_or(0, Vec::len) as u64;
        if sequence != append.expected_sequence {
            return Appended::Conflict;
        }
        let events = self.record(append);
        let first = self.events.len();
        self.streams.entry(stream).or_default().extend(first..first + events.len());
        self.events.extend_from_slice(&events);
        if let Some((key, fingerprint)) = key {
            let (first_position, last_position) = ends(&events);
            self.commands.insert(key, KeptCommand { fingerprint, first_position, last_position, answer: None });
        }
        Appended::Done(events)
    }

    fn record(&self, append: &Append) -> Vec<Recorded> {
        let head = self.events.len() as u64;
        let last_time = self.events.last().map_or(DateTime::<Utc>::MIN_UTC, |event| event.recorded_at);
        let recorded_at = time_of_recording(last_time);
        recorded(append, head + 1, recorded_at, &mut Shared::default())
    }
}

#[async_trait]
impl Log for MemoryLog {
    async fn append(&self, append: Append) -> Result<Appended, LogError> {
        limits::check(&append)?;
        let mut kept = self.kept();
        let appended = kept.append(&append);
        self.tail.advance(kept.events.len() as u64);
        Ok(appended)
    }

    fn of_one_server(&self) -> bool {
        // Tests let several share it.
        false
    }

    async fn read_stream(
        &self,
        aggregate_type: &str,
        aggregate_id: &str,
        after: u64,
    ) -> Result<Vec<Recorded>, LogError> {
        let kept = self.kept();
        let places = kept.streams.get(&(aggregate_type.to_owned(), aggregate_id.to_owned()));
        let events = places.into_iter().flatten().map(|place| kept.events[*place].clone());
        Ok(events.filter(|event| event.sequence > after).collect())
    }

    async fn read_all(&self, after: u64, aggregate_types: &[&str], limit: usize) -> Result<Page, LogError> {
        let kept = self.kept();
        let limit = limit.min(PAGE_EVENTS_MAX);
        let next = kept.events.iter().skip(usize::try_from(after).unwrap_or(usize::MAX));
        let wanted = next.filter(|event| wanted(aggregate_types, &event.aggregate_type));
        let events: Vec<_> = wanted.take(limit).cloned().collect();
        let through = match events.last() {
            Some(last) if events.len() == limit => last.position,
            Some(_) | None if limit == 0 => after,
            Some(_) | None => after.max(kept.events.len() as u64),
        };
        Ok(Page { events, through })
    }

    async fn head(&self) -> Result<u64, LogError> {
        Ok(self.tail.head())
    }

    async fn grown(&self, position: u64) {
        self.tail.grown(position).await;
    }

    async fn command(&self, tenant: TenantId, key: &str) -> Result<Option<KeptCommand>, LogError> {
        Ok(self.kept().commands.get(&(tenant, key.to_owned())).cloned())
    }

    async fn commands(
        &self,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<CommandUnderKey>, LogError> {
        let kept = self.kept();
        let all: BTreeMap<_, _> = kept.commands.iter().collect();
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let next = all.range::<(TenantId, String), _>((from, Bound::Unbounded)).take(limit);
        let under_key = |(tenant, key): &(TenantId, String), kept: &KeptCommand| CommandUnderKey {
            tenant: *tenant,
            key: key.clone(),
            kept: kept.clone(),
        };
        Ok(next.map(|(key, kept)| under_key(key, kept)).collect())
    }

    async fn keep_answer(&self, tenant: TenantId, key: &CommandKey, answer: Vec<u8>) -> Result<(), LogError> {
        limits::check_key(key)?;
        let mut kept = self.kept();
        let command = kept.commands.entry((tenant, key.key.clone())).or_insert_with(|| KeptCommand {
            fingerprint: key.fingerprint.clone(),
            first_position: 0,
            last_position: 0,
            answer: None,
        });
        if command.fingerprint == key.fingerprint {
            command.answer.get_or_insert(answer);
        }
        Ok(())
    }

    async fn reader_position(&self, reader: &str) -> Result<u64, LogError> {
        Ok(self.kept().readers.get(reader).copied().unwrap_or(0))
    }

    async fn reader_positions(&self) -> Result<BTreeMap<String, u64>, LogError> {
        Ok(self.kept().readers.clone())
    }

    async fn keep_reader_position(&self, reader: &str, position: u64) -> Result<(), LogError> {
        self.kept().readers.insert(reader.to_owned(), position);
        Ok(())
    }

    async fn missing_guards(&self) -> Result<Vec<&'static str>, LogError> {
        Ok(Vec::new())
    }
}
