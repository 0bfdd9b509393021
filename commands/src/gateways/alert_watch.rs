//! Watches every device: judges each reading in the order of arrival, and finds the devices that fell silent.
//!
//! What devices, rules and alerts are is followed in the log and kept in memory, so a reading that changes nothing costs
//! no command. Readings and the clock are judged by one task: a reading that the clock has not seen is judged after it.
//! Where readings were judged up to is kept now and then; one that is judged again changes nothing.

mod watched;
mod watchlist;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use domain::devices::alert::{DeviceAlerts, DeviceAlertsCommand};
use domain::devices::device::{Device, DeviceCommand};
use domain::log::{LogError, PAGE_EVENTS_MAX};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use uuid::Uuid;

use self::watched::Watched;
use self::watchlist::{FOLLOWED, Watchlist};
use super::readings::{BatteryReadings, ReadingsFault, StoredReading};
use crate::bus::CommandBus;
use crate::holdups::{Holdups, Waiting};

/// Under this name the log keeps how many readings were judged: not a position in the log, like those of other readers.
pub const READER: &str = "gateway:alert_watch";
const WAITING: Waiting = Waiting::Gateway("alert_watch");
/// All that it does is one piece of work.
const WORK: &str = "readings";
/// Readings that are judged in one go.
const READINGS_PER_PAGE: u32 = 5_000;
/// Devices that are judged at the same time.
const DEVICES_AT_ONCE: usize = 256;
/// How often the clock is looked at, and the log.
const TICK: Duration = Duration::from_millis(100);
const KEEP_INTERVAL: Duration = Duration::from_millis(250);
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(500);

/// Why devices cannot be watched now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchFault {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Readings(#[from] ReadingsFault),
    #[error("an alert cannot be recorded: {0}")]
    Command(String),
}

/// The watch over all devices.
pub struct AlertWatch {
    bus: Arc<CommandBus>,
    readings: Arc<dyn BatteryReadings>,
    /// Time between two looks for silent devices.
    check_every: TimeDelta,
    watchlist: Watchlist,
    /// The log was followed up to here.
    through: u64,
    /// Readings were judged up to here.
    arrival: u64,
    kept: (u64, Instant),
    next_check: DateTime<Utc>,
    holdups: Arc<Holdups>,
}

impl AlertWatch {
    /// A watch over the devices that report to `readings`; it tells `holdups` when it waits.
    pub fn new(
        bus: Arc<CommandBus>,
        readings: Arc<dyn BatteryReadings>,
        check_every: Duration,
        holdups: Arc<Holdups>,
    ) -> Self {
        Self {
            bus,
            readings,
            check_every: TimeDelta::from_std(check_every).unwrap_or(TimeDelta::MAX),
            watchlist: Watchlist::default(),
            through: 0,
            arrival: 0,
            kept: (0, Instant::now()),
            next_check: DateTime::UNIX_EPOCH,
            holdups,
        }
    }

    /// Watches for ever, while `leading`.
    pub async fn run(mut self, mut leading: watch::Receiver<bool>) {
        while leading.wait_for(|leading| *leading).await.is_ok() {
            if let Err(error) = self.lead(&leading).await {
                if self.holdups.failed(WAITING, WORK) {
                    tracing::warn!(%error, "the watch over devices pauses");
                }
                tokio::time::sleep(PAUSE_AFTER_FAULT).await;
            }
        }
    }

    async fn lead(&mut self, leading: &watch::Receiver<bool>) -> Result<(), WatchFault> {
        self.watchlist = Watchlist::default();
        self.through = 0;
        let kept = self.bus.log().reader_position(READER).await?;
        // Where the readings were lost, their numbers begin anew.
        self.arrival = kept.min(self.readings.last_arrival().await?);
        self.kept = (self.arrival, Instant::now());
        self.follow_log().await?;
        while *leading.borrow() {
            self.follow_log().await?;
            let judged = self.judge_arrivals().await?;
            self.look_for_silence().await?;
            self.keep_arrival().await?;
            self.holdups.got_on(WAITING, WORK);
            if !judged {
                self.wait_for_readings().await?;
            }
        }
        Ok(())
    }

    /// Waits for readings, but not longer than a tick; follows the log meanwhile.
    async fn wait_for_readings(&mut self) -> Result<(), WatchFault> {
        let (readings, log) = (Arc::clone(&self.readings), Arc::clone(self.bus.log()));
        let (mut arrived, mut tick) = (pin!(readings.grown(self.arrival)), pin!(tokio::time::sleep(TICK)));
        loop {
            tokio::select! {
                () = &mut arrived => return Ok(()),
                () = &mut tick => return Ok(()),
                () = log.grown(self.through) => self.follow_log().await?,
            }
        }
    }

    async fn follow_log(&mut self) -> Result<(), WatchFault> {
        let head = self.bus.log().head().await?;
        while self.through < head {
            let page = self.bus.log().read_all(self.through, &FOLLOWED, PAGE_EVENTS_MAX).await?;
            for event in &page.events {
                if let Err(error) = self.watchlist.take_notice(event) {
                    tracing::error!(%error, "the watch over devices passes over an event");
                }
            }
            self.through = page.through;
        }
        Ok(())
    }

    /// Judges the next readings. Answers whether there were any.
    async fn judge_arrivals(&mut self) -> Result<bool, WatchFault> {
        let page = self.readings.arrived_after(self.arrival, READINGS_PER_PAGE).await?;
        let Some(last) = page.last().map(|reading| reading.arrival) else { return Ok(false) };
        // After the readings: whoever reported is in the log.
        self.follow_log().await?;
        let mut by_device: HashMap<Uuid, Vec<StoredReading>> = HashMap::new();
        for reading in page {
            by_device.entry(reading.reading.device).or_default().push(reading);
        }
        // Of a device that is gone, nobody wants to know.
        let devices = &mut self.watchlist;
        let taken = by_device.into_iter().filter_map(|(device, of)| Some((device, devices.take(device)?, of)));
        let taken: Vec<_> = taken.collect();
        let work = taken.into_iter().map(|(device, watched, of)| self.judge(device, watched, of));
        let judged: Vec<_> = stream::iter(work).buffer_unordered(DEVICES_AT_ONCE).try_collect().await?;
        judged.into_iter().for_each(|(device, watched)| self.watchlist.put_back(device, watched));
        self.arrival = last;
        Ok(true)
    }

    /// Judges the readings of one device, in their order.
    async fn judge(
        &self,
        device: Uuid,
        mut watched: Watched,
        readings: Vec<StoredReading>,
    ) -> Result<(Uuid, Watched), WatchFault> {
        let Some(last) = readings.last() else { return Ok((device, watched)) };
        watched.heard(last.received_at);
        if watched.is_back(last.received_at) {
            self.tell_device(device, &watched, DeviceCommand::Hear { seen_at: last.received_at }).await?;
        }
        if watched.nobody_wants_to_know() {
            watched.forget_past();
            return Ok((device, watched));
        }
        if let Some(first) = readings.first() {
            watched.remember(self.readings.as_ref(), first).await?;
        }
        for reading in &readings {
            let observe = watched.observe(reading);
            if watched.would_change(&observe, self.bus.clock().now()) {
                self.raise(device, &mut watched, observe).await?;
            }
        }
        Ok((device, watched))
    }

    /// Looks for devices that fell silent, if it is time to.
    async fn look_for_silence(&mut self) -> Result<(), WatchFault> {
        let now = self.bus.clock().now();
        // A clock that was set back does not stop the watch.
        if now < self.next_check && self.next_check - now <= self.check_every {
            return Ok(());
        }
        self.next_check = now + self.check_every;
        let suspects = self.watchlist.silent(now);
        if suspects.is_empty() {
            return Ok(());
        }
        // Readings that are kept and not judged yet count as well.
        let last_seen = self.readings.last_seen(&suspects).await?;
        let devices = &mut self.watchlist;
        let taken: Vec<_> = suspects.into_iter().filter_map(|device| Some((device, devices.take(device)?))).collect();
        let work = taken.into_iter().map(|(device, mut watched)| {
            watched.was_seen(last_seen.get(&device).copied());
            self.tell_of_silence(device, watched, now)
        });
        let told: Vec<_> = stream::iter(work).buffer_unordered(DEVICES_AT_ONCE).try_collect().await?;
        told.into_iter().for_each(|(device, watched)| self.watchlist.put_back(device, watched));
        Ok(())
    }

    async fn tell_of_silence(
        &self,
        device: Uuid,
        mut watched: Watched,
        now: DateTime<Utc>,
    ) -> Result<(Uuid, Watched), WatchFault> {
        let Some(last_seen_at) = watched.silent_since(now) else { return Ok((device, watched)) };
        if watched.is_thought_online() {
            let silent = DeviceCommand::FallSilent { last_seen_at: Some(last_seen_at) };
            self.tell_device(device, &watched, silent).await?;
        }
        let missed = DeviceAlertsCommand::MissReports { last_seen_at, watch: watched.watch() };
        if watched.would_change(&missed, now) {
            self.raise(device, &mut watched, missed).await?;
        }
        Ok((device, watched))
    }

    async fn raise(&self, device: Uuid, watched: &mut Watched, command: DeviceAlertsCommand) -> Result<(), WatchFault> {
        let context = watched.context(self.bus.clock().new_id());
        let receipt = self.bus.execute::<DeviceAlerts>(&device.to_string(), command, &context).await;
        let receipt = receipt.map_err(|error| WatchFault::Command(error.to_string()))?;
        watched.became(receipt.state, receipt.sequence);
        Ok(())
    }

    async fn tell_device(&self, device: Uuid, watched: &Watched, command: DeviceCommand) -> Result<(), WatchFault> {
        let context = watched.context(self.bus.clock().new_id());
        match self.bus.execute::<Device>(&device.to_string(), command, &context).await {
            // It was disabled or deleted meanwhile.
            Ok(_) | Err(crate::CommandError::Refused(_)) => Ok(()),
            Err(error) => Err(WatchFault::Command(error.to_string())),
        }
    }

    async fn keep_arrival(&mut self) -> Result<(), WatchFault> {
        if self.arrival > self.kept.0 && self.kept.1.elapsed() > KEEP_INTERVAL {
            self.bus.log().keep_reader_position(READER, self.arrival).await?;
            self.kept = (self.arrival, Instant::now());
        }
        Ok(())
    }
}
