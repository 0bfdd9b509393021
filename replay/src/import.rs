//! An empty log filled from a full export.

use std::collections::BTreeMap;
use std::io::BufRead;

use commands::log::Restore;
use data_encoding::{BASE64, HEXLOWER};
use domain::event::Recorded;
use domain::log::{AGGREGATE_ID_BYTES_MAX, CommandUnderKey, EVENT_BYTES_MAX, KEY_BYTES_MAX, KeptCommand};
use projections::checkpoint::Tally;
use serde::Serialize;

use crate::continuity::Continuity;
use crate::end_record::{EndRecord, LinesHash};
use crate::error::ReplayError;
use crate::export::{Beside, FullEvent};
use crate::progress::Progress;

/// Events (or commands) handed to the log at a time.
const BATCH: usize = 5_000;
/// Lines handed to the log at a time, in bytes: it takes a few copies of them.
const BATCH_BYTES: usize = 32 * 1024 * 1024;
/// Longest line: an event of the largest size, escaped, and what surrounds it.
const LINE_BYTES_MAX: u64 = 8 * EVENT_BYTES_MAX as u64;

/// How lines begin that are no events.
const BESIDE: [&str; 3] = ["{\"kept_command\"", "{\"reader\"", "{\"end\""];

/// What was imported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    pub events: u64,
    /// Rolling digest of the positions and ids of the events.
    pub digest: String,
    /// Of all lines but the end record, which says the same.
    pub sha256: String,
    pub commands: u64,
    pub readers: u64,
}

/// Fills a log from the lines of `input`, which has `bytes` bytes. Positions, ids, times and metadata stay as they are.
///
/// # Errors
/// [`ReplayError::Import`] with the first line that does not belong into a log, or [`ReplayError::NotWhole`] when the
/// lines are not all that were exported: then nothing is imported.
pub async fn import(
    restore: Box<dyn Restore>,
    mut input: impl BufRead + Send,
    bytes: u64,
    progress: &dyn Progress,
) -> Result<Imported, ReplayError> {
    let mut import = Import::into(restore);
    let (mut line, mut number, mut done) = (Vec::new(), 0, 0);
    loop {
        line.clear();
        let read = std::io::Read::take(&mut input, LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let read = read.map_err(ReplayError::Input)?;
        if read == 0 {
            break;
        }
        import.takes_more()?;
        number += 1;
        done += read as u64;
        let at = |reason: String| ReplayError::Import { line: number, reason };
        let text = str::from_utf8(&line).map_err(|error| at(error.to_string()))?.trim();
        if !text.is_empty() {
            import.take(text).map_err(at)?;
            import.weight += text.len();
        }
        if import.end.is_none() {
            import.lines.add(&line);
        }
        if import.is_heavy() {
            import.hand_over().await?;
            progress.at("importing", done, bytes);
        }
    }
    import.finish().await
}

struct Import {
    restore: Box<dyn Restore>,
    continuity: Continuity,
    events: Vec<Recorded>,
    commands: Vec<CommandUnderKey>,
    /// Bytes of the lines of both.
    weight: usize,
    readers: BTreeMap<String, u64>,
    head: u64,
    tally: Tally,
    lines: LinesHash,
    end: Option<EndRecord>,
    imported: Imported,
}

impl Import {
    fn into(restore: Box<dyn Restore>) -> Self {
        Self {
            restore,
            continuity: Continuity::default(),
            events: Vec::new(),
            commands: Vec::new(),
            weight: 0,
            readers: BTreeMap::new(),
            head: 0,
            tally: Tally::default(),
            lines: LinesHash::default(),
            end: None,
            imported: Imported::default(),
        }
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        if BESIDE.iter().any(|begin| line.starts_with(begin)) {
            return self.take_beside(serde_json::from_str(line).map_err(|error| unreadable(&error))?);
        }
        let event: FullEvent = serde_json::from_str(line).map_err(|error| unreadable(&error))?;
        if !event.redacted.is_empty() {
            let fields = event.redacted.join(", ");
            return Err(format!("the event was exported without its secrets ({fields}): export with --full"));
        }
        let event = recorded(event)?;
        if let Some(finding) = self.continuity.check(&event).into_iter().next() {
            let start =
                if event.position > 1 && self.tally.events == 0 { " (a whole history begins at 1)" } else { "" };
            return Err(format!("{}{start}", finding.what));
        }
        self.head = event.position;
        self.tally.add(&event);
        self.events.push(event);
        Ok(())
    }

    fn take_beside(&mut self, beside: Beside) -> Result<(), String> {
        match beside {
            Beside::KeptCommand { tenant, key, fingerprint, first, last, answer } => {
                if key.is_empty() || key.len() > KEY_BYTES_MAX || first > last || last > self.head {
                    return Err("a kept command with a key or with events that cannot be".to_owned());
                }
                let fingerprint = HEXLOWER.decode(fingerprint.as_bytes()).map_err(|error| error.to_string())?;
                let answer = answer.map(|answer| BASE64.decode(answer.as_bytes())).transpose();
                let answer = answer.map_err(|error| error.to_string())?;
                let kept = KeptCommand { fingerprint, first_position: first, last_position: last, answer };
                self.commands.push(CommandUnderKey { tenant, key, kept });
            }
            Beside::Reader { name, position } => {
                if position > self.head {
                    return Err(format!("the reader {name} is beyond the end of the log"));
                }
                self.readers.insert(name, position);
            }
            Beside::End(end) => self.end = Some(end),
        }
        Ok(())
    }

    /// Nothing comes after the end record.
    fn takes_more(&self) -> Result<(), ReplayError> {
        let more = || ReplayError::NotWhole("there are lines after its end record".to_owned());
        self.end.as_ref().map_or(Ok(()), |_| Err(more()))
    }

    fn is_heavy(&self) -> bool {
        self.events.len() >= BATCH || self.commands.len() >= BATCH || self.weight >= BATCH_BYTES
    }

    async fn hand_over(&mut self) -> Result<(), ReplayError> {
        let (events, commands) = (std::mem::take(&mut self.events), std::mem::take(&mut self.commands));
        self.weight = 0;
        self.imported.events += events.len() as u64;
        self.imported.commands += commands.len() as u64;
        if !events.is_empty() {
            self.restore.events(events).await?;
        }
        if !commands.is_empty() {
            self.restore.commands(commands).await?;
        }
        Ok(())
    }

    async fn finish(mut self) -> Result<Imported, ReplayError> {
        self.hand_over().await?;
        self.check_end()?;
        for (reader, position) in std::mem::take(&mut self.readers) {
            self.restore.reader_position(reader, position).await?;
            self.imported.readers += 1;
        }
        self.restore.commit().await?;
        Ok(Imported { digest: self.tally.hex(), sha256: self.lines.hex(), ..self.imported })
    }

    /// Makes sure that all that was exported has come, as it was. To be called when everything is handed over.
    fn check_end(&self) -> Result<(), ReplayError> {
        let Some(end) = &self.end else {
            return Err(ReplayError::NotWhole(
                "its last line is no end record, as `export --full` writes it".to_owned(),
            ));
        };
        let found = EndRecord {
            events: self.imported.events,
            commands: self.imported.commands,
            readers: self.readers.len() as u64,
            digest: self.tally.hex(),
            sha256: self.lines.hex(),
        };
        end.contradiction(&found).map_or(Ok(()), |contradiction| Err(ReplayError::NotWhole(contradiction)))
    }
}

/// Why a line is no JSON of ours.
fn unreadable(error: &serde_json::Error) -> String {
    if error.is_eof() { format!("the file was cut off or changed here: {error}") } else { error.to_string() }
}

fn recorded(event: FullEvent) -> Result<Recorded, String> {
    if event.payload.get().len() > EVENT_BYTES_MAX || event.aggregate_id.len() > AGGREGATE_ID_BYTES_MAX {
        return Err("the event is larger than a log takes".to_owned());
    }
    Ok(Recorded {
        position: event.position,
        event_id: event.event_id,
        aggregate_type: event.aggregate_type.into(),
        aggregate_id: event.aggregate_id.into(),
        sequence: event.sequence,
        event_type: event.event_type.into(),
        event_version: event.event_version,
        payload: event.payload.get().into(),
        tenant: event.tenant,
        metadata: event.metadata.get().into(),
        recorded_at: event.recorded_at,
    })
}
