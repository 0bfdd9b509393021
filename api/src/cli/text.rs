//! Reports as people read them. Each line goes through [`line()`], so that no value can act on somebody's terminal.

use std::fmt::Display;
use std::io::{Result, Write};
use std::path::Path;

use replay::audit::Audit;
use replay::diff::{Change, Diff};
use replay::export::Exported;
use replay::import::Imported;
use replay::list::Listed;
use replay::rebuild::Rebuilt;
use replay::show::History;
use replay::verify::{FieldFound, Finding, RowFound, Verification};
use serde_json::Value;

type Out<'a> = &'a mut (dyn Write + Send);

/// Writes `text` as one line, whatever is in it.
fn line(out: Out<'_>, text: impl Display) -> Result<()> {
    writeln!(out, "{}", visible(&text.to_string()))
}

/// The text with all control characters escaped: values come from outside.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || turns(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Whether it writes text from right to left, or breaks a line though it is no control character.
fn turns(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

pub(super) fn rebuilt(rebuilt: &Vec<Rebuilt>, out: Out<'_>) -> Result<()> {
    for Rebuilt { projection, position, events, rows, .. } in rebuilt {
        line(out, format_args!("{projection}: {rows} rows from {events} events, through position {position}"))?;
    }
    Ok(())
}

pub(super) fn verification(verification: &Verification, out: Out<'_>) -> Result<()> {
    for verified in &verification.projections {
        let name = &verified.projection;
        let word = if verified.is_equal() { "equal" } else { "DIFFERENT" };
        line(out, format_args!("{name}: {word}; {} rows, through position {}", verified.rows, verified.position))?;
        for FieldFound { field, live, rebuilt } in &verified.checkpoint {
            line(
                out,
                format_args!(
                    "  {name}, checkpoint, {field}: live {}, rebuilt {}",
                    shown(live.as_ref()),
                    shown(rebuilt.as_ref())
                ),
            )?;
        }
        for row in &verified.differences {
            row_found(name, row, out)?;
        }
        if verified.more {
            line(out, format_args!("  {name}: and more"))?;
        }
    }
    // Not a difference: a server that runs is about to fold them. It says so itself when it cannot.
    let behind = verification.projections.iter().filter(|verified| verified.position < verification.head).count();
    if behind > 0 {
        let head = verification.head;
        let sentence = format_args!("{behind} read models have not come to the end of the log yet, position {head}.");
        line(out, sentence)?;
    }
    let outcome = if verification.equal { "Everything is what the log says." } else { "There are differences." };
    line(out, format_args!("{outcome}"))
}

fn row_found(projection: &str, RowFound { row, finding, fields }: &RowFound, out: Out<'_>) -> Result<()> {
    match finding {
        Finding::Differs => {}
        Finding::Missing => line(out, format_args!("  {projection}, row {row}: missing in the live table"))?,
        Finding::Surplus => line(out, format_args!("  {projection}, row {row}: only in the live table"))?,
    }
    for FieldFound { field, live, rebuilt } in fields {
        line(
            out,
            format_args!(
                "  {projection}, row {row}, {field}: live {}, rebuilt {}",
                shown(live.as_ref()),
                shown(rebuilt.as_ref())
            ),
        )?;
    }
    Ok(())
}

fn shown(value: Option<&String>) -> &str {
    value.map_or("nothing", String::as_str)
}

pub(super) fn history(history: &History, out: Out<'_>) -> Result<()> {
    let History { aggregate_type, aggregate_id, tenant, version, position, state, unreadable, events } = history;
    line(out, format_args!("{aggregate_type}/{aggregate_id} of tenant {tenant}"))?;
    line(out, format_args!("version {version}, at position {position}"))?;
    // JSON breaks lines between values only.
    let state = unreadable.clone().unwrap_or_else(|| format!("{state:#}"));
    for part in state.lines() {
        line(out, part)?;
    }
    for event in events {
        let time = event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        line(out, format_args!("{:>10}  {time}  {}  {}", event.position, event.about("actor"), event.event_type))?;
    }
    Ok(())
}

pub(super) fn listed(listed: &Listed, out: Out<'_>) -> Result<()> {
    let Listed { projection, position, total, rows } = listed;
    line(out, format_args!("{projection} at position {position}: {} of {total} rows", rows.len()))?;
    for row in rows {
        let fields: Vec<String> = row.iter().map(|(column, value)| format!("{column}={}", plain(value))).collect();
        line(out, fields.join("  "))?;
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn diff(diff: &Diff, out: Out<'_>) -> Result<()> {
    line(out, format_args!("from position {} to {}", diff.from, diff.to))?;
    if diff.projections.iter().all(|projection| projection.rows.is_empty()) {
        return line(out, "Nothing changed.");
    }
    for projection in &diff.projections {
        let name = &projection.projection;
        for row in &projection.rows {
            let word = match row.change {
                Change::Added => "added",
                Change::Removed => "removed",
                Change::Changed => "changed",
            };
            line(out, format_args!("{name}, row {}: {word}", row.row))?;
            for field in &row.fields {
                line(
                    out,
                    format_args!(
                        "  {}: {} -> {}",
                        field.field,
                        shown(field.before.as_ref()),
                        shown(field.after.as_ref())
                    ),
                )?;
            }
        }
        if projection.more {
            line(out, format_args!("{name}: and more"))?;
        }
    }
    Ok(())
}

pub(super) fn exported(exported: &Exported, file: &Path, out: Out<'_>) -> Result<()> {
    let Exported { events, first, last, digest, sha256, redacted, commands, readers } = exported;
    line(out, format_args!("{events} events, from position {first} to {last}, are in {}", file.display()))?;
    line(out, format_args!("secrets blanked in {redacted} events; {commands} kept commands, {readers} readers"))?;
    digests(digest, sha256.as_deref(), out)
}

pub(super) fn imported(imported: &Imported, out: Out<'_>) -> Result<()> {
    let Imported { events, digest, sha256, commands, readers } = imported;
    line(out, format_args!("{events} events, {commands} kept commands and the positions of {readers} readers"))?;
    digests(digest, Some(sha256), out)
}

/// The first tells which events there are; what is in them and beside them, only the second.
fn digests(digest: &str, sha256: Option<&str>, out: Out<'_>) -> Result<()> {
    line(out, format_args!("digest of positions and event ids {digest}"))?;
    sha256.map_or(Ok(()), |sha256| line(out, format_args!("SHA-256 of all lines but the last {sha256}")))
}

pub(super) fn audit(audit: &Audit, out: Out<'_>) -> Result<()> {
    let Audit { sound, head, events, streams, commands, digest, .. } = audit;
    line(out, format_args!("{events} events in {streams} streams, {commands} kept commands, through position {head}"))?;
    digests(digest, None, out)?;
    for outcome in &audit.checks {
        let name = serde_json::to_value(outcome.check).unwrap_or_default();
        let word = if outcome.findings == 0 { "sound".to_owned() } else { format!("{} FINDINGS", outcome.findings) };
        line(out, format_args!("{:<12} {word}", plain(&name)))?;
    }
    for finding in &audit.findings {
        let place = finding.position.map_or_else(String::new, |position| format!(" at position {position}"));
        let check = serde_json::to_value(finding.check).unwrap_or_default();
        line(out, format_args!("{}{place}: {}", plain(&check), finding.what))?;
    }
    line(out, format_args!("{}", if *sound { "The log is sound." } else { "The log is NOT sound." }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_that_moves_nothing() {
        let mut out = Vec::new();
        line(&mut out, "Zoë said \"hi\"\n\u{1b}[2J\r\t\u{9b}\u{7f}\u{202e}\u{2028} 你好").unwrap();
        let shown = "Zoë said \"hi\"\\n\\u{1b}[2J\\r\\t\\u{9b}\\u{7f}\\u{202e}\\u{2028} 你好\n";
        assert_eq!(String::from_utf8(out).unwrap(), shown);
    }
}
