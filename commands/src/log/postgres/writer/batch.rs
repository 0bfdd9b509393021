//! The arrays that carry a batch to `append_commands` (see the migration), and its answer.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::Recorded;
use domain::log::{Append, Appended, KeptCommand, LogError};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::super::super::jobs::{Job, KeepAnswer, KeepPosition};
use super::super::super::names::Names;
use super::super::{bigint, number};

const APPEND: &str = "SELECT verdict, moment, kept_fingerprint, kept_first, kept_last, kept_answer \
     FROM append_commands($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
     $21, $22)";
const KEEP_POSITION: &str = "INSERT INTO reader_positions (reader, position) VALUES ($1, $2) \
     ON CONFLICT (reader) DO UPDATE SET position = excluded.position";
const REPEATED: i64 = -1;
const CONFLICT: i64 = -2;

/// Splits off the commands that must see what another one of the same batch did: those with its stream or its key.
pub(super) fn independent(batch: Vec<Job>) -> (Vec<Job>, Vec<Job>) {
    let mut streams = HashSet::new();
    let mut keys = HashSet::new();
    let first_of_its_kind = |job: &Job| {
        let (stream, key) = match job {
            Job::Append(append, _) => {
                let key = append.key.as_ref().map(|key| (append.tenant, key.key.clone()));
                (Some((append.aggregate_type, append.aggregate_id.clone())), key)
            }
            Job::KeepAnswer(keep, _) => (None, Some((keep.tenant, keep.key.key.clone()))),
            Job::KeepPosition(..) => (None, None),
        };
        let new_stream = stream.is_none_or(|stream| streams.insert(stream));
        key.is_none_or(|key| keys.insert(key)) && new_stream
    };
    batch.into_iter().partition(first_of_its_kind)
}

/// Readers are idempotent: their position needs no transaction with anything else.
async fn keep_position(keep: &KeepPosition, connection: &mut PgConnection) -> sqlx::Result<()> {
    let query = sqlx::query(KEEP_POSITION).bind(&keep.reader).bind(bigint(keep.position));
    query.execute(connection).await.map(|_| ())
}

/// Appends the batch and commits. One verdict for each [`Job::Append`].
pub(super) async fn append(jobs: &[Job], connection: &mut PgConnection) -> sqlx::Result<Vec<Verdict>> {
    let (mut commands, mut events, mut answers) = (Commands::default(), Events::default(), Answers::default());
    for job in jobs {
        match job {
            Job::Append(append, _) => {
                commands.push(append);
                events.push(append, commands.keys.len());
            }
            Job::KeepAnswer(keep, _) => answers.push(keep),
            Job::KeepPosition(keep, _) => keep_position(keep, connection).await?,
        }
    }
    let query = sqlx::query(APPEND)
        .bind(commands.tenants)
        .bind(commands.aggregate_types)
        .bind(commands.aggregate_ids)
        .bind(commands.expected_sequences)
        .bind(commands.counts)
        .bind(commands.keys)
        .bind(commands.fingerprints)
        .bind(events.commands)
        .bind(events.places)
        .bind(events.tenants)
        .bind(events.aggregate_types)
        .bind(events.aggregate_ids)
        .bind(events.sequences)
        .bind(events.event_types)
        .bind(events.versions)
        .bind(events.payloads)
        .bind(events.metadatas)
        .bind(events.ids)
        .bind(answers.tenants)
        .bind(answers.keys)
        .bind(answers.fingerprints)
        .bind(answers.bodies);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(Verdict::of).collect()
}

#[derive(Default)]
struct Commands<'a> {
    tenants: Vec<Uuid>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    expected_sequences: Vec<i64>,
    counts: Vec<i64>,
    keys: Vec<Option<&'a str>>,
    fingerprints: Vec<Option<&'a [u8]>>,
}

impl<'a> Commands<'a> {
    fn push(&mut self, append: &'a Append) {
        self.tenants.push(append.tenant.0);
        self.aggregate_types.push(append.aggregate_type);
        self.aggregate_ids.push(&append.aggregate_id);
        self.expected_sequences.push(bigint(append.expected_sequence));
        self.counts.push(bigint(append.events.len() as u64));
        self.keys.push(append.key.as_ref().map(|key| key.key.as_str()));
        self.fingerprints.push(append.key.as_ref().map(|key| key.fingerprint.as_slice()));
    }
}

#[derive(Default)]
struct Events<'a> {
    commands: Vec<i32>,
    places: Vec<i64>,
    tenants: Vec<Uuid>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    sequences: Vec<i64>,
    event_types: Vec<&'a str>,
    versions: Vec<String>,
    payloads: Vec<&'a str>,
    metadatas: Vec<&'a str>,
    ids: Vec<Uuid>,
}

impl<'a> Events<'a> {
    /// `command` is the place of the command in the batch, from 1.
    fn push(&mut self, append: &'a Append, command: usize) {
        for (place, event) in (1..).zip(&append.events) {
            self.commands.push(i32::try_from(command).unwrap_or(i32::MAX));
            self.places.push(bigint(place));
            self.tenants.push(append.tenant.0);
            self.aggregate_types.push(append.aggregate_type);
            self.aggregate_ids.push(&append.aggregate_id);
            self.sequences.push(bigint(append.expected_sequence + place));
            self.event_types.push(event.event_type);
            self.versions.push(event.event_version.to_string());
            self.payloads.push(&event.payload);
            self.metadatas.push(&append.metadata);
            self.ids.push(event.event_id);
        }
    }
}

#[derive(Default)]
struct Answers<'a> {
    tenants: Vec<Uuid>,
    keys: Vec<&'a str>,
    fingerprints: Vec<&'a [u8]>,
    bodies: Vec<&'a [u8]>,
}

impl<'a> Answers<'a> {
    fn push(&mut self, keep: &'a KeepAnswer) {
        self.tenants.push(keep.tenant.0);
        self.keys.push(&keep.key.key);
        self.fingerprints.push(&keep.key.fingerprint);
        self.bodies.push(&keep.answer);
    }
}

/// What became of one command.
pub(super) struct Verdict {
    /// The position of its first event, or [`REPEATED`], or [`CONFLICT`].
    first_or_why_not: i64,
    moment: DateTime<Utc>,
    kept_fingerprint: Option<Vec<u8>>,
    kept_first: Option<i64>,
    kept_last: Option<i64>,
    kept_answer: Option<Vec<u8>>,
}

impl Verdict {
    fn of(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            first_or_why_not: row.try_get(0)?,
            moment: row.try_get(1)?,
            kept_fingerprint: row.try_get(2)?,
            kept_first: row.try_get(3)?,
            kept_last: row.try_get(4)?,
            kept_answer: row.try_get(5)?,
        })
    }

    /// What its sender is told.
    pub(super) fn result(self, append: Append, names: &mut Names) -> Result<Appended, LogError> {
        match self.first_or_why_not {
            CONFLICT => Ok(Appended::Conflict),
            REPEATED => Ok(Appended::Repeated(KeptCommand {
                fingerprint: self.kept_fingerprint.unwrap_or_default(),
                first_position: number(self.kept_first.unwrap_or(0)),
                last_position: number(self.kept_last.unwrap_or(0)),
                answer: self.kept_answer,
            })),
            first if first > 0 => Ok(Appended::Done(recorded(append, number(first), self.moment, names))),
            other => Err(LogError::Damaged(format!("the database answered {other} to an append"))),
        }
    }
}

/// The events at the places that the database gave them.
fn recorded(append: Append, first: u64, recorded_at: DateTime<Utc>, names: &mut Names) -> Vec<Recorded> {
    let aggregate_type = names.get(append.aggregate_type);
    let aggregate_id: Arc<str> = append.aggregate_id.into();
    let metadata: Arc<str> = append.metadata.into();
    let record = (0..).zip(append.events).map(|(place, event)| Recorded {
        position: first + place,
        event_id: event.event_id,
        aggregate_type: Arc::clone(&aggregate_type),
        aggregate_id: Arc::clone(&aggregate_id),
        sequence: append.expected_sequence + 1 + place,
        event_type: names.get(event.event_type),
        event_version: event.event_version,
        payload: event.payload.into(),
        tenant: append.tenant,
        metadata: Arc::clone(&metadata),
        recorded_at,
    });
    record.collect()
}
