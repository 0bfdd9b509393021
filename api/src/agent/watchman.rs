//! Who ends the containers of an agent that is killed.
//!
//! The engine does not notice when an agent dies. So the agent starts this program a second time; that process waits on a
//! pipe which the agent holds, and removes the agent's containers when the agent lets go of it, or dies.

use std::io::{self, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use uuid::Uuid;

use super::engine::{AGENT, EngineError, connect, remove_all};

/// How long an engine that does not answer is tried, in seconds.
const TRIES: u32 = 60;
const TRY_AGAIN: Duration = Duration::from_secs(1);
const GOODBYE_MAX: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How the watchman is started: by the agent only.
#[derive(Debug, Clone, Args)]
pub struct WatchmanArguments {
    /// Where the container engine listens.
    #[arg(long)]
    socket: PathBuf,
    /// Whose containers are to end.
    #[arg(long)]
    agent: Uuid,
}

/// Waits until the agent is gone, then removes its containers.
///
/// # Errors
/// A sentence, when the engine does not do that.
pub async fn watch(arguments: WatchmanArguments) -> Result<(), String> {
    // Whoever ends everything that belongs to the agent must not end its watchman first.
    let deaf = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    // A pipe that cannot be read is as good as one that nobody holds.
    let _ = tokio::task::spawn_blocking(|| io::stdin().read(&mut [0])).await;
    let mut last = clear(&arguments).await;
    for _ in 1..TRIES {
        if last.is_ok() {
            break;
        }
        tokio::time::sleep(TRY_AGAIN).await;
        last = clear(&arguments).await;
    }
    drop(deaf);
    last.map_err(|error| format!("containers of an agent that is gone may go on: {error}"))
}

async fn clear(arguments: &WatchmanArguments) -> Result<(), EngineError> {
    let docker = connect(&arguments.socket).await?;
    remove_all(&docker, &format!("{AGENT}={}", arguments.agent)).await
}

/// The watchman, as the agent sees him.
pub(super) struct Watchman(Child);

impl Watchman {
    /// Starts him, in a process group of his own: a key pressed at the agent's terminal does not reach him.
    pub(super) fn post(socket: &Path, agent: Uuid) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("watch-containers").arg("--socket").arg(socket).arg("--agent").arg(agent.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0).spawn().map(Self)
    }

    /// Lets him go, and waits for him as long as the engine answers.
    pub(super) async fn dismiss(mut self) {
        drop(self.0.stdin.take());
        let since = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && since.elapsed() < GOODBYE_MAX {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
