//! The arrays that carry a batch to `append_commands` (see the migration), and its answer.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use domain::log::{Append, Appended, KeptCommand};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use super::super::super::jobs::{Job, KeepAnswer};
use super::super::super::names::Shared;
use super::super::super::recorded;
use super::super::{bigint, number};

const APPEND: &str = "SELECT command, head, moment, kept_fingerprint, kept_first, kept_last, kept_answer \
     FROM append_commands($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
     $21, $22, $23)";

/// Splits off the commands that must see what another one of the same batch did: those with its stream or its key.
pub(super) fn independent(batch: Vec<Job>) -> (Vec<Job>, Vec<Job>) {
    if batch.len() < 2 {
        return (batch, Vec::new());
    }
    let firsts: Vec<bool> = {
        let (mut streams, mut keys) = (HashSet::new(), HashSet::new());
        let first_of_its_kind = batch.iter().map(|job| {
            let (stream, key) = match job {
                Job::Append(append, _) => {
                    let key = append.key.as_ref().map(|key| (append.tenant, key.key.as_str()));
                    (Some((append.aggregate_type, append.aggregate_id.as_str())), key)
                }
                Job::KeepAnswer(keep, _) => (None, Some((keep.tenant, keep.key.key.as_str()))),
                Job::KeepPosition(..) => (None, None),
            };
            let new_stream = stream.is_none_or(|stream| streams.insert(stream));
            key.is_none_or(|key| keys.insert(key)) && new_stream
        });
        first_of_its_kind.collect()
    };
    let mut firsts = firsts.into_iter();
    batch.into_iter().partition(|_| firsts.next().unwrap_or(false))
}

/// Appends the batch and commits.
pub(super) async fn append(jobs: &[Job], connection: &mut PgConnection) -> sqlx::Result<Verdicts> {
    let (mut commands, mut events, mut answers) = (Commands::default(), Events::default(), Answers::default());
    // The last word of a reader counts.
    let mut readers = BTreeMap::new();
    for job in jobs {
        match job {
            Job::Append(append, _) => {
                commands.push(append, events.ids.len());
                events.push(append, commands.keys.len());
            }
            Job::KeepAnswer(keep, _) => answers.push(keep),
            Job::KeepPosition(keep, _) => drop(readers.insert(&*keep.reader, bigint(keep.position))),
        }
    }
    let query = sqlx::query(APPEND)
        .bind(commands.tenants)
        .bind(commands.aggregate_types)
        .bind(commands.aggregate_ids)
        .bind(commands.expected_sequences)
        .bind(commands.counts)
        .bind(commands.befores)
        .bind(commands.keys)
        .bind(commands.fingerprints)
        .bind(events.commands)
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
        .bind(answers.bodies)
        .bind(readers.keys().copied().collect::<Vec<&str>>())
        .bind(readers.into_values().collect::<Vec<i64>>());
    Verdicts::of(&query.fetch_all(connection).await?)
}

#[derive(Default)]
struct Commands<'a> {
    tenants: Vec<Uuid>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<&'a str>,
    expected_sequences: Vec<i64>,
    counts: Vec<i64>,
    befores: Vec<i64>,
    keys: Vec<Option<&'a str>>,
    fingerprints: Vec<Option<&'a [u8]>>,
}

impl<'a> Commands<'a> {
    /// `before` is how many events of the batch come before those of this command.
    fn push(&mut self, append: &'a Append, before: usize) {
        self.tenants.push(append.tenant.0);
        self.aggregate_types.push(append.aggregate_type);
        self.aggregate_ids.push(&append.aggregate_id);
        self.expected_sequences.push(bigint(append.expected_sequence));
        self.counts.push(bigint(append.events.len() as u64));
        self.befores.push(bigint(before as u64));
        self.keys.push(append.key.as_ref().map(|key| key.key.as_str()));
        self.fingerprints.push(append.key.as_ref().map(|key| key.fingerprint.as_slice()));
    }
}

#[derive(Default)]
struct Events<'a> {
    commands: Vec<i32>,
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

/// What became of the commands of one batch.
pub(super) struct Verdicts {
    /// The position of the last event before the next command's.
    head: u64,
    moment: DateTime<Utc>,
    /// Commands that were not carried out, by their place from 1: those whose key was used before, with what for.
    refused: BTreeMap<usize, Option<KeptCommand>>,
    /// The place of the command that was told last.
    told: usize,
}

impl Verdicts {
    fn of(rows: &[PgRow]) -> sqlx::Result<Self> {
        let (whole, refusals) = rows.split_first().ok_or(sqlx::Error::RowNotFound)?;
        let refused = refusals.iter().map(|row| {
            let place = usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or(usize::MAX);
            Ok((place, kept_command(row)?))
        });
        let refused = refused.collect::<sqlx::Result<_>>()?;
        Ok(Self { head: number(whole.try_get(1)?), moment: whole.try_get(2)?, refused, told: 0 })
    }

    /// What the sender of the next [`Job::Append`] is told.
    pub(super) fn next(&mut self, append: &Append, shared: &mut Shared) -> Appended {
        self.told += 1;
        match self.refused.remove(&self.told) {
            Some(None) => Appended::Conflict,
            Some(Some(kept)) => Appended::Repeated(kept),
            None => {
                let events = recorded(append, self.head + 1, self.moment, shared);
                self.head += events.len() as u64;
                Appended::Done(events)
            }
        }
    }

    /// The position of the last event that was told of.
    pub(super) fn head(&self) -> u64 {
        self.head
    }
}

/// `None` where no key was at fault.
fn kept_command(row: &PgRow) -> sqlx::Result<Option<KeptCommand>> {
    let fingerprint: Option<Vec<u8>> = row.try_get(3)?;
    fingerprint
        .map(|fingerprint| {
            Ok(KeptCommand {
                fingerprint,
                first_position: number(row.try_get(4)?),
                last_position: number(row.try_get(5)?),
                answer: row.try_get(6)?,
            })
        })
        .transpose()
}
