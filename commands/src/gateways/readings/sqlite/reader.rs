//! The questions as SQLite is asked them, one connection each.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Params, Row, named_params};
use uuid::Uuid;

use super::super::questions::{
    AGGREGATED, ARRIVED, CHARGING, DEVICES, DROP, FORGET, HEAD, HISTORY, KEEP_FROM, LATEST, Parts, RECENT, SUMMARY,
};
use super::super::rows::{self, BucketRow, ReadingRow, SummaryRow, bigint, micros, time};
use super::super::{Bucket, BucketWidth, ReadingsFault, StoredReading, Stretch, Summary};

const SEEN: &str = "SELECT last_seen FROM battery_seen WHERE device = $1";

pub(super) fn latest(connection: &Connection, device: Uuid) -> Result<Option<StoredReading>, ReadingsFault> {
    Ok(readings(connection, LATEST, named_params! { "$1": device.as_bytes() })?.pop())
}

pub(super) fn recent(
    connection: &Connection,
    device: Uuid,
    span: TimeDelta,
    limit: u32,
) -> Result<Vec<StoredReading>, ReadingsFault> {
    readings(connection, RECENT, named_params! { "$1": device.as_bytes(), "$2": micros(span), "$3": limit })
}

pub(super) fn history(
    connection: &Connection,
    stretch: Stretch,
    limit: u32,
    offset: u32,
) -> Result<Vec<StoredReading>, ReadingsFault> {
    let (from, until) = (stretch.from.timestamp_micros(), stretch.until.timestamp_micros());
    let asked = named_params! { "$1": stretch.device.as_bytes(), "$2": from, "$3": until, "$4": limit, "$5": offset };
    readings(connection, HISTORY, asked)
}

pub(super) fn arrived_after(
    connection: &Connection,
    arrival: u64,
    limit: u32,
) -> Result<Vec<StoredReading>, ReadingsFault> {
    readings(connection, ARRIVED, named_params! { "$1": bigint(arrival), "$2": limit })
}

pub(super) fn last_seen(
    connection: &Connection,
    devices: &[Uuid],
) -> Result<HashMap<Uuid, DateTime<Utc>>, ReadingsFault> {
    let mut statement = connection.prepare_cached(SEEN)?;
    let mut seen = HashMap::with_capacity(devices.len());
    for device in devices {
        let found = statement.query_row(named_params! { "$1": device.as_bytes() }, |row| row.get(0)).optional()?;
        if let Some(micros) = found {
            seen.insert(*device, time(micros)?);
        }
    }
    Ok(seen)
}

pub(super) fn aggregated(
    connection: &mut Connection,
    stretch: Stretch,
    width: BucketWidth,
) -> Result<Vec<Bucket>, ReadingsFault> {
    // What is dropped meanwhile is either in its sums or among the readings.
    let snapshot = connection.transaction()?;
    let parts = Parts::in_buckets(&stretch, width, kept_from(&snapshot)?);
    let mut statement = snapshot.prepare_cached(AGGREGATED)?;
    let asked = named_params! {
        "$1": stretch.device.as_bytes(), "$2": parts.from, "$3": parts.hours, "$4": parts.after, "$5": parts.until,
        "$6": width.micros(),
    };
    let rows = statement.query_map(asked, |row| {
        Ok::<BucketRow, _>((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    rows.map(|row| rows::bucket(row?)).collect()
}

pub(super) fn summary(
    connection: &mut Connection,
    stretch: Stretch,
    gap_max: TimeDelta,
) -> Result<Option<Summary>, ReadingsFault> {
    let snapshot = connection.transaction()?;
    let kept_from = kept_from(&snapshot)?;
    let (parts, device) = (Parts::of(&stretch, kept_from), stretch.device.as_bytes());
    let asked = named_params! {
        "$1": device, "$2": parts.from, "$3": parts.hours, "$4": parts.after, "$5": parts.until, "$6": kept_from,
    };
    let found = snapshot.prepare_cached(SUMMARY)?.query_row(asked, |row| {
        Ok::<SummaryRow, _>((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
    });
    let Some(sums) = found.optional()? else { return Ok(None) };
    let from = parts.from.max(kept_from);
    let asked = named_params! { "$1": device, "$2": from, "$3": parts.until, "$4": micros(gap_max) };
    let charging = snapshot.prepare_cached(CHARGING)?.query_row(asked, |row| row.get(0))?;
    rows::summary(sums, charging).map(Some)
}

pub(super) fn keep_from(connection: &Connection, hour: i64) -> Result<(), ReadingsFault> {
    connection.execute(KEEP_FROM, named_params! { "$1": hour })?;
    Ok(())
}

pub(super) fn devices_after(connection: &Connection, device: Uuid, limit: u32) -> Result<Vec<Uuid>, ReadingsFault> {
    let mut statement = connection.prepare_cached(DEVICES)?;
    let found =
        statement.query_map(named_params! { "$1": device.as_bytes(), "$2": limit }, |row| Ok(uuid(row.get(0)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn drop_some(connection: &Connection, device: Uuid, hour: i64) -> Result<u64, ReadingsFault> {
    let mut statement = connection.prepare_cached(DROP)?;
    let dropped = statement.query_map(named_params! { "$1": device.as_bytes(), "$2": hour }, |_| Ok(()))?;
    Ok(dropped.collect::<Result<Vec<()>, _>>()?.len() as u64)
}

pub(super) fn forget(connection: &Connection, device: Uuid) -> Result<(), ReadingsFault> {
    for statement in FORGET {
        connection.execute(statement, named_params! { "$1": device.as_bytes() })?;
    }
    Ok(())
}

/// Since when readings are kept.
fn kept_from(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached(HEAD)?.query_row([], |row| row.get(1))
}

fn readings(connection: &Connection, sql: &str, asked: impl Params) -> Result<Vec<StoredReading>, ReadingsFault> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(asked, reading)?;
    found.map(|row| rows::stored(row?)).collect()
}

/// One row of the nine columns.
pub(super) fn reading(row: &Row) -> rusqlite::Result<ReadingRow> {
    let (device, level, charging, power_saving) = (uuid(row.get(0)?), row.get(3)?, row.get(4)?, row.get(5)?);
    Ok((device, row.get(1)?, row.get(2)?, level, charging, power_saving, row.get(6)?, row.get(7)?, row.get(8)?))
}

fn uuid(stored: [u8; 16]) -> Uuid {
    Uuid::from_bytes(stored)
}
