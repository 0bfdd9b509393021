//! The subcommands about history: `replay …`, `export`, `import`, `audit`. The work is done in the crate `replay`; here
//! it is asked for and told about.

mod bars;
mod text;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use replay::export::{Exported, Format, Wanted};
use replay::{Moment, ReplayError, projections_named};
use serde::Serialize;

use self::bars::Bars;
use crate::config::Config;
use crate::storage::Storage;

/// What was found differs, or is not sound.
const FOUND: u8 = 1;
/// Rows (or fields of a read model) reported unless asked otherwise.
const ROWS: u64 = 100;

/// A subcommand about history.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Rebuild, verify and show what was, from the log.
    #[command(subcommand)]
    Replay(ReplayCommand),
    /// Write the history to a file.
    Export(ExportArguments),
    /// Fill an empty log from a full export: `corelog import history`.
    #[command(skip)]
    Import(ImportArguments),
    /// Check the whole log and what hangs on it; exits with 1 when something is found.
    Audit(As),
}

/// What a replay is for.
#[derive(Debug, Subcommand)]
pub enum ReplayCommand {
    /// Build read models anew and put them in the place of the live ones; a server may run meanwhile.
    Rebuild(Projections),
    /// Build read models once more and compare them with the live ones; exits with 1 when they differ.
    Verify(VerifyArguments),
    /// Show an aggregate as it was, and its events.
    Show(ShowArguments),
    /// Show the rows of a read model as they were.
    List(ListArguments),
    /// Show what changed in read models between two moments.
    Diff(DiffArguments),
}

/// How a report is written.
#[derive(Debug, Clone, Copy, Args)]
pub struct As {
    /// Report as JSON.
    #[arg(long)]
    json: bool,
}

/// Which read models.
#[derive(Debug, Args)]
pub struct Projections {
    /// This one only.
    #[arg(long)]
    projection: Option<String>,
    #[command(flatten)]
    written: As,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    projections: Projections,
    /// Most rows reported per read model.
    #[arg(long, default_value_t = ROWS)]
    limit: u64,
}

#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The sort and the id of the aggregate: `<aggregate_type>/<id>`.
    aggregate: String,
    /// A position, or a time like 2026-01-31T12:00:00Z; now when missing.
    #[arg(long)]
    at: Option<Moment>,
    #[command(flatten)]
    written: As,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    /// The read model.
    projection: String,
    /// A position, or a time like 2026-01-31T12:00:00Z; now when missing.
    #[arg(long)]
    at: Option<Moment>,
    /// Most rows shown.
    #[arg(long, default_value_t = ROWS)]
    limit: u64,
    #[command(flatten)]
    written: As,
}

#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The earlier moment: a position or a time.
    #[arg(long)]
    from: Moment,
    /// The later moment.
    #[arg(long)]
    to: Moment,
    #[command(flatten)]
    projections: Projections,
    /// Most rows shown per read model.
    #[arg(long, default_value_t = ROWS)]
    limit: u64,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    #[arg(long, value_enum, default_value_t = FormatName::Ndjson)]
    format: FormatName,
    /// From this position or time on.
    #[arg(long)]
    from: Option<Moment>,
    /// Up to this position or time.
    #[arg(long)]
    to: Option<Moment>,
    /// Events of this name, or of names that begin with it up to a dot.
    #[arg(long = "type")]
    event_type: Option<String>,
    /// With secrets (hashes of passwords and the like), kept commands, positions of readers and an end record: what
    /// `import` needs.
    #[arg(long)]
    full: bool,
    /// The file to write; the standard output when missing.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    written: As,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatName {
    Ndjson,
    Csv,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// The file that `export --full` wrote.
    file: PathBuf,
    #[command(flatten)]
    written: As,
}

impl HistoryCommand {
    /// How it reports.
    pub fn report(&self) -> As {
        match self {
            Self::Replay(command) => command.report(),
            Self::Export(arguments) => arguments.written,
            Self::Import(arguments) => arguments.report(),
            Self::Audit(written) => *written,
        }
    }
}

impl ReplayCommand {
    fn report(&self) -> As {
        match self {
            Self::Rebuild(projections) => projections.written,
            Self::Verify(arguments) => arguments.projections.written,
            Self::Show(arguments) => arguments.written,
            Self::List(arguments) => arguments.written,
            Self::Diff(arguments) => arguments.projections.written,
        }
    }
}

impl ImportArguments {
    /// How it reports.
    pub fn report(&self) -> As {
        self.written
    }
}

/// Carries out `command` on the installation that `config` describes and writes the report to `out`.
///
/// # Errors
/// A sentence that says why there is no report.
pub async fn run(command: HistoryCommand, config: &Config, out: &mut (dyn Write + Send)) -> Result<ExitCode, String> {
    let outcome = match command {
        HistoryCommand::Replay(command) => replayed(command, config, out).await,
        HistoryCommand::Export(arguments) => export(arguments, config, out).await,
        HistoryCommand::Import(arguments) => import(&arguments, config, out).await,
        HistoryCommand::Audit(written) => audit(written, config, out).await,
    };
    match outcome {
        // Whoever read the report has seen enough.
        Err(Failure::Replay(ReplayError::Output(error))) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(ExitCode::SUCCESS)
        }
        outcome => outcome.map_err(|failure| failure.to_string()),
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Start(#[from] crate::server::StartError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("{0}")]
    Usage(String),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Replay(error.into())
    }
}

impl From<domain::log::LogError> for Failure {
    fn from(error: domain::log::LogError) -> Self {
        Self::Replay(error.into())
    }
}

async fn replayed(command: ReplayCommand, config: &Config, out: &mut (dyn Write + Send)) -> Result<ExitCode, Failure> {
    let storage = Storage::history(config).await?;
    match command {
        ReplayCommand::Rebuild(arguments) => rebuild(&arguments, &storage, out).await,
        ReplayCommand::Verify(arguments) => verify(&arguments, &storage, out).await,
        ReplayCommand::Show(arguments) => show(&arguments, &storage, out).await,
        ReplayCommand::List(ListArguments { projection, at, limit, written }) => {
            let listed = replay::list::list(&storage.log, &projection, at, limit, &Bars::default()).await?;
            written.write(out, &listed, text::listed)
        }
        ReplayCommand::Diff(DiffArguments { from, to, projections, limit }) => {
            let name = projections.projection.as_deref();
            let limit = usize::try_from(limit).unwrap_or(usize::MAX - 1);
            let diff = replay::diff::diff(&storage.log, name, (from, to), limit, &Bars::default()).await?;
            projections.written.write(out, &diff, text::diff)
        }
    }
}

async fn rebuild(
    arguments: &Projections,
    storage: &Storage,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, Failure> {
    let projectors = projections_named(arguments.projection.as_deref())?;
    let rebuilt = replay::rebuild::rebuild(&storage.log, &storage.models, projectors, &Bars::default()).await?;
    arguments.written.write(out, &rebuilt, text::rebuilt)
}

async fn verify(
    arguments: &VerifyArguments,
    storage: &Storage,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, Failure> {
    let projectors = projections_named(arguments.projections.projection.as_deref())?;
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX - 1);
    let bars = Bars::default();
    let verification = replay::verify::verify(&storage.log, &storage.models, projectors, limit, &bars).await?;
    drop(bars);
    arguments.projections.written.write(out, &verification, text::verification)?;
    Ok(if verification.equal { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

async fn show(arguments: &ShowArguments, storage: &Storage, out: &mut (dyn Write + Send)) -> Result<ExitCode, Failure> {
    let Some((sort, id)) = arguments.aggregate.split_once('/') else {
        return Err(Failure::Usage(format!("{} is not <aggregate_type>/<id>", arguments.aggregate)));
    };
    let history = replay::show::show(storage.log.as_ref(), sort, id, arguments.at).await?;
    let missing = || match arguments.at {
        Some(moment) => format!("there was no {} at {moment}", arguments.aggregate),
        None => format!("there is no {}", arguments.aggregate),
    };
    let history = history.ok_or_else(|| Failure::Usage(missing()))?;
    arguments.written.write(out, &history, text::history)
}

async fn audit(written: As, config: &Config, out: &mut (dyn Write + Send)) -> Result<ExitCode, Failure> {
    let storage = Storage::history(config).await?;
    let bars = Bars::default();
    let audit = replay::audit::audit(&storage.log, &storage.models, &bars).await?;
    drop(bars);
    written.write(out, &audit, text::audit)?;
    Ok(if audit.sound { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

async fn export(
    arguments: ExportArguments,
    config: &Config,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, Failure> {
    let ExportArguments { format, from, to, event_type, full, out: file, written } = arguments;
    let format = match format {
        FormatName::Ndjson => Format::Ndjson,
        FormatName::Csv => Format::Csv,
    };
    let wanted = Wanted { format, from, to, event_type, full };
    let storage = Storage::history(config).await?;
    let Some(file) = file else {
        replay::export::export(&storage.log, &wanted, &mut BufWriter::new(out), &Bars::default()).await?;
        return Ok(ExitCode::SUCCESS);
    };
    let exported = export_to(&file, &wanted, &storage).await?;
    written.write(out, &exported, |exported, out| text::exported(exported, &file, out))
}

/// Only the owner may read the file: it may hold secrets, and holds names and addresses in any case.
async fn export_to(file: &Path, wanted: &Wanted, storage: &Storage) -> Result<Exported, Failure> {
    let cannot = |error| Failure::Usage(format!("{} cannot be written: {error}", file.display()));
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(file).map_err(cannot)?;
    let mut output = BufWriter::new(opened);
    let exported = replay::export::export(&storage.log, wanted, &mut output, &Bars::default()).await?;
    output.get_ref().sync_all()?;
    Ok(exported)
}

async fn import(
    ImportArguments { file, written }: &ImportArguments,
    config: &Config,
    out: &mut (dyn Write + Send),
) -> Result<ExitCode, Failure> {
    let cannot = |error| Failure::Usage(format!("{} cannot be read: {error}", file.display()));
    let opened = File::open(file).map_err(cannot)?;
    let about = opened.metadata().map_err(cannot)?;
    if about.is_dir() {
        return Err(Failure::Usage(format!("{} is a directory, not a file of `export --full`", file.display())));
    }
    let restore = Storage::restore(config).await?;
    let bars = Bars::default();
    let imported = replay::import::import(restore, BufReader::new(opened), about.len(), &bars).await?;
    // Whatever read models there are, they are not of this log.
    let storage = Storage::history(config).await?;
    replay::rebuild::rebuild(&storage.log, &storage.models, projections_named(None)?, &bars).await?;
    drop(bars);
    written.write(out, &imported, text::imported)
}

impl As {
    /// Why there is no report: a sentence, or JSON where that was asked for.
    pub fn complaint(self, sentence: &str) -> String {
        if self.json {
            serde_json::json!({ "error": sentence }).to_string()
        } else {
            format!("corelog: {}", text::visible(sentence))
        }
    }

    fn write<T: Serialize + ?Sized>(
        self,
        out: &mut (dyn Write + Send),
        report: &T,
        text: impl FnOnce(&T, &mut (dyn Write + Send)) -> std::io::Result<()>,
    ) -> Result<ExitCode, Failure> {
        if self.json {
            serde_json::to_writer_pretty(&mut *out, report).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            text(report, out)?;
        }
        out.flush()?;
        Ok(ExitCode::SUCCESS)
    }
}
