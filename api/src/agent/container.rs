//! A task in a container: fresh, with limits, on a network only where the agent is told so, and gone when the task is
//! over.

use std::collections::HashMap;
use std::os::unix::fs::chown;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerState, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType,
    ResourcesUlimits,
};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, KillContainerOptions,
    StartContainerOptions, WaitContainerOptions,
};
use futures::StreamExt as _;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive as _;

use super::engine::{AGENT, Engine, SERVER, TASK, remove, sentence};
use super::job::{Assignment, BYTES_PER_GB, End, Job, OPEN_FILES_MAX, Order};
use super::output::{Ear, Output};

/// Where a job finds its directory.
const PLACE: &str = "/task";
/// The rest of what it may write, in memory that counts as its own.
const TEMPORARY: (&str, &str) = ("/tmp", "rw,nosuid,nodev,size=256m,mode=1777");
/// Ready for programs that share large arrays between processes; it counts as the job's memory.
const SHARED_MEMORY_BYTES: i64 = 1 << 30;
const REMOVE_TRIES: u32 = 5;
const REMOVE_AGAIN: Duration = Duration::from_secs(1);

/// A container that runs.
pub(super) struct Container<'a> {
    engine: &'a Engine,
    id: String,
    memory_bytes: Option<u64>,
    is_over: bool,
}

impl<'a> Container<'a> {
    /// Starts a container of the image that the task names, or of the usual one.
    pub(super) async fn start(engine: &'a Engine, order: &Order<'_>, output: &Output) -> Result<Self, String> {
        // Whether it may be named was looked at before.
        let image = order.assignment.work.image.as_deref().unwrap_or(&engine.image);
        if engine.is_root {
            chown(order.directory, Some(engine.owner.user), Some(engine.owner.group))
                .map_err(|error| format!("the task's directory cannot be given to its user: {error}"))?;
        }
        let held = order.assignment.task.held;
        let name = format!("corelog-{}-{}", held.task_id, held.lease);
        let options = CreateContainerOptions { name: Some(name), ..Default::default() };
        let made = engine.docker.create_container(Some(options), body(engine, order, image)).await;
        let id = made.map_err(|error| why_not_made(&error, image))?.id;
        let container = Self { engine, id, memory_bytes: order.memory_bytes(), is_over: false };
        match container.set_off(output).await {
            Ok(()) => Ok(container),
            Err(error) => {
                container.clear().await;
                Err(format!("{} cannot be started: {}", order.program(), sentence(&error)))
            }
        }
    }

    /// Listens first, so that nothing is missed.
    async fn set_off(&self, output: &Output) -> Result<(), Error> {
        let both = AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
        let attached = self.engine.docker.attach_container(&self.id, Some(both)).await?;
        tokio::spawn(listen(attached, output.ear(), output.error_ear()));
        self.engine.docker.start_container(&self.id, None::<StartContainerOptions>).await
    }

    async fn state(&self) -> Result<ContainerState, String> {
        let inspected = self.engine.docker.inspect_container(&self.id, None::<InspectContainerOptions>).await;
        inspected
            .map_err(|error| sentence(&error))?
            .state
            .ok_or_else(|| "the engine does not know its state".to_owned())
    }

    fn how(&self, state: &ContainerState, code: i64) -> String {
        let memory = self.memory_bytes.map(gigabytes);
        match (memory, state.oom_killed == Some(true)) {
            (Some(memory), true) => format!("exit code {code}: it needed more than its {memory} GB of memory"),
            (None, true) => format!("exit code {code}: the machine had no more memory"),
            (_, false) => format!("exit code {code}"),
        }
    }
}

impl Job for Container<'_> {
    async fn wait(&mut self) -> Result<End, String> {
        let docker = &self.engine.docker;
        let mut waiting = pin!(docker.wait_container(&self.id, None::<WaitContainerOptions>));
        while let Some(answer) = waiting.next().await {
            match answer {
                // An exit code other than 0 comes as an error; the state has it as well.
                Ok(_) | Err(Error::DockerContainerWaitError { .. }) => {}
                Err(error) => return Err(sentence(&error)),
            }
        }
        let state = self.state().await?;
        self.is_over = state.running != Some(true);
        match state.exit_code {
            Some(code) if self.is_over => Ok(End { succeeded: code == 0, how: self.how(&state, code) }),
            _ => Err("the engine does not say how it ended".to_owned()),
        }
    }

    async fn end(&mut self) {
        if self.is_over {
            return;
        }
        let at_once = KillContainerOptions { signal: "SIGKILL".to_owned() };
        // What cannot be killed now is removed below, and that is tried again.
        if let Err(error) = self.engine.docker.kill_container(&self.id, Some(at_once)).await {
            tracing::debug!(container = %self.id, error = sentence(&error), "a container is not killed");
        }
    }

    async fn clear(self) {
        for _ in 0..REMOVE_TRIES {
            match remove(&self.engine.docker, &self.id).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(container = %self.id, %error, "a container is not removed"),
            }
            tokio::time::sleep(REMOVE_AGAIN).await;
        }
    }
}

/// Passes on what a container writes, until it has ended.
async fn listen(mut attached: AttachContainerResults, mut ear: Ear, mut error_ear: Ear) {
    while let Some(Ok(written)) = attached.output.next().await {
        match written {
            LogOutput::StdOut { message } | LogOutput::Console { message } => ear.hear(&message),
            LogOutput::StdErr { message } => error_ear.hear(&message),
            LogOutput::StdIn { .. } => {}
        }
    }
}

fn why_not_made(error: &Error, image: &str) -> String {
    if matches!(error, Error::DockerResponseServerError { status_code: 404, .. }) {
        return format!("the image {image} is not on this server");
    }
    format!("no container can be made: {}", sentence(error))
}

fn body(engine: &Engine, order: &Order<'_>, image: &str) -> ContainerCreateBody {
    let Assignment { server, task, gpus, .. } = order.assignment;
    let mut variables: Vec<String> = order
        .variables(Path::new(PLACE))
        .into_iter()
        .map(|(name, value)| format!("{name}={}", value.to_string_lossy()))
        .collect();
    if gpus.is_empty() {
        // Images made for GPUs ask for all of them, where the engine's usual runtime is NVIDIA's.
        variables.push("NVIDIA_VISIBLE_DEVICES=void".to_owned());
    }
    let labels =
        [(SERVER, server.to_string()), (AGENT, engine.agent.to_string()), (TASK, task.held.task_id.to_string())];
    ContainerCreateBody {
        image: Some(image.to_owned()),
        // Whatever the image would start: the task's words are the program and its arguments.
        entrypoint: Some(order.words.to_vec()),
        env: Some(variables),
        working_dir: Some(PLACE.to_owned()),
        user: Some(format!("{}:{}", engine.owner.user, engine.owner.group)),
        labels: Some(labels.map(|(name, value)| (name.to_owned(), value)).into()),
        host_config: Some(limits(engine, order)),
        ..Default::default()
    }
}

/// What a job may do to the machine.
fn limits(engine: &Engine, order: &Order<'_>) -> HostConfig {
    let memory = order.memory_bytes().and_then(|bytes| i64::try_from(bytes).ok());
    let cpus = engine.arguments.cpus.and_then(|cpus| (cpus * Decimal::from(1_000_000_000)).to_i64());
    let at_most = |name: &str, most: u32| {
        let most = Some(i64::from(most));
        ResourcesUlimits { name: Some(name.to_owned()), soft: most, hard: most }
    };
    let directory = Mount {
        typ: Some(MountType::BIND),
        source: Some(order.directory.to_string_lossy().into_owned()),
        target: Some(PLACE.to_owned()),
        ..Default::default()
    };
    HostConfig {
        network_mode: Some(engine.arguments.network.clone()),
        memory,
        // Memory and swap together: no swap.
        memory_swap: memory,
        nano_cpus: cpus,
        pids_limit: Some(i64::from(engine.arguments.pids)),
        ulimits: Some(vec![at_most("core", 0), at_most("nofile", OPEN_FILES_MAX)]),
        shm_size: Some(SHARED_MEMORY_BYTES),
        readonly_rootfs: Some(true),
        mounts: Some(vec![directory]),
        tmpfs: Some(HashMap::from([(TEMPORARY.0.to_owned(), TEMPORARY.1.to_owned())])),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        device_requests: gpus(&order.assignment.gpus).map(|request| vec![request]),
        // We listen ourselves; the engine would write everything to the disk as well, without an end.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..Default::default()
    }
}

/// Asks for the GPUs that the job was given, by their numbers.
fn gpus(given: &[usize]) -> Option<DeviceRequest> {
    (!given.is_empty()).then(|| DeviceRequest {
        device_ids: Some(given.iter().map(ToString::to_string).collect()),
        capabilities: Some(vec![vec!["gpu".to_owned()]]),
        ..Default::default()
    })
}

fn gigabytes(bytes: u64) -> Decimal {
    (Decimal::from(bytes) / Decimal::from(BYTES_PER_GB)).round_dp(3).normalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_sees_the_gpus_that_it_was_given_and_no_others() {
        assert_eq!(gpus(&[]), None);
        let request = gpus(&[1, 3]).unwrap();
        assert_eq!((request.count, request.device_ids), (None, Some(vec!["1".to_owned(), "3".to_owned()])));
    }

    #[test]
    fn memory_is_told_as_it_was_asked_for() {
        assert_eq!(gigabytes(BYTES_PER_GB * 3 / 2).to_string(), "1.5");
        assert_eq!(gigabytes(BYTES_PER_GB / 50).to_string(), "0.02");
    }
}
