//! Battery readings: where they are kept, for how long, and the broker that brings some.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use commands::gateways::mqtt;
use commands::gateways::readings::{BatteryReadings, PostgresReadings, ReadingsFault, SqliteReadings};

use tokio::sync::watch;

use crate::app::App;
use crate::config::Config;
use crate::error::ApiError;
use crate::server::StartError;
use crate::storage::{READINGS_FILE, data_dir, in_database, in_directory};
use crate::zinnia::mqtt_reports::MqttReports;

/// Opens the readings of the installation that `config` names.
///
/// # Errors
/// A sentence that says what could not be opened.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn BatteryReadings>, StartError> {
    if let Some(url) = &config.database_url {
        let readings = PostgresReadings::connect(url).await;
        return Ok(Arc::new(readings.map_err(|error| in_database(&error))?));
    }
    let directory = data_dir(config)?;
    let readings = SqliteReadings::open(&directory.join(READINGS_FILE)).await;
    let readings = readings.map_err(|error| in_directory(directory, &error))?;
    Ok(Arc::new(readings))
}

/// How often old readings are looked for.
const DROP_EVERY: Duration = Duration::from_secs(3_600);

/// Drops what is older than the settings say, for ever, while `leading`. A day is left over: what may still be reported
/// is never dropped, so it is counted once.
pub(crate) async fn drop_old(app: App, mut leading: watch::Receiver<bool>) {
    while leading.wait_for(|leading| *leading).await.is_ok() {
        let moment = app.clock().now() - app.config.battery.keep() - TimeDelta::days(1);
        match app.readings.drop_before(moment).await {
            Ok(0) => {}
            Ok(dropped) => tracing::info!(dropped, "old battery readings are dropped"),
            Err(error) => tracing::warn!(%error, "old battery readings stay for now"),
        }
        tokio::time::sleep(DROP_EVERY).await;
    }
}

/// Listens to the broker of the settings, if there is one, while `leading`.
pub(crate) async fn listen_to_broker(app: App, leading: watch::Receiver<bool>) {
    let Some(settings) = app.config.battery.mqtt.clone() else { return };
    let Some(broker) = settings.broker() else { return };
    mqtt::listen(broker, Arc::new(MqttReports { app, trusted: settings.trusted }), leading).await;
}

impl From<ReadingsFault> for ApiError {
    fn from(fault: ReadingsFault) -> Self {
        Self::unavailable(&fault)
    }
}
