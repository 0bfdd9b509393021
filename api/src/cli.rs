//! The subcommands about history: `replay …`, `export`, `import`, `audit`. The work is done in the crate `replay`; here
//! it is asked for and told about.

mod arguments;
mod bars;
mod report;
mod text;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use replay::export::{Exported, Format, Wanted};
use replay::{ReplayError, projections_named};

use self::arguments::{
    DiffArguments, ExportArguments, FormatName, ListArguments, Projections, ShowArguments, VerifyArguments,
};
pub use self::arguments::{HistoryCommand, ImportArguments, ReplayCommand};
use self::bars::Bars;
pub use self::report::As;
use crate::config::Config;
use crate::storage::Storage;

/// What was found differs, or is not sound.
const FOUND: u8 = 1;

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
    // A file that was there before keeps its mode until it is told otherwise.
    #[cfg(unix)]
    opened.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(cannot)?;
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
