//! Log lines: where they are kept, and how the server's own come there.

mod system;

use std::sync::Arc;

use commands::gateways::log_lines::{LinesFault, LogLines, Retention, StoredLines};
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::error::ApiError;
use crate::server::StartError;
use crate::storage::{LOG_LINES_FILE, data_dir, in_database, in_directory};

pub use system::SystemLines;

/// How long log lines are kept; actions of users are kept for good. `CORELOG_LOG_LINES__KEEP_DAYS` and the like.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogLineSettings {
    pub keep_days: u32,
    pub keep_lines: u64,
}

impl Default for LogLineSettings {
    fn default() -> Self {
        Self { keep_days: 90, keep_lines: 10_000_000 }
    }
}

impl LogLineSettings {
    pub(crate) fn retention(&self) -> Retention {
        Retention { days: self.keep_days, lines_max: self.keep_lines }
    }

    /// What is wrong with them, if anything: the setting and why.
    pub(crate) fn wrong(&self) -> Option<(&'static str, &'static str)> {
        if self.keep_days == 0 || self.keep_days > 36_500 {
            Some(("keep_days", "must be between 1 and 36500"))
        } else if self.keep_lines < 10_000 {
            Some(("keep_lines", "must be at least 10000"))
        } else {
            None
        }
    }
}

/// Opens the log lines of the installation that `config` names.
///
/// # Errors
/// A sentence that says what could not be opened.
pub async fn open(config: &Config) -> Result<Arc<dyn LogLines>, StartError> {
    if let Some(url) = &config.database_url {
        let lines = StoredLines::postgres(url).await;
        return Ok(Arc::new(lines.map_err(|error| in_database(&error))?));
    }
    let directory = data_dir(config)?;
    let lines = StoredLines::sqlite(&directory.join(LOG_LINES_FILE)).await;
    let lines = lines.map_err(|error| in_directory(directory, &error))?;
    Ok(Arc::new(lines))
}

impl From<LinesFault> for ApiError {
    fn from(fault: LinesFault) -> Self {
        Self::unavailable(&fault)
    }
}
