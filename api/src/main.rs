//! The binary `corelog`.

use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use api::agent::{self, AgentArguments, WatchmanArguments};
use api::cli::{self, As, HistoryCommand, ImportArguments};
use api::config::{Config, LogFormat};
use api::log_lines::SystemLines;
use api::market;
use api::server::Running;
use api::storage::make_files_whole;
use clap::{Parser, Subcommand};
use commands::Clock;
use domain::trading::candle::{BadSymbol, UnknownTimeframe};
use mimalloc::MiMalloc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What one thread allocated is mostly freed by another here, which the C library's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// A subcommand about history came to no result: 1 would mean that something was found.
const TROUBLE: u8 = 2;
/// How long requests that have begun may take after SIGTERM.
const DRAIN_MAX: Duration = Duration::from_secs(30);

/// How long threads may still take when everything else is over.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// An event-sourced platform: one append-only log, four products' APIs.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Settings; `corelog.toml` in the working directory when it is there.
    #[arg(long, global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the APIs (the default).
    Serve,
    /// Show the settings in force, secrets masked.
    Config,
    /// Run tasks on this machine for a server elsewhere.
    Agent(AgentArguments),
    /// Ends the containers of an agent when it is gone.
    #[command(hide = true)]
    WatchContainers(WatchmanArguments),
    #[command(flatten)]
    History(HistoryCommand),
    /// Bring data in.
    #[command(subcommand)]
    Import(Import),
}

#[derive(Subcommand)]
enum Import {
    /// Candles of one market, from a CSV file with the columns `open_time,open,high,low,close,volume`.
    Candles {
        /// Such as BTC/USDT:USDT.
        #[arg(long)]
        symbol: String,
        /// 1m, 5m, 15m, 1h, 4h or 1d.
        #[arg(long)]
        timeframe: String,
        /// `open_time` is in seconds, milliseconds or microseconds since 1970.
        file: PathBuf,
    },
    /// A whole history, from a full export, into an empty log.
    History(ImportArguments),
}

impl Command {
    /// How it reports, when it is about history.
    fn report(&self) -> Option<As> {
        match self {
            Self::History(command) => Some(command.report()),
            Self::Import(Import::History(arguments)) => Some(arguments.report()),
            Self::Import(Import::Candles { .. })
            | Self::Serve
            | Self::Config
            | Self::Agent(_)
            | Self::WatchContainers(_) => None,
        }
    }

    /// Whether the command had the SQLite files to itself, so that they are made whole when it ends. Other commands may run
    /// beside a server.
    fn owns_files(&self) -> bool {
        matches!(self, Self::Serve | Self::Import(Import::History(_)))
    }
}

fn main() -> ExitCode {
    let Arguments { config, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let command = command.unwrap_or(Command::Serve);
    let report = command.report();
    run(config.as_deref(), command).unwrap_or_else(|sentence| match report {
        Some(report) => {
            complain(&report.complaint(&sentence));
            ExitCode::from(TROUBLE)
        }
        None => {
            complain(&format!("corelog: {sentence}"));
            ExitCode::FAILURE
        }
    })
}

/// Says what is wrong with the arguments, in the form that they ask for themselves. Help and the version are no complaint.
fn refuse(error: &clap::Error) -> ExitCode {
    let report = As::asked_for(std::env::args_os());
    if !error.use_stderr() || !report.is_json() {
        error.exit();
    }
    complain(&report.complaint(&sentence(error)));
    u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// The first paragraph of what clap says: how the subcommand is used comes after it.
fn sentence(error: &clap::Error) -> String {
    let said = error.render().to_string();
    let paragraph = said.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = paragraph.trim_start_matches("error: ").split_whitespace().collect();
    words.join(" ")
}

fn run(settings: Option<&Path>, command: Command) -> Result<ExitCode, String> {
    let config = Config::load(settings).map_err(|error| error.to_string())?;
    let runtime = Runtime::new().map_err(|error| format!("no threads can be started: {error}"))?;
    let owns_files = command.owns_files();
    let code = runtime.block_on(carry_out(command, &config))?;
    // With it goes everybody who could still write; a thread that hangs holds up nobody for ever.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    if owns_files {
        make_files_whole(&config);
    }
    Ok(code)
}

async fn carry_out(command: Command, config: &Config) -> Result<ExitCode, String> {
    match command {
        Command::Serve => serve(config.clone()).await,
        Command::Agent(arguments) => serve_tasks(arguments, config).await,
        Command::WatchContainers(arguments) => {
            agent::watch(arguments).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Config => {
            say(&config.shown().map_err(|error| error.to_string())?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Import(Import::Candles { symbol, timeframe, file }) => {
            let symbol = symbol.parse().map_err(|error: BadSymbol| error.to_string())?;
            let timeframe = timeframe.parse().map_err(|error: UnknownTimeframe| error.to_string())?;
            say(&market::import_candles(config, &symbol, timeframe, &file).await?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Import(Import::History(arguments)) => history(HistoryCommand::Import(arguments), config).await,
        Command::History(command) => history(command, config).await,
    }
}

async fn history(command: HistoryCommand, config: &Config) -> Result<ExitCode, String> {
    write_logs(config, None);
    cli::run(command, config, &mut std::io::stdout()).await
}

async fn serve(config: Config) -> Result<ExitCode, String> {
    let system_lines = SystemLines::default();
    write_logs(&config, Some(system_lines.clone()));
    let listen = config.listen;
    let running = Running::start(config, Clock::system()).await.map_err(|error| error.to_string())?;
    system_lines.connect(running.app().line_queue.clone(), Clock::system());
    let listener = TcpListener::bind(listen).await;
    let listener =
        listener.map_err(|error| format!("the setting listen (CORELOG_LISTEN) {listen} cannot be used: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    // Before anybody is told that it listens: whoever hears that may end it.
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tracing::info!(%address, "listening");
    say(&format!("corelog listens on http://{address}"))?;
    if let Some(owner) = running.first_owner() {
        let password = owner.password.as_deref().unwrap_or("(the setting admin_password)");
        say(&format!("sign in as {}, password: {password}\nThis is shown once.", owner.email))?;
    }
    let (stopping, mut stopped) = tokio::sync::watch::channel(false);
    let stop = async move {
        tokio::select! { _ = terminate.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
        tracing::info!("draining");
        stopping.send_replace(true);
    };
    let drained = async {
        let _ = stopped.wait_for(|stopping| *stopping).await;
        tokio::time::sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        served = running.serve(listener, stop) => served.map_err(|error| error.to_string())?,
        () = drained => tracing::warn!("requests were cut off after {} seconds", DRAIN_MAX.as_secs()),
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve_tasks(arguments: AgentArguments, config: &Config) -> Result<ExitCode, String> {
    write_logs(config, None);
    let (stopping, stopped) = tokio::sync::watch::channel(false);
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = tokio::signal::ctrl_c() => {} }
        stopping.send_replace(true);
    });
    agent::run(arguments, stopped).await?;
    Ok(ExitCode::SUCCESS)
}

/// Log lines go to standard error, and those of a server to their table as well.
fn write_logs(config: &Config, system_lines: Option<SystemLines>) {
    // Notices of PostgreSQL are no news, unless somebody asks for them: tables that are there already, for the most part.
    let directives = format!("sqlx::postgres::notice=warn,{}", config.log);
    let filter = EnvFilter::try_new(directives).unwrap_or_default();
    let logs = tracing_subscriber::registry().with(filter).with(system_lines);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = lines.with_ansi(std::io::stderr().is_terminal());
    match config.log_format {
        LogFormat::Text => logs.with(lines).init(),
        LogFormat::Json => logs.with(lines.json()).init(),
    }
}

/// The words for whoever started the program. Who closed the pipe has seen enough.
fn say(text: &str) -> Result<(), String> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("the output cannot be written: {error}")),
        _ => Ok(()),
    }
}

#[expect(clippy::print_stderr, reason = "the words for whoever started the program")]
fn complain(words: &str) {
    eprintln!("{words}");
}
