//! `corelog agent`: runs the tasks that a server gives it, on the machine where it is started.
//!
//! It begins a session, tells by heartbeats that it lives, leases tasks as long as it has room, and runs each as a child
//! process of its own, or in a container. When the server gives the session up for lost, everything that runs is ended and a new session
//! begins: what ran has been given to somebody else.

mod client;
mod container;
mod engine;
mod job;
mod measure;
mod output;
mod process;
mod session;
mod watchman;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use commands::Clock;
use tokio::sync::watch;

use self::client::{Client, ClientError};
use self::engine::{ContainerArguments, Engine};
use self::measure::Meter;
use self::session::Session;
use self::watchman::Watchman;
pub use self::watchman::{WatchmanArguments, watch};

const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(1);

/// How an agent is started.
#[derive(Debug, Clone, Args)]
pub struct AgentArguments {
    /// The server, such as `http://127.0.0.1:8000`.
    #[arg(long)]
    server: String,
    /// The token that the registration of this machine showed.
    #[arg(long, required_unless_present = "token_file", conflicts_with = "token_file")]
    token: Option<String>,
    /// A file with the token, which then is not seen among the processes.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// Where jobs have their directories.
    #[arg(long, default_value = "corelog-agent")]
    work_dir: PathBuf,
    /// A program that tasks may name in `config.command`; every program when none is named.
    #[arg(long = "allow", value_name = "PROGRAM")]
    allowed: Vec<String>,
    /// What runs tasks of a type that name no command themselves.
    #[arg(long = "program", value_name = "TYPE=PROGRAM", value_parser = program_of)]
    programs: Vec<(String, String)>,
    /// Most tasks at the same time, if fewer than the server allows.
    #[arg(long)]
    tasks: Option<u32>,
    #[command(flatten)]
    containers: ContainerArguments,
}

fn program_of(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(task_type, program)| !task_type.is_empty() && !program.is_empty());
    parts.map(|(task_type, program)| (task_type.to_owned(), program.to_owned())).ok_or("is not TYPE=PROGRAM".to_owned())
}

/// What an agent may run, and where.
struct Workshop {
    directory: PathBuf,
    allowed: Vec<String>,
    programs: Vec<(String, String)>,
    tasks: Option<u32>,
    /// What runs tasks in containers; none when they run as processes.
    engine: Option<Engine>,
}

/// Serves until `stop`.
///
/// # Errors
/// A sentence that says why it cannot serve.
pub async fn run(arguments: AgentArguments, mut stop: watch::Receiver<bool>) -> Result<(), String> {
    let client = Arc::new(Client::new(&arguments.server, token(&arguments)?)?);
    let directory = job::prepare(&arguments.work_dir)
        .map_err(|error| format!("--work-dir {} cannot be used: {error}", arguments.work_dir.display()))?;
    let AgentArguments { allowed, programs, tasks, containers, .. } = arguments;
    let engine = Engine::open(&containers, Clock::system().new_id()).await.map_err(|error| error.to_string())?;
    let watchman = engine.as_ref().map(|engine| Watchman::post(&engine.arguments.socket, engine.agent)).transpose();
    let watchman = watchman.map_err(|error| format!("no watchman can be set over containers: {error}"))?;
    let workshop = Arc::new(Workshop { directory: directory.clone(), allowed, programs, tasks, engine });
    let meter = Arc::new(Meter::new());
    while !*stop.borrow() {
        match client.register().await {
            Ok(begun) => {
                say(&format!("corelog agent: {} is online, session {}", begun.name, begun.session));
                Session::new(&client, &workshop, &meter, begun).serve(&mut stop).await;
            }
            Err(ClientError::Refused { status: 401, .. }) => {
                return Err("the server does not know this token (any more)".to_owned());
            }
            Err(error) => tracing::warn!(%error, "the server is not reached"),
        }
        tokio::select! { _ = stop.wait_for(|stop| *stop) => {}, () = tokio::time::sleep(PAUSE_AFTER_FAULT) => {} }
    }
    if let Some(watchman) = watchman {
        watchman.dismiss().await;
    }
    // Left behind, it is cleared at the next start.
    let _ = std::fs::remove_dir_all(directory);
    Ok(())
}

fn token(arguments: &AgentArguments) -> Result<String, String> {
    let text = match (&arguments.token, &arguments.token_file) {
        (Some(token), _) => token.clone(),
        (None, Some(file)) => std::fs::read_to_string(file)
            .map_err(|error| format!("--token-file {} cannot be read: {error}", file.display()))?,
        (None, None) => return Err("--token or --token-file is missing".to_owned()),
    };
    Ok(text.trim().to_owned())
}

#[expect(clippy::print_stdout, reason = "the words for whoever started the program")]
fn say(text: &str) {
    println!("{text}");
}
