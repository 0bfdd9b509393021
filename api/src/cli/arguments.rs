//! What the subcommands about history are told on the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use replay::Moment;

use super::report::As;

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

/// Which read models.
#[derive(Debug, Args)]
pub struct Projections {
    /// This one only.
    #[arg(long)]
    pub(super) projection: Option<String>,
    #[command(flatten)]
    pub(super) written: As,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    #[command(flatten)]
    pub(super) projections: Projections,
    /// Most rows reported per read model.
    #[arg(long, default_value_t = ROWS)]
    pub(super) limit: u64,
}

#[derive(Debug, Args)]
pub struct ShowArguments {
    /// The sort and the id of the aggregate: `<aggregate_type>/<id>`.
    pub(super) aggregate: String,
    /// A position, or a time like 2026-01-31T12:00:00Z; now when missing.
    #[arg(long)]
    pub(super) at: Option<Moment>,
    #[command(flatten)]
    pub(super) written: As,
}

#[derive(Debug, Args)]
pub struct ListArguments {
    /// The read model.
    pub(super) projection: String,
    /// A position, or a time like 2026-01-31T12:00:00Z; now when missing.
    #[arg(long)]
    pub(super) at: Option<Moment>,
    /// Most rows shown.
    #[arg(long, default_value_t = ROWS)]
    pub(super) limit: u64,
    #[command(flatten)]
    pub(super) written: As,
}

#[derive(Debug, Args)]
pub struct DiffArguments {
    /// The moment to compare from: a position or a time.
    #[arg(long)]
    pub(super) from: Moment,
    /// The moment to compare with, as a rule a later one.
    #[arg(long)]
    pub(super) to: Moment,
    #[command(flatten)]
    pub(super) projections: Projections,
    /// Most rows shown per read model.
    #[arg(long, default_value_t = ROWS)]
    pub(super) limit: u64,
}

#[derive(Debug, Args)]
pub struct ExportArguments {
    #[arg(long, value_enum, default_value_t = FormatName::Ndjson)]
    pub(super) format: FormatName,
    /// From this position or time on.
    #[arg(long)]
    pub(super) from: Option<Moment>,
    /// Up to this position or time.
    #[arg(long)]
    pub(super) to: Option<Moment>,
    /// Events of this name, or of names that begin with it up to a dot.
    #[arg(long = "type")]
    pub(super) event_type: Option<String>,
    /// With secrets (hashes of passwords and the like), kept commands, positions of readers and an end record: what
    /// `import` needs.
    #[arg(long)]
    pub(super) full: bool,
    /// The file to write; the standard output when missing.
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) written: As,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FormatName {
    Ndjson,
    Csv,
}

#[derive(Debug, Args)]
pub struct ImportArguments {
    /// The file that `export --full` wrote.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) written: As,
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
