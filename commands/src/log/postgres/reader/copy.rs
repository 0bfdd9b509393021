//! Pages by COPY in binary: a row costs a fraction of what it costs as the answer to a query.

use chrono::DateTime;
use domain::log::Page;
use domain::{Recorded, TenantId, Text};
use futures::TryStreamExt;
use futures::stream::BoxStream;
use sqlx::error::BoxDynError;
use uuid::Uuid;

use super::super::super::names::Shared;
use super::super::{bigint, number};
use super::connections::Kept;
use super::version;

const COLUMNS: &str = "position, event_id, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
     tenant, metadata, recorded_at";
/// Most bytes of payload and metadata of one page.
const PAGE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What stands before the first row.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// The number of fields that ends the rows.
const END: i16 = -1;
/// PostgreSQL counts microseconds from the year 2000.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// The statement that copies the events after `after` up to `to`, of the sorts `wanted` unless that is empty.
pub(super) fn statement(after: u64, to: u64, wanted: &[&str], limit: usize) -> String {
    let (after, to) = (bigint(after), bigint(to));
    let walk = format!("SELECT {COLUMNS} FROM events WHERE position > {after} AND position <= {to} ORDER BY position");
    if wanted.is_empty() {
        return format!("COPY ({walk}) TO STDOUT (FORMAT binary)");
    }
    let wanted = wanted.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
    // OFFSET 0: along the positions. The index of streams would find the events of a sort, all of them, and sort them.
    format!(
        "COPY (SELECT * FROM ({walk} OFFSET 0) looked_at WHERE aggregate_type IN ({wanted}) LIMIT {limit}) \
         TO STDOUT (FORMAT binary)"
    )
}

/// A text as a statement has it. No text of PostgreSQL holds a character of value 0.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

/// What `statement` copies; `through` is where the page ends when it is neither full nor too heavy.
pub(super) async fn page(
    mut connection: Kept,
    statement: &str,
    through: u64,
    limit: usize,
) -> sqlx::Result<(Page, Kept)> {
    let messages = connection.copy_out_raw(statement).await?;
    let (page, ended) = collect(messages, through, limit).await?;
    if !ended {
        connection.leave();
    }
    Ok((page, connection))
}

/// The page, and whether all of it was read.
async fn collect<M: AsRef<[u8]>>(
    mut messages: BoxStream<'_, sqlx::Result<M>>,
    through: u64,
    limit: usize,
) -> sqlx::Result<(Page, bool)> {
    let mut page = Page { events: Vec::new(), through };
    let (mut shared, mut bytes) = (Shared::default(), 0);
    while let Some(message) = messages.try_next().await? {
        // A message holds one row; the first one holds what comes before the rows as well.
        let message = message.as_ref();
        let mut row = Fields(message);
        if page.events.is_empty() && message.starts_with(SIGNATURE) {
            row.skip_header().map_err(sqlx::Error::Decode)?;
        }
        let Some(event) = row.recorded(&mut shared).map_err(sqlx::Error::Decode)? else { continue };
        bytes += event.payload.len() + event.metadata.len();
        let heavy = bytes >= PAGE_BYTES_MAX;
        let full = heavy || page.events.len() + 1 >= limit;
        page.through = if full { event.position } else { through.max(event.position) };
        page.events.push(event);
        if heavy {
            return Ok((page, false));
        }
    }
    Ok((page, true))
}

/// What is left of a row.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn skip_header(&mut self) -> Result<(), BoxDynError> {
        self.take(SIGNATURE.len())?;
        let _flags = self.array::<4>()?;
        let extension = usize::try_from(i32::from_be_bytes(self.array()?))?;
        self.take(extension).map(|_| ())
    }

    /// The event of the row; `None` at the end of the rows.
    fn recorded(&mut self, shared: &mut Shared) -> Result<Option<Recorded>, BoxDynError> {
        if self.0.is_empty() || i16::from_be_bytes(self.array()?) == END {
            return Ok(None);
        }
        let (position, event_id) = (number(self.bigint()?), self.uuid()?);
        let (aggregate_type, aggregate_id) = (shared.aggregate_types.get(self.text()?), self.text()?);
        let sequence = number(self.bigint()?);
        let (event_type, event_version) = (shared.event_types.get(self.text()?), version(self.text()?)?);
        let (payload, tenant, metadata) = (self.text()?, TenantId(self.uuid()?), self.text()?);
        let [aggregate_id, payload, metadata] = Text::together([aggregate_id, payload, metadata], &mut shared.scratch);
        let recorded_at = self.bigint()?.checked_add(EPOCH_MICROSECONDS).and_then(DateTime::from_timestamp_micros);
        Ok(Some(Recorded {
            position,
            event_id,
            aggregate_type,
            aggregate_id,
            sequence,
            event_type,
            event_version,
            payload,
            tenant,
            metadata,
            recorded_at: recorded_at.ok_or("no time that has a date")?,
        }))
    }

    fn bigint(&mut self) -> Result<i64, BoxDynError> {
        Ok(i64::from_be_bytes(self.field()?.try_into()?))
    }

    fn uuid(&mut self) -> Result<Uuid, BoxDynError> {
        Ok(Uuid::from_slice(self.field()?)?)
    }

    fn text(&mut self) -> Result<&'a str, BoxDynError> {
        Ok(std::str::from_utf8(self.field()?)?)
    }

    /// The next field; no column may be null.
    fn field(&mut self) -> Result<&'a [u8], BoxDynError> {
        let length = usize::try_from(i32::from_be_bytes(self.array()?))?;
        self.take(length)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BoxDynError> {
        Ok(self.take(N)?.try_into()?)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BoxDynError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("the row is cut short")?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted() {
        assert_eq!(quoted("a'b\0\\"), "'a''b\\'");
        assert!(statement(1, 2, &["x') --"], 3).contains("IN ('x'') --') LIMIT 3"));
    }

    #[test]
    fn a_row_that_is_cut_short_is_damage() {
        let mut shared = Shared::default();
        assert!(Fields(&[0, 11, 0, 0, 0, 8, 1]).recorded(&mut shared).is_err());
        assert!(Fields(&[0xff, 0xff]).recorded(&mut shared).unwrap().is_none());
    }
}
