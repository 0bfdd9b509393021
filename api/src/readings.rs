//! Battery readings: where they are kept.

use std::fs;
use std::sync::Arc;

use commands::gateways::readings::{BatteryReadings, PostgresReadings, ReadingsFault, SqliteReadings};

use crate::config::Config;
use crate::error::ApiError;
use crate::server::StartError;

/// Opens the readings of the installation that `config` names.
///
/// # Errors
/// A sentence that says what could not be opened.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn BatteryReadings>, StartError> {
    if let Some(url) = &config.database_url {
        let readings = PostgresReadings::connect(url).await;
        let readings = readings.map_err(|error| {
            StartError::because("the setting database_url (CORELOG_DATABASE_URL) cannot be used", &error)
        })?;
        return Ok(Arc::new(readings));
    }
    let place = |error: &dyn std::fmt::Display| {
        let setting = format!("the setting data_dir (CORELOG_DATA_DIR) {} cannot be used", config.data_dir.display());
        StartError::because(&setting, error)
    };
    fs::create_dir_all(&config.data_dir).map_err(|error| place(&error))?;
    let readings = SqliteReadings::open(&config.data_dir.join("battery.db")).await.map_err(|error| place(&error))?;
    Ok(Arc::new(readings))
}

impl From<ReadingsFault> for ApiError {
    fn from(fault: ReadingsFault) -> Self {
        Self::unavailable(&fault)
    }
}
