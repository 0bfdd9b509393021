//! The history as a file.

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use domain::event::Recorded;
use domain::log::{CommandUnderKey, KeptCommand, Log};
use domain::metadata::TenantId;
use projections::ReadAhead;
use projections::checkpoint::Tally;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::end_record::{EndRecord, LinesHash};
use crate::error::ReplayError;
use crate::event::EventView;
use crate::events::{EventFilter, known_event};
use crate::moment::Moment;
use crate::progress::Progress;

const COMMANDS_PER_PAGE: usize = 10_000;
/// Spreadsheets take a cell that begins with one of these for a formula.
const FORMULA_MARKS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];
const COLUMNS: [&str; 18] = [
    "position",
    "event_id",
    "recorded_at",
    "tenant",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "event_type",
    "event_version",
    "actor",
    "surface",
    "request_id",
    "command_id",
    "correlation_id",
    "causation_id",
    "remote_addr",
    "payload",
    "redacted",
];

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    Ndjson,
    /// A table with a line of names, safe to open in a spreadsheet.
    Csv,
}

/// What is exported.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub format: Format,
    pub from: Option<Moment>,
    pub to: Option<Moment>,
    /// An event's name, or what it begins with up to a dot.
    pub event_type: Option<String>,
    /// With secrets, and (of a history from its beginning) with kept commands, the positions of readers and an end
    /// record: what another installation needs to go on from there. As NDJSON only.
    pub full: bool,
}

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    pub events: u64,
    /// Position of the first event; 0 when there is none.
    pub first: u64,
    pub last: u64,
    /// Rolling digest of the positions and ids of the events: it tells which events there are, not what is in them.
    pub digest: String,
    /// Of a full export of a history from its beginning: SHA-256 of all its lines but the last one, which holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Events of which something was blanked.
    pub redacted: u64,
    pub commands: u64,
    /// Readers whose positions were exported.
    pub readers: u64,
}

/// An event with everything in it, as it stands in the log.
#[derive(Serialize, Deserialize)]
pub(crate) struct FullEvent {
    pub(crate) position: u64,
    pub(crate) event_id: Uuid,
    pub(crate) recorded_at: chrono::DateTime<chrono::Utc>,
    pub(crate) tenant: TenantId,
    pub(crate) aggregate_type: String,
    pub(crate) aggregate_id: String,
    pub(crate) sequence: u64,
    pub(crate) event_type: String,
    pub(crate) event_version: u16,
    pub(crate) payload: Box<RawValue>,
    pub(crate) metadata: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) redacted: Vec<String>,
}

/// A line that is no event.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Beside {
    KeptCommand { tenant: TenantId, key: String, fingerprint: String, first: u64, last: u64, answer: Option<String> },
    Reader { name: String, position: u64 },
    End(EndRecord),
}

/// Writes what is `wanted` to `output`.
///
/// # Errors
/// When there is no such event, a full export is asked for as a table, the log does not answer, or the output takes no
/// more.
pub async fn export(
    log: &Arc<dyn Log>,
    wanted: &Wanted,
    output: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Exported, ReplayError> {
    wanted.check()?;
    let after = match wanted.from {
        Some(moment) => moment.before(log.as_ref()).await?,
        None => 0,
    };
    // Before the end is known: what came of the events that they have passed stands in front of it, unless an earlier end
    // is asked for.
    let readers = log.reader_positions().await?;
    let through = match wanted.to {
        Some(moment) => moment.position(log.as_ref()).await?,
        None => log.head().await?,
    };
    let is_whole = wanted.full && after == 0 && wanted.event_type.is_none();
    let ends_early = is_whole && wanted.to.is_some();
    let causes = if ends_early { causes_of_later_events(log, through).await? } else { HashSet::new() };
    let mut unfinished = None;
    let mut lines = Lines::begin(wanted, output)?;
    let filter = EventFilter { event_type: wanted.event_type.clone(), ..EventFilter::default() };
    let mut pages = ReadAhead::new(log, after, through, &filter.aggregate_types());
    while let Some(page) = pages.next().await? {
        for event in page.events.iter().filter(|event| filter.lets_through(event)) {
            lines.event(event)?;
            if unfinished.is_none() && causes.contains(&event.event_id) {
                unfinished = Some(event.position);
            }
        }
        progress.at("exporting", page.through, through);
    }
    if is_whole {
        lines.commands(log.as_ref(), through).await?;
        lines.readers(readers, unfinished.map_or(through, |position| position - 1))?;
        lines.end_record()?;
    }
    lines.end()
}

/// The events that what stands after `through` came of. A history that ends there has no more than the causes: whoever
/// goes on from it has to handle them again.
async fn causes_of_later_events(log: &Arc<dyn Log>, through: u64) -> Result<HashSet<Uuid>, ReplayError> {
    let mut causes = HashSet::new();
    let mut pages = ReadAhead::new(log, through, log.head().await?, &[]);
    while let Some(page) = pages.next().await? {
        for event in &page.events {
            causes.extend(event.metadata()?.causation_id);
        }
    }
    Ok(causes)
}

impl Wanted {
    fn check(&self) -> Result<(), ReplayError> {
        if self.full && self.format == Format::Csv {
            return Err(ReplayError::FullTable);
        }
        if self.from.zip(self.to).is_some_and(|(from, to)| from.is_after(to)) {
            return Err(ReplayError::Backwards);
        }
        self.event_type.as_deref().map_or(Ok(()), known_event)
    }
}

/// The lines of one export.
struct Lines<'a> {
    to: To<'a>,
    full: bool,
    tally: Tally,
    exported: Exported,
}

enum To<'a> {
    Ndjson(JsonLines<'a>),
    Csv(Box<csv::Writer<&'a mut (dyn Write + Send)>>),
}

impl<'a> Lines<'a> {
    fn begin(wanted: &Wanted, output: &'a mut (dyn Write + Send)) -> Result<Self, ReplayError> {
        let to = match wanted.format {
            Format::Ndjson => To::Ndjson(JsonLines { output, line: Vec::new(), hash: LinesHash::default() }),
            Format::Csv => {
                let mut table = csv::Writer::from_writer(output);
                table.write_record(COLUMNS)?;
                To::Csv(Box::new(table))
            }
        };
        Ok(Self { to, full: wanted.full, tally: Tally::default(), exported: Exported::default() })
    }

    fn event(&mut self, event: &Recorded) -> Result<(), ReplayError> {
        self.tally.add(event);
        if self.exported.first == 0 {
            self.exported.first = event.position;
        }
        self.exported.last = event.position;
        if self.full
            && let To::Ndjson(lines) = &mut self.to
        {
            return lines.write(&full(event)?);
        }
        let view = EventView::of(event);
        self.exported.redacted += u64::from(!view.redacted.is_empty());
        match &mut self.to {
            To::Ndjson(lines) => lines.write(&view),
            To::Csv(table) => Ok(table.write_record(record(&view).map(as_text))?),
        }
    }

    async fn commands(&mut self, log: &dyn Log, through: u64) -> Result<(), ReplayError> {
        let To::Ndjson(lines) = &mut self.to else { return Ok(()) };
        let mut after = None;
        loop {
            let commands = log.commands(after, COMMANDS_PER_PAGE).await?;
            let Some(last) = commands.last() else { break };
            after = Some((last.tenant, last.key.clone()));
            // A key without events may be that of a request whose events come later, and its answer tells of them.
            let is_end = log.head().await? == through;
            let belongs = |kept: &KeptCommand| kept.last_position <= through && (is_end || kept.last_position > 0);
            for command in commands.iter().filter(|command| belongs(&command.kept)) {
                lines.write(&beside(command))?;
                self.exported.commands += 1;
            }
        }
        Ok(())
    }

    /// Where the readers are, but nobody after `finished`.
    fn readers(&mut self, readers: BTreeMap<String, u64>, finished: u64) -> Result<(), ReplayError> {
        let To::Ndjson(lines) = &mut self.to else { return Ok(()) };
        for (name, position) in readers {
            lines.write(&Beside::Reader { name, position: position.min(finished) })?;
            self.exported.readers += 1;
        }
        Ok(())
    }

    fn end_record(&mut self) -> Result<(), ReplayError> {
        let To::Ndjson(lines) = &mut self.to else { return Ok(()) };
        let sha256 = lines.hash.hex();
        self.exported.sha256 = Some(sha256.clone());
        lines.write(&Beside::End(EndRecord {
            events: self.tally.events,
            commands: self.exported.commands,
            readers: self.exported.readers,
            digest: self.tally.hex(),
            sha256,
        }))
    }

    fn end(self) -> Result<Exported, ReplayError> {
        match self.to {
            To::Ndjson(lines) => lines.output.flush()?,
            To::Csv(mut table) => table.flush()?,
        }
        Ok(Exported { events: self.tally.events, digest: self.tally.hex(), ..self.exported })
    }
}

/// JSON objects, one a line.
struct JsonLines<'a> {
    output: &'a mut (dyn Write + Send),
    line: Vec<u8>,
    hash: LinesHash,
}

impl JsonLines<'_> {
    fn write(&mut self, value: &impl Serialize) -> Result<(), ReplayError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value).map_err(std::io::Error::from)?;
        self.line.push(b'\n');
        self.hash.add(&self.line);
        Ok(self.output.write_all(&self.line)?)
    }
}

fn full(event: &Recorded) -> Result<FullEvent, ReplayError> {
    Ok(FullEvent {
        position: event.position,
        event_id: event.event_id,
        recorded_at: event.recorded_at,
        tenant: event.tenant,
        aggregate_type: event.aggregate_type.to_string(),
        aggregate_id: event.aggregate_id.to_string(),
        sequence: event.sequence,
        event_type: event.event_type.to_string(),
        event_version: event.event_version,
        payload: raw(&event.payload)?,
        metadata: raw(&event.metadata)?,
        redacted: Vec::new(),
    })
}

/// JSON as it stands, on one line.
fn raw(json: &str) -> Result<Box<RawValue>, ReplayError> {
    let one_line = if json.contains(['\n', '\r']) {
        serde_json::from_str::<serde_json::Value>(json).map(|value| value.to_string())
    } else {
        Ok(json.to_owned())
    };
    one_line.and_then(RawValue::from_string).map_err(ReplayError::State)
}

fn beside(CommandUnderKey { tenant, key, kept }: &CommandUnderKey) -> Beside {
    Beside::KeptCommand {
        tenant: *tenant,
        key: key.clone(),
        fingerprint: HEXLOWER.encode(&kept.fingerprint),
        first: kept.first_position,
        last: kept.last_position,
        answer: kept.answer.as_ref().map(|answer| BASE64.encode(answer)),
    }
}

fn record(view: &EventView) -> [String; COLUMNS.len()] {
    let about = |name: &str| view.about(name).to_owned();
    [
        view.position.to_string(),
        view.event_id.to_string(),
        view.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true),
        view.tenant.to_string(),
        view.aggregate_type.clone(),
        view.aggregate_id.clone(),
        view.sequence.to_string(),
        view.event_type.clone(),
        view.event_version.to_string(),
        about("actor"),
        about("surface"),
        about("request_id"),
        about("command_id"),
        about("correlation_id"),
        about("causation_id"),
        about("remote_addr"),
        view.payload.to_string(),
        view.redacted.join(" "),
    ]
}

/// A cell that no spreadsheet takes for a formula.
fn as_text(cell: String) -> String {
    if cell.starts_with(FORMULA_MARKS) { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_formulas() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(as_text(formula.to_owned()), format!("'{formula}"));
        }
        assert_eq!(as_text("a=b".to_owned()), "a=b");
    }

    #[test]
    fn json_stays_as_it_stands_on_one_line() {
        assert_eq!(raw(r#"{"b": 1,"a":1.0}"#).unwrap().get(), r#"{"b": 1,"a":1.0}"#);
        assert_eq!(raw("{\n\"a\":1}").unwrap().get(), r#"{"a":1}"#);
    }
}
