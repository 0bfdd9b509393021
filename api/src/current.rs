//! The read models as handlers may read them.

use commands::Readers;
use projections::ReadModels;
use sea_orm::DatabaseConnection;
use tokio::sync::watch;

/// Read models, together with what they owe: some answers do not wait for them, so whoever reads them does.
pub struct CurrentModels {
    models: ReadModels,
    readers: Readers,
    /// Why nothing can be written to them, while that is so.
    paused: watch::Receiver<Option<String>>,
}

impl CurrentModels {
    /// `models`, which `readers` keep up, except while they are `paused`.
    pub fn new(models: ReadModels, readers: Readers, paused: watch::Receiver<Option<String>>) -> Self {
        Self { models, readers, paused }
    }

    /// Where to query them. They show everything that was answered before, unless that takes more than five seconds or
    /// they cannot be written: an older list helps more than none. Whoever must know asks with `Corelog-Min-Position`.
    pub async fn read(&self) -> &DatabaseConnection {
        let mut paused = self.paused.clone();
        tokio::select! {
            biased;
            shown = self.readers.shown() => {
                if let Err(late) = shown {
                    tracing::warn!(%late, "reading read models that are behind");
                }
            }
            _ = paused.wait_for(Option::is_some) => {}
        }
        &self.models.read
    }

    /// The read models however old they are: for whoever asks whether they answer, keeps something beside them, or looks
    /// again with every change.
    pub fn as_they_are(&self) -> &ReadModels {
        &self.models
    }
}
