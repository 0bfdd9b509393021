//! Who did what: the metadata of events as lines, in the order of the log.
//!
//! The log itself is kept in order of positions and has no index by actor. This follows it and keeps a line for each
//! command's event that a person caused; how far it has come moves in the transaction of the lines, so each event has
//! one line, and none is left out.

use std::sync::Arc;
use std::time::Duration;

use domain::event::Recorded;
use domain::log::Log;
use domain::metadata::{Metadata, UserId};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{Level, LinesFault, LogLines, NewLine, Reached, Source};

const READER: &str = "user_actions";
const EVENTS_PER_PAGE: usize = 1_000;
/// Pause between pages that nobody waits for: commands come first, lines may come later.
const PACE: Duration = Duration::from_millis(200);
/// How often a server that does not lead looks how far the leader has come.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);
const PAUSE_AFTER_FAULT: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(1);

/// Follows the log and keeps what people did.
pub struct UserActions {
    log: Arc<dyn Log>,
    lines: Arc<dyn LogLines>,
    through: watch::Sender<u64>,
    wanted: watch::Receiver<u64>,
    progress: ActionProgress,
}

/// How far actions have been followed. Cheap to clone.
#[derive(Clone)]
pub struct ActionProgress {
    through: watch::Receiver<u64>,
    wanted: Arc<watch::Sender<u64>>,
}

impl ActionProgress {
    /// Returns when everything up to `position` is among the lines.
    pub async fn reach(&self, position: u64) {
        self.wanted.send_if_modified(|wanted| {
            let further = position > *wanted;
            *wanted = position.max(*wanted);
            further
        });
        // When nobody follows any more the server is shutting down.
        let _ = self.through.clone().wait_for(|through| *through >= position).await;
    }
}

impl UserActions {
    /// Actions of `log`, kept in `lines`.
    pub fn new(log: Arc<dyn Log>, lines: Arc<dyn LogLines>) -> Self {
        let (through, wanted) = (watch::Sender::new(0), watch::Sender::new(0));
        let asked = wanted.subscribe();
        let progress = ActionProgress { through: through.subscribe(), wanted: Arc::new(wanted) };
        Self { log, lines, through, wanted: asked, progress }
    }

    /// How far it has come.
    pub fn progress(&self) -> ActionProgress {
        self.progress.clone()
    }

    /// Follows the log for ever; keeps lines while `leading`, and otherwise looks how far the leader has come.
    pub async fn run(mut self, leading: watch::Receiver<bool>) {
        loop {
            let leads = *leading.borrow();
            match self.step(leads).await {
                Ok(Found::FullPage) => {}
                Ok(Found::PartOfPage) => self.pace().await,
                Ok(Found::Nothing) => {
                    let through = *self.through.borrow();
                    let _ = tokio::time::timeout(IDLE, self.log.grown(through)).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the actions of users are not followed for now");
                    tokio::time::sleep(PAUSE_AFTER_FAULT).await;
                }
            }
        }
    }

    /// Waits a little, unless somebody waits for what comes next.
    async fn pace(&mut self) {
        let through = *self.through.borrow();
        let _ = tokio::time::timeout(PACE, self.wanted.wait_for(|wanted| *wanted > through)).await;
    }

    /// Keeps the next page of events.
    async fn step(&self, leading: bool) -> Result<Found, LinesFault> {
        let from = self.lines.reached(READER).await?;
        self.through.send_replace(from);
        if !leading {
            tokio::time::sleep(FOLLOW_INTERVAL).await;
            return Ok(Found::PartOfPage);
        }
        let page =
            self.log.read_all(from, &[], EVENTS_PER_PAGE).await.map_err(|error| LinesFault(error.to_string()))?;
        if page.through == from {
            return Ok(Found::Nothing);
        }
        let lines = page.events.iter().filter_map(action).collect();
        self.lines.append(lines, Some(Reached { reader: READER, from, position: page.through })).await?;
        self.through.send_replace(page.through);
        Ok(if page.events.len() < EVENTS_PER_PAGE { Found::PartOfPage } else { Found::FullPage })
    }
}

/// What a step found in the log.
enum Found {
    /// There may be more, and it would be late if it waited.
    FullPage,
    /// Less: what comes next may wait for company.
    PartOfPage,
    /// The end of the log.
    Nothing,
}

/// The line of an event that a person caused; what the server did by itself is no action of a user.
fn action(event: &Recorded) -> Option<NewLine> {
    let metadata = event.metadata().ok()?;
    let user = match metadata.actor.split_once(':') {
        Some(("user", id)) => Some(UserId(id.parse().ok()?)),
        None if metadata.actor == "anonymous" => None,
        Some(_) | None => return None,
    };
    let line = NewLine::new(event.recorded_at, event.tenant, Source::Action, Level::Info, &*event.event_type);
    Some(NewLine { fields: fields(event, &metadata), request_id: Some(metadata.request_id), user, ..line })
}

fn fields(event: &Recorded, metadata: &Metadata) -> Map<String, Value> {
    let text = |text: &str| Value::String(text.to_owned());
    let mut fields = Map::from_iter([
        ("position".to_owned(), Value::from(event.position)),
        ("resource_type".to_owned(), text(&event.aggregate_type)),
        ("resource_id".to_owned(), text(&event.aggregate_id)),
        ("surface".to_owned(), text(&metadata.surface)),
    ]);
    if let Some(address) = &metadata.remote_addr {
        fields.insert("ip_address".to_owned(), text(address));
    }
    fields
}
