//! The container engine of this machine, and which containers there are ours.
//!
//! Each container names its server and the agent that started it. The server's next agent takes away what an earlier one
//! left, so an agent that is killed leaves nothing running for ever; its watchman sees to that at once.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions};
use bollard::{API_DEFAULT_VERSION, Docker};
use clap::Args;
use rust_decimal::Decimal;
use uuid::Uuid;

/// Names the server that a container works for.
pub(super) const SERVER: &str = "corelog.server";
/// Names the agent that started it; another one after each start of the program.
pub(super) const AGENT: &str = "corelog.agent";
pub(super) const TASK: &str = "corelog.task";

/// Large images take their time to become a container.
const ANSWER_SECONDS_MAX: u64 = 120;
/// `nobody` and `nogroup` of Debian: names of their own are not needed.
const NOBODY: Owner = Owner { user: 65_534, group: 65_534 };
/// Containers that are being removed are looked at again.
const CLEARINGS_MAX: u32 = 50;
const CLEAR_AGAIN: Duration = Duration::from_millis(200);

/// Whether and how tasks run in containers.
#[derive(Debug, Clone, Args)]
pub(super) struct ContainerArguments {
    /// Run each task in a fresh container of this image, instead of a process. It must be on this machine already.
    #[arg(long = "docker", value_name = "IMAGE")]
    pub(super) image: Option<String>,
    /// A further image, which tasks may name in `config.image`.
    #[arg(long = "docker-allow", value_name = "IMAGE", requires = "image")]
    pub(super) allowed_images: Vec<String>,
    /// Where the container engine of this machine listens.
    #[arg(long = "docker-socket", value_name = "PATH", default_value = "/var/run/docker.sock")]
    pub(super) socket: PathBuf,
    /// The network that tasks may use.
    #[arg(long = "docker-network", value_name = "NETWORK", default_value = "none")]
    pub(super) network: String,
    /// Most processors that one task may use, such as 1.5; all of them when there is no limit.
    #[arg(long = "docker-cpus", value_name = "NUMBER")]
    pub(super) cpus: Option<Decimal>,
    /// Most processes and threads of one task.
    #[arg(long = "docker-pids", value_name = "NUMBER", default_value_t = 1_024)]
    pub(super) pids: u32,
    /// As whom tasks run in their containers: the user of the agent when nothing is said, and nobody for root. Only root can
    /// name others; where the engine itself belongs to the agent's user, 0:0 is that user.
    #[arg(long = "docker-user", value_name = "UID:GID", value_parser = owner_of)]
    pub(super) user: Option<Owner>,
}

/// A user and a group by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: u32,
    pub(super) group: u32,
}

fn owner_of(text: &str) -> Result<Owner, String> {
    let numbers = text.split_once(':').and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    numbers.map(|(user, group)| Owner { user, group }).ok_or_else(|| "is not UID:GID".to_owned())
}

/// Why the engine does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("the container engine at {socket} does not answer: {why}")]
    Unreachable { socket: PathBuf, why: String },
    #[error("--docker-cpus {wanted} is not between 0.01 and the {there} processors of this machine")]
    Processors { wanted: Decimal, there: i64 },
    #[error("the container engine does not answer: {0}")]
    Silent(String),
    #[error("the container engine refuses: {0}")]
    Refused(String),
    #[error("there are still containers that were to be removed")]
    NotCleared,
}

impl From<Error> for EngineError {
    fn from(error: Error) -> Self {
        let refused = matches!(error, Error::DockerResponseServerError { .. });
        if refused { Self::Refused(sentence(&error)) } else { Self::Silent(sentence(&error)) }
    }
}

/// The engine, with what containers of this agent may do.
pub(super) struct Engine {
    pub(super) docker: Docker,
    pub(super) image: String,
    pub(super) arguments: ContainerArguments,
    /// As whom tasks run.
    pub(super) owner: Owner,
    /// Whether the agent may give files away.
    pub(super) is_root: bool,
    pub(super) agent: Uuid,
}

impl Engine {
    /// The engine that `arguments` name; none when tasks run as processes.
    pub(super) async fn open(arguments: &ContainerArguments, agent: Uuid) -> Result<Option<Self>, EngineError> {
        let Some(image) = arguments.image.clone() else { return Ok(None) };
        let docker = connect(&arguments.socket).await?;
        let there = docker.info().await?.ncpu.unwrap_or(i64::MAX);
        let wanted = arguments.cpus.filter(|cpus| *cpus < Decimal::new(1, 2) || *cpus > Decimal::from(there));
        if let Some(wanted) = wanted {
            return Err(EngineError::Processors { wanted, there });
        }
        let own = own_numbers();
        let is_root = own.user == 0;
        let owner = arguments.user.unwrap_or(if is_root { NOBODY } else { own });
        Ok(Some(Self { docker, image, arguments: arguments.clone(), owner, is_root, agent }))
    }

    /// Removes every container of the server: what runs under an earlier session has been given to somebody else.
    pub(super) async fn clear(&self, server: Uuid) -> Result<(), EngineError> {
        remove_all(&self.docker, &format!("{SERVER}={server}")).await
    }

    /// Whether tasks can be started now.
    pub(super) async fn is_there(&self) -> Result<(), EngineError> {
        self.docker.ping().await?;
        Ok(())
    }
}

/// Whoever runs this program.
fn own_numbers() -> Owner {
    // Where nothing is known, the least is assumed.
    fs::metadata("/proc/self").map_or(NOBODY, |own| Owner { user: own.uid(), group: own.gid() })
}

/// Speaks to the engine, in the newest version that both understand.
pub(super) async fn connect(socket: &Path) -> Result<Docker, EngineError> {
    let unreachable = |error: Error| EngineError::Unreachable { socket: socket.to_owned(), why: sentence(&error) };
    let docker = Docker::connect_with_unix(&socket.to_string_lossy(), ANSWER_SECONDS_MAX, API_DEFAULT_VERSION);
    docker.map_err(unreachable)?.negotiate_version().await.map_err(unreachable)
}

/// What the engine says itself, or what keeps it from saying anything.
pub(super) fn sentence(error: &Error) -> String {
    if let Error::DockerResponseServerError { message, .. } = error {
        return message.clone();
    }
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// Removes every container with this label, and waits until they are gone.
pub(super) async fn remove_all(docker: &Docker, label: &str) -> Result<(), EngineError> {
    let filters = Some(HashMap::from([("label".to_owned(), vec![label.to_owned()])]));
    let every = ListContainersOptions { all: true, filters, ..Default::default() };
    for _ in 0..CLEARINGS_MAX {
        let found = docker.list_containers(Some(every.clone())).await?;
        if found.is_empty() {
            return Ok(());
        }
        for id in found.into_iter().filter_map(|container| container.id) {
            remove(docker, &id).await?;
        }
        tokio::time::sleep(CLEAR_AGAIN).await;
    }
    Err(EngineError::NotCleared)
}

/// Ends a container and removes it, with the volumes that were made for it.
pub(super) async fn remove(docker: &Docker, id: &str) -> Result<(), EngineError> {
    let at_once = RemoveContainerOptions { force: true, v: true, ..Default::default() };
    match docker.remove_container(id, Some(at_once)).await {
        // Gone, or going.
        Err(Error::DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
        other => Ok(other?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_two_numbers() {
        assert_eq!(owner_of("1000:100"), Ok(Owner { user: 1_000, group: 100 }));
        for wrong in ["", "1000", "me:us", "1000:", ":1", "-1:1", "1:1:1"] {
            assert!(owner_of(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_named() {
        let error = connect(Path::new("/no/such.sock")).await.unwrap_err().to_string();
        assert!(error.starts_with("the container engine at /no/such.sock does not answer: "), "{error}");
    }
}
