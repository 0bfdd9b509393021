//! Readings as they stand in the tables: times in microseconds since 1970, ways of saving power by their place.

use chrono::{DateTime, TimeDelta, Utc};
use domain::devices::reading::{BatteryReading, PowerSaving};
use uuid::Uuid;

use super::{Bucket, Levels, ReadingsFault, StoredReading, Summary};

pub(super) const HOUR: i64 = 3_600_000_000;

/// Device, time, arrival, level, charging, way of saving power, temperature, voltage, time of receipt.
pub(super) type ReadingRow = (Uuid, i64, i64, i32, bool, i32, Option<f64>, Option<f64>, i64);
/// Start, number, sum, minimum, maximum.
pub(super) type BucketRow = (i64, i64, i64, i32, i32);
/// Number, sum, minimum, maximum, low ones, microseconds of charging as estimated.
pub(super) type SummaryRow = (i64, i64, i32, i32, i64, i64);

pub(super) fn stored(row: ReadingRow) -> Result<StoredReading, ReadingsFault> {
    let (device, recorded_at, arrival, level, is_charging, power_saving, temperature, voltage, received_at) = row;
    let reading = BatteryReading {
        device,
        recorded_at: time(recorded_at)?,
        level: percent(level)?,
        is_charging,
        power_saving: saving(power_saving)?,
        temperature,
        voltage,
    };
    Ok(StoredReading { arrival: number(arrival), received_at: time(received_at)?, reading })
}

pub(super) fn bucket((start, readings, sum, min, max): BucketRow) -> Result<Bucket, ReadingsFault> {
    Ok(Bucket { start: time(start)?, levels: levels(readings, sum, min, max)? })
}

/// The sums, and the microseconds of charging that the readings themselves show.
pub(super) fn summary(sums: SummaryRow, charging: i64) -> Result<Summary, ReadingsFault> {
    let (readings, sum, min, max, low, estimated) = sums;
    let charging = TimeDelta::microseconds(charging + estimated);
    Ok(Summary { levels: levels(readings, sum, min, max)?, low: number(low), charging })
}

fn levels(readings: i64, sum: i64, min: i32, max: i32) -> Result<Levels, ReadingsFault> {
    Ok(Levels { readings: number(readings), sum: number(sum), min: percent(min)?, max: percent(max)? })
}

pub(super) fn time(micros: i64) -> Result<DateTime<Utc>, ReadingsFault> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| ReadingsFault("a stored time is out of range".to_owned()))
}

/// A length of time as it stands in the tables.
pub(super) fn micros(span: TimeDelta) -> i64 {
    span.num_microseconds().unwrap_or(i64::MAX)
}

/// A number that is never negative.
pub(super) fn number(bigint: i64) -> u64 {
    u64::try_from(bigint).unwrap_or(0)
}

/// A number as the databases take it.
pub(super) fn bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The place of `power_saving` in [`PowerSaving::ALL`].
pub(super) fn place(power_saving: PowerSaving) -> i32 {
    match power_saving {
        PowerSaving::Off => 0,
        PowerSaving::Low => 1,
        PowerSaving::Medium => 2,
        PowerSaving::High => 3,
        PowerSaving::Extreme => 4,
    }
}

fn saving(stored: i32) -> Result<PowerSaving, ReadingsFault> {
    let found = PowerSaving::ALL.into_iter().find(|power_saving| place(*power_saving) == stored);
    found.ok_or_else(|| ReadingsFault(format!("{stored} is stored where a way of saving power belongs")))
}

fn percent(stored: i32) -> Result<u8, ReadingsFault> {
    u8::try_from(stored).map_err(|_| ReadingsFault(format!("{stored} is stored where a level belongs")))
}
