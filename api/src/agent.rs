//! `corelog agent`: runs the tasks that a server gives it, on the machine where it is started.
//!
//! It begins a session, tells by heartbeats that it lives, leases tasks as long as it has room, and runs each as a child
//! process of its own, or in a container. When the server gives the session up for lost, everything that runs is ended and
//! a new session begins: what ran has been given to somebody else. When the token is good no more, or another agent uses
//! it, everything that runs is ended, and the agent as well: it could only be refused, or push the other one out.

mod backlog;
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
use domain::compute::capabilities::Capabilities;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::client::{Client, ClientError, Loss};
use self::engine::{ContainerArguments, Engine};
use self::measure::Meter;
use self::session::Session;
use self::watchman::Watchman;
pub use self::watchman::{WatchmanArguments, watch};

const PAUSE_AFTER_FAULT: Duration = Duration::from_secs(1);

/// How an agent is started.
#[derive(Debug, Clone, Args)]
pub struct AgentArguments {
    /// The server, such as `http://127.0.0.1:8000`. Named several times, of several servers the one that is reached and leads.
    #[arg(long = "server", value_name = "SERVER", required = true)]
    servers: Vec<String>,
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
    /// What it takes of the line.
    capabilities: Capabilities,
    /// What runs tasks that name no command, by their type.
    programs: Vec<(String, String)>,
    tasks: Option<u32>,
    /// What runs tasks in containers; none when they run as processes.
    engine: Option<Engine>,
}

impl Workshop {
    /// What it tells the server that it can run.
    fn runs(&self) -> Value {
        let Capabilities { programs, task_types, images } = &self.capabilities;
        json!({ "programs": programs, "task_types": task_types, "images": images })
    }
}

/// What an agent that is started so can run.
fn capabilities(arguments: &AgentArguments) -> Capabilities {
    let ContainerArguments { image, allowed_images, .. } = &arguments.containers;
    Capabilities {
        programs: (!arguments.allowed.is_empty()).then(|| arguments.allowed.clone()),
        task_types: arguments.programs.iter().map(|(task_type, _)| task_type.clone()).collect(),
        images: image.iter().chain(allowed_images).cloned().collect(),
    }
}

/// Serves until `stop`, or until it cannot go on.
///
/// # Errors
/// A sentence that says why it cannot serve.
pub async fn run(arguments: AgentArguments, stop: watch::Receiver<bool>) -> Result<(), String> {
    let client = Arc::new(Client::new(&arguments.servers, token(&arguments)?)?);
    let directory = job::prepare(&arguments.work_dir)
        .map_err(|error| format!("--work-dir {} cannot be used: {error}", arguments.work_dir.display()))?;
    let capabilities = capabilities(&arguments);
    let AgentArguments { programs, tasks, containers, .. } = arguments;
    let engine = Engine::open(&containers, Clock::system().new_id()).await.map_err(|error| error.to_string())?;
    let watchman = engine.as_ref().map(|engine| Watchman::post(&engine.arguments.socket, engine.agent)).transpose();
    let watchman = watchman.map_err(|error| format!("no watchman can be set over containers: {error}"))?;
    let workshop = Arc::new(Workshop { directory: directory.clone(), capabilities, programs, tasks, engine });
    let served = serve(&client, &workshop, stop).await;
    if let Some(watchman) = watchman {
        watchman.dismiss().await;
    }
    // Left behind, it is cleared at the next start.
    let _ = std::fs::remove_dir_all(directory);
    served
}

/// One session after the other.
async fn serve(client: &Arc<Client>, workshop: &Arc<Workshop>, mut stop: watch::Receiver<bool>) -> Result<(), String> {
    let meter = Arc::new(Meter::new());
    while !*stop.borrow() {
        match client.register(&meter.read().equipment()).await {
            Ok(begun) => {
                say(&format!("corelog agent: {} is online, session {}", begun.name, begun.session));
                let lost = Session::new(client, workshop, &meter, begun).serve(&mut stop).await;
                if let Some(sentence) = lost.and_then(why_not_again) {
                    return Err(sentence.to_owned());
                }
            }
            Err(ClientError::Refused { status: 401, .. }) => {
                return Err("the server does not know this token (any more)".to_owned());
            }
            Err(error) => tracing::warn!(%error, "the server is not reached"),
        }
        tokio::select! { _ = stop.wait_for(|stop| *stop) => {}, () = tokio::time::sleep(PAUSE_AFTER_FAULT) => {} }
    }
    Ok(())
}

/// Why no new session is begun after this loss, if none is.
fn why_not_again(loss: Loss) -> Option<&'static str> {
    match loss {
        Loss::Session => None,
        Loss::Place => Some(
            "another agent signed in with this token; what ran here was ended. Each machine needs a registration, and \
             with it a token, of its own",
        ),
        Loss::Token => Some(
            "the server does not accept this token any more: it was renewed, or the server was removed; what ran here \
             was ended",
        ),
    }
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
