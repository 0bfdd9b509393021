//! The history as a file.

use std::io::Write;
use std::sync::Arc;

use data_encoding::{BASE64, HEXLOWER};
use domain::event::Recorded;
use domain::log::{CommandUnderKey, Log};
use domain::metadata::TenantId;
use projections::ReadAhead;
use projections::checkpoint::Tally;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::ReplayError;
use crate::event::EventView;
use crate::events::EventFilter;
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
    /// With secrets, and (of a history from its beginning, as NDJSON) with kept commands and the positions of readers:
    /// what another installation needs to go on from there.
    pub full: bool,
}

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    pub events: u64,
    /// Position of the first event; 0 when there is none.
    pub first: u64,
    pub last: u64,
    /// Rolling digest of the events.
    pub digest: String,
    /// Events of which something was blanked.
    pub redacted: u64,
    pub commands: u64,
}

/// An event with everything in it, as it stands in the log.
#[derive(Serialize, Deserialize)]
pub(crate) struct FullEvent {
    pub(crate) position: u64,
    pub(crate) event_id: uuid::Uuid,
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
}

/// Writes what is `wanted` to `output`.
///
/// # Errors
/// When the log does not answer, or the output takes no more.
pub async fn export(
    log: &Arc<dyn Log>,
    wanted: &Wanted,
    output: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<Exported, ReplayError> {
    let after = match wanted.from {
        Some(moment) => moment.before(log.as_ref()).await?,
        None => 0,
    };
    let through = match wanted.to {
        Some(moment) => moment.position(log.as_ref()).await?,
        None => log.head().await?,
    };
    let mut lines = Lines::begin(wanted, output)?;
    let filter = EventFilter { event_type: wanted.event_type.clone(), ..EventFilter::default() };
    let mut pages = ReadAhead::new(log, after, through, &filter.aggregate_types());
    while let Some(page) = pages.next().await? {
        for event in page.events.iter().filter(|event| filter.lets_through(event)) {
            lines.event(event)?;
        }
        progress.at("exporting", page.through, through);
    }
    if wanted.full && wanted.format == Format::Ndjson && after == 0 && wanted.event_type.is_none() {
        lines.commands(log.as_ref(), through).await?;
    }
    lines.end()
}

/// The lines of one export.
struct Lines<'a> {
    to: To<'a>,
    full: bool,
    tally: Tally,
    exported: Exported,
}

enum To<'a> {
    Ndjson(&'a mut (dyn Write + Send)),
    Csv(Box<csv::Writer<&'a mut (dyn Write + Send)>>),
}

impl<'a> Lines<'a> {
    fn begin(wanted: &Wanted, output: &'a mut (dyn Write + Send)) -> Result<Self, ReplayError> {
        let to = match wanted.format {
            Format::Ndjson => To::Ndjson(output),
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
        match (&mut self.to, self.full) {
            (To::Ndjson(output), true) => line(output, &full(event)?),
            (To::Ndjson(output), false) => {
                let view = EventView::of(event);
                self.exported.redacted += u64::from(!view.redacted.is_empty());
                line(output, &view)
            }
            (To::Csv(table), full) => {
                let view = EventView::of(event);
                let (payload, redacted) = if full {
                    (event.payload.to_string(), String::new())
                } else {
                    self.exported.redacted += u64::from(!view.redacted.is_empty());
                    (view.payload.to_string(), view.redacted.join(" "))
                };
                Ok(table.write_record(record(&view, payload, redacted).map(as_text))?)
            }
        }
    }

    async fn commands(&mut self, log: &dyn Log, through: u64) -> Result<(), ReplayError> {
        let To::Ndjson(output) = &mut self.to else { return Ok(()) };
        let mut after = None;
        loop {
            let commands = log.commands(after, COMMANDS_PER_PAGE).await?;
            let Some(last) = commands.last() else { break };
            after = Some((last.tenant, last.key.clone()));
            for command in commands.iter().filter(|command| command.kept.last_position <= through) {
                line(output, &beside(command))?;
                self.exported.commands += 1;
            }
        }
        for (name, position) in log.reader_positions().await? {
            line(output, &Beside::Reader { name, position: position.min(through) })?;
        }
        Ok(())
    }

    fn end(self) -> Result<Exported, ReplayError> {
        match self.to {
            To::Ndjson(output) => output.flush()?,
            To::Csv(mut table) => table.flush()?,
        }
        Ok(Exported { events: self.tally.events, digest: self.tally.hex(), ..self.exported })
    }
}

fn line(output: &mut (dyn Write + Send), value: &impl Serialize) -> Result<(), ReplayError> {
    serde_json::to_writer(&mut *output, value).map_err(std::io::Error::from)?;
    Ok(output.write_all(b"\n")?)
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

fn record(view: &EventView, payload: String, redacted: String) -> [String; COLUMNS.len()] {
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
        payload,
        redacted,
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
