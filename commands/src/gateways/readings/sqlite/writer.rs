//! The one thread that adds readings, and its connection.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use domain::devices::reading::{BatteryReading, LOW_LEVEL};
use migrations::BATTERY_SQLITE;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

use super::super::queue::{Job, answer, batch};
use super::super::rows::{HOUR, bigint, place, stored};
use super::super::{Accepted, ReadingsFault, Report, StoredReading};
use super::{BUSY, reader};

/// Durable when committed. The cache holds the end of each device's readings, where new ones go.
const SET_UP: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 4000; \
     PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -65536;";
const HEAD: &str = "SELECT arrival FROM battery_head";
const KEEP_HEAD: &str = "UPDATE battery_head SET arrival = ?1";
const INSERT: &str = "INSERT INTO battery_readings (device, recorded_at, arrival, level, charging, power_saving, \
     temperature, voltage, received_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) \
     ON CONFLICT (device, recorded_at) DO NOTHING";
const FIRST: &str = "SELECT device, recorded_at, arrival, level, charging, power_saving, temperature, voltage, \
     received_at FROM battery_readings WHERE device = ?1 AND recorded_at = ?2";
const ADD_TO_HOUR: &str = "INSERT INTO battery_hours (device, hour, readings, level_sum, level_min, level_max, low, \
     charging) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (device, hour) DO UPDATE SET \
     readings = readings + excluded.readings, level_sum = level_sum + excluded.level_sum, \
     level_min = min(level_min, excluded.level_min), level_max = max(level_max, excluded.level_max), \
     low = low + excluded.low, charging = charging + excluded.charging";
const SEE: &str = "INSERT INTO battery_seen (device, last_seen) VALUES (?1, ?2) \
     ON CONFLICT (device) DO UPDATE SET last_seen = max(last_seen, excluded.last_seen)";

/// Owns the connection that adds readings.
pub(super) struct Writer {
    path: PathBuf,
    /// `None` after a failure: the next batch opens the file again.
    connection: Option<Connection>,
    head: watch::Sender<u64>,
}

impl Writer {
    /// Opens the file, or makes it. Answers where the last arrival can be seen, too.
    pub(super) fn open(path: PathBuf) -> Result<(Self, watch::Receiver<u64>), ReadingsFault> {
        let mut connection = connect(&path)?;
        BATTERY_SQLITE.apply_sqlite(&mut connection)?;
        let arrival = connection.query_row(HEAD, [], |row| row.get(0))?;
        let (head, seen) = watch::channel(arrival);
        Ok((Self { path, connection: Some(connection), head }, seen))
    }

    /// Works until nobody can send any more.
    pub(super) fn run(mut self, mut waiting: mpsc::Receiver<Job>) {
        while let Some(first) = waiting.blocking_recv() {
            let batch = batch(first, &mut waiting);
            let outcome = self.write(&batch);
            answer(batch, outcome);
        }
    }

    /// All of `batch` is durable when this answers, or none is.
    fn write(&mut self, batch: &[Job]) -> Result<Vec<Accepted>, ReadingsFault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(&self.path)?,
        };
        let connection = self.connection.insert(connection);
        let (accepted, arrival) = match written(connection, batch) {
            Ok(written) => written,
            Err(fault) => {
                self.connection = None;
                return Err(fault);
            }
        };
        self.head.send_if_modified(|head| std::mem::replace(head, arrival) < arrival);
        Ok(accepted)
    }
}

fn connect(path: &Path) -> Result<Connection, ReadingsFault> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.execute_batch(SET_UP)?;
    Ok(connection)
}

/// What came of each report, and the last arrival, when all of it is committed.
fn written(connection: &mut Connection, batch: &[Job]) -> Result<(Vec<Accepted>, u64), ReadingsFault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let arrival = transaction.prepare_cached(HEAD)?.query_row([], |row| row.get(0))?;
    let mut changes = Changes { transaction: &transaction, arrival, hours: BTreeMap::new(), seen: HashMap::new() };
    let accepted = batch.iter().map(|job| changes.append(&job.reports)).collect::<Result<_, _>>()?;
    let arrival = changes.keep()?;
    transaction.commit()?;
    Ok((accepted, arrival))
}

/// What one transaction has done so far.
struct Changes<'a> {
    transaction: &'a Transaction<'a>,
    arrival: u64,
    /// To be added to the sums, by device and hour.
    hours: BTreeMap<(Uuid, i64), Hour>,
    /// When each device was heard of.
    seen: HashMap<Uuid, i64>,
}

/// Readings of one hour, added up.
#[derive(Clone, Copy)]
struct Hour {
    readings: i64,
    level_sum: i64,
    level_min: u8,
    level_max: u8,
    low: i64,
    charging: i64,
}

impl Changes<'_> {
    fn append(&mut self, reports: &[Report]) -> Result<Accepted, ReadingsFault> {
        let (mut kept, mut new) = (Vec::with_capacity(reports.len()), 0);
        let mut insert = self.transaction.prepare_cached(INSERT)?;
        for Report { reading, received_at } in reports {
            let (at, received) = (reading.recorded_at.timestamp_micros(), received_at.timestamp_micros());
            let inserted = insert.execute(rusqlite::params![
                reading.device.as_bytes(),
                at,
                bigint(self.arrival + 1),
                reading.level,
                reading.is_charging,
                place(reading.power_saving),
                reading.temperature,
                reading.voltage,
                received,
            ])?;
            let seen = self.seen.entry(reading.device).or_insert(received);
            *seen = received.max(*seen);
            if inserted == 0 {
                kept.push(self.first(reading)?);
                continue;
            }
            self.arrival += 1;
            new += 1;
            self.hours.entry((reading.device, at.div_euclid(HOUR) * HOUR)).or_insert(Hour::EMPTY).add(reading);
            let (arrival, received_at) = (self.arrival, *received_at);
            kept.push(StoredReading { arrival, received_at, reading: reading.clone() });
        }
        Ok(Accepted { kept, new })
    }

    /// The reading that is kept for the device and time of `reading`.
    fn first(&self, reading: &BatteryReading) -> Result<StoredReading, ReadingsFault> {
        let (device, at) = (reading.device.as_bytes(), reading.recorded_at.timestamp_micros());
        let mut first = self.transaction.prepare_cached(FIRST)?;
        stored(first.query_row((device, at), reader::reading)?)
    }

    /// Writes what was added up, and answers the last arrival.
    fn keep(self) -> rusqlite::Result<u64> {
        let mut add = self.transaction.prepare_cached(ADD_TO_HOUR)?;
        for ((device, hour), sums) in &self.hours {
            add.execute(rusqlite::params![
                device.as_bytes(),
                hour,
                sums.readings,
                sums.level_sum,
                sums.level_min,
                sums.level_max,
                sums.low,
                sums.charging,
            ])?;
        }
        let mut see = self.transaction.prepare_cached(SEE)?;
        for (device, moment) in &self.seen {
            see.execute((device.as_bytes(), moment))?;
        }
        self.transaction.prepare_cached(KEEP_HEAD)?.execute([bigint(self.arrival)])?;
        Ok(self.arrival)
    }
}

impl Hour {
    const EMPTY: Self = Self { readings: 0, level_sum: 0, level_min: u8::MAX, level_max: 0, low: 0, charging: 0 };

    fn add(&mut self, reading: &BatteryReading) {
        self.readings += 1;
        self.level_sum += i64::from(reading.level);
        self.level_min = self.level_min.min(reading.level);
        self.level_max = self.level_max.max(reading.level);
        self.low += i64::from(reading.level < LOW_LEVEL);
        self.charging += i64::from(reading.is_charging);
    }
}
