//! Reports as people read them.

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

pub(super) fn rebuilt(rebuilt: &Vec<Rebuilt>, out: Out<'_>) -> Result<()> {
    for Rebuilt { projection, position, events, rows, .. } in rebuilt {
        writeln!(out, "{projection}: {rows} rows from {events} events, through position {position}")?;
    }
    Ok(())
}

pub(super) fn verification(verification: &Verification, out: Out<'_>) -> Result<()> {
    for verified in &verification.projections {
        let name = &verified.projection;
        let word = if verified.is_equal() { "equal" } else { "DIFFERENT" };
        writeln!(out, "{name}: {word}; {} rows, through position {}", verified.rows, verified.position)?;
        for FieldFound { field, live, rebuilt } in &verified.checkpoint {
            writeln!(
                out,
                "  {name}, checkpoint, {field}: live {}, rebuilt {}",
                shown(live.as_ref()),
                shown(rebuilt.as_ref())
            )?;
        }
        for row in &verified.differences {
            row_found(name, row, out)?;
        }
        if verified.more {
            writeln!(out, "  {name}: and more")?;
        }
    }
    // Not a difference: a server that runs is about to fold them. It says so itself when it cannot.
    let behind = verification.projections.iter().filter(|verified| verified.position < verification.head).count();
    if behind > 0 {
        let head = verification.head;
        writeln!(out, "{behind} read models have not come to the end of the log yet, which is position {head}.")?;
    }
    writeln!(out, "{}", if verification.equal { "Everything is what the log says." } else { "There are differences." })
}

fn row_found(projection: &str, RowFound { row, finding, fields }: &RowFound, out: Out<'_>) -> Result<()> {
    match finding {
        Finding::Differs => {}
        Finding::Missing => writeln!(out, "  {projection}, row {row}: missing in the live table")?,
        Finding::Surplus => writeln!(out, "  {projection}, row {row}: only in the live table")?,
    }
    for FieldFound { field, live, rebuilt } in fields {
        writeln!(
            out,
            "  {projection}, row {row}, {field}: live {}, rebuilt {}",
            shown(live.as_ref()),
            shown(rebuilt.as_ref())
        )?;
    }
    Ok(())
}

fn shown(value: Option<&String>) -> &str {
    value.map_or("nothing", String::as_str)
}

pub(super) fn history(history: &History, out: Out<'_>) -> Result<()> {
    let History { aggregate_type, aggregate_id, tenant, version, position, state, events } = history;
    writeln!(out, "{aggregate_type}/{aggregate_id} of tenant {tenant}")?;
    writeln!(out, "version {version}, at position {position}")?;
    writeln!(out, "{state:#}")?;
    for event in events {
        let time = event.recorded_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        writeln!(out, "{:>10}  {time}  {}  {}", event.position, event.about("actor"), event.event_type)?;
    }
    Ok(())
}

pub(super) fn listed(listed: &Listed, out: Out<'_>) -> Result<()> {
    let Listed { projection, position, total, rows } = listed;
    writeln!(out, "{projection} at position {position}: {} of {total} rows", rows.len())?;
    for row in rows {
        let fields: Vec<String> = row.iter().map(|(column, value)| format!("{column}={}", plain(value))).collect();
        writeln!(out, "{}", fields.join("  "))?;
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) fn diff(diff: &Diff, out: Out<'_>) -> Result<()> {
    writeln!(out, "from position {} to {}", diff.from, diff.to)?;
    for projection in &diff.projections {
        let name = &projection.projection;
        for row in &projection.rows {
            let word = match row.change {
                Change::Added => "added",
                Change::Removed => "removed",
                Change::Changed => "changed",
            };
            writeln!(out, "{name}, row {}: {word}", row.row)?;
            for field in &row.fields {
                writeln!(
                    out,
                    "  {}: {} -> {}",
                    field.field,
                    shown(field.before.as_ref()),
                    shown(field.after.as_ref())
                )?;
            }
        }
        if projection.more {
            writeln!(out, "{name}: and more")?;
        }
    }
    Ok(())
}

pub(super) fn exported(exported: &Exported, file: &Path, out: Out<'_>) -> Result<()> {
    let Exported { events, first, last, digest, redacted, commands } = exported;
    writeln!(out, "{events} events, from position {first} to {last}, are in {}", file.display())?;
    writeln!(out, "secrets blanked in {redacted} events; {commands} kept commands; digest {digest}")
}

pub(super) fn imported(imported: &Imported, out: Out<'_>) -> Result<()> {
    let Imported { events, digest, commands, readers } = imported;
    writeln!(out, "{events} events, {commands} kept commands and the positions of {readers} readers; digest {digest}")
}

pub(super) fn audit(audit: &Audit, out: Out<'_>) -> Result<()> {
    let Audit { sound, head, events, streams, commands, digest, .. } = audit;
    writeln!(out, "{events} events in {streams} streams, {commands} kept commands, through position {head}")?;
    writeln!(out, "digest {digest}")?;
    for outcome in &audit.checks {
        let name = serde_json::to_value(outcome.check).unwrap_or_default();
        let word = if outcome.findings == 0 { "sound".to_owned() } else { format!("{} FINDINGS", outcome.findings) };
        writeln!(out, "{:<12} {word}", plain(&name))?;
    }
    for finding in &audit.findings {
        let place = finding.position.map_or_else(String::new, |position| format!(" at position {position}"));
        let check = serde_json::to_value(finding.check).unwrap_or_default();
        writeln!(out, "{}{place}: {}", plain(&check), finding.what)?;
    }
    writeln!(out, "{}", if *sound { "The log is sound." } else { "The log is NOT sound." })
}
