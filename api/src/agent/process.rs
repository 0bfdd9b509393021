//! A task as a child process: a process group of its own, limits, and an end that is certain.
//!
//! The process is started by a shell that sets the limits and leaves a watchman behind, which waits on a pipe that the
//! agent holds. When the agent lets go of the pipe, or dies, the watchman ends the whole group. A program that leaves its
//! group escapes that: for programs that are not trusted, a container is the place, or a machine of their own.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use super::job::{End, Job, OPEN_FILES_MAX, Order};
use super::output::Output;

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The only variables that a job sees besides its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Sets the limits given as `$1` (open files) and `$2` (memory in KB, or `unlimited`), leaves the watchman, and becomes the
/// job.
const LAUNCH: &str = r#"
ulimit -c 0; ulimit -n "$1"; ulimit -v "$2"; shift 2
exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// A process that runs.
pub(super) struct Process {
    child: Child,
    /// While it is held, the watchman waits.
    lifeline: Option<ChildStdin>,
}

impl Process {
    pub(super) fn start(order: &Order<'_>, output: &Output) -> Result<Self, String> {
        let mut child = spawn(order).map_err(|error| format!("{} cannot be started: {error}", order.program()))?;
        if let Some(stdout) = child.stdout.take() {
            let ear = output.ear();
            thread::spawn(move || ear.hear_all(stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            let ear = output.error_ear();
            thread::spawn(move || ear.hear_all(stderr));
        }
        Ok(Self { lifeline: child.stdin.take(), child })
    }
}

fn spawn(order: &Order<'_>) -> io::Result<Child> {
    let memory = order.memory_bytes().map_or_else(|| "unlimited".to_owned(), |bytes| (bytes / 1_024).to_string());
    let gpus: Vec<String> = order.assignment.gpus.iter().map(ToString::to_string).collect();
    Command::new("/bin/sh")
        .args(["-c", LAUNCH, "job"])
        .args([OPEN_FILES_MAX.to_string(), memory])
        .args(order.words)
        .env_clear()
        .env("PATH", PATH)
        .env("CUDA_VISIBLE_DEVICES", gpus.join(","))
        .envs(order.variables(order.directory))
        .current_dir(order.directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

impl Job for Process {
    async fn wait(&mut self) -> Result<End, String> {
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(End { succeeded: status.success(), how: how(status) }),
                Ok(None) => tokio::time::sleep(LOOK_EVERY).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Ends whatever the child has left in its group, and with it the last who could still write.
    async fn end(&mut self) {
        drop(self.lifeline.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    async fn clear(self) {}
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
