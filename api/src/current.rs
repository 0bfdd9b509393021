//! The read models as handlers may read them.

use commands::Readers;
use projections::ReadModels;
use sea_orm::DatabaseConnection;

use crate::error::ApiError;

/// Read models, together with what they owe: some answers do not wait for them, so whoever reads them does.
pub struct CurrentModels {
    models: ReadModels,
    readers: Readers,
}

impl CurrentModels {
    /// `models`, which `readers` keep up.
    pub fn new(models: ReadModels, readers: Readers) -> Self {
        Self { models, readers }
    }

    /// Where to query them, once they show everything that was answered before.
    ///
    /// # Errors
    /// When they do not within five seconds.
    pub async fn read(&self) -> Result<&DatabaseConnection, ApiError> {
        self.readers.shown().await?;
        Ok(&self.models.read)
    }

    /// The read models however old they are: for whoever asks whether they answer, or keeps something beside them.
    pub fn as_they_are(&self) -> &ReadModels {
        &self.models
    }
}
