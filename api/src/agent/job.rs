//! One task as a child process: a process group and a directory of its own, limits, and an end that is certain.
//!
//! The process is started by a shell that sets the limits and leaves a watchman behind, which waits on a pipe that the
//! agent holds. When the agent lets go of the pipe, or dies, the watchman ends the whole group. A program that leaves its
//! group escapes that: for programs that are not trusted, a machine or container of their own is the place.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use domain::compute::task::RESULT_BYTES_MAX;
use domain::compute::task::work::Work;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};

use super::Workshop;
use super::client::{Client, Leased};
use super::output::{self, Output};

const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The only variables that a job sees besides its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Sets the limits given as `$1` (memory in KB, or `unlimited`), leaves the watchman, and becomes the job.
const LAUNCH: &str = r#"
ulimit -c 0; ulimit -n 4096; ulimit -v "$1"; shift
exec 3<&0 </dev/null
{ read -r _ <&3; kill -KILL 0; } >/dev/null 2>&1 &
exec 3<&-
exec "$@"
"#;

/// What became of a job.
pub(super) enum Outcome {
    Completed(Value),
    Failed(String),
    /// The agent ended it: there is nothing to tell.
    Ended,
}

/// A directory for the jobs of this agent. Those that agents left which run no more are cleared away.
pub(super) fn prepare(work_dir: &Path) -> io::Result<PathBuf> {
    private(work_dir)?;
    for entry in fs::read_dir(work_dir)? {
        let entry = entry?;
        let left_by = entry.file_name().to_str().and_then(|name| name.strip_prefix("agent-")?.parse::<u32>().ok());
        if left_by.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    let own = work_dir.canonicalize()?.join(format!("agent-{}", std::process::id()));
    private(&own)?;
    Ok(own)
}

fn private(directory: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Runs a task to its end, or until `ended`.
pub(super) async fn run(
    client: &Client,
    workshop: &Workshop,
    task: &Leased,
    work: &Work,
    gpus: &[usize],
    ended: watch::Receiver<bool>,
) -> Outcome {
    let words = match command(workshop, task, work) {
        Ok(words) => words,
        Err(sentence) => return Outcome::Failed(sentence),
    };
    let directory = workshop.directory.join(format!("{}-{}", task.held.task_id, task.held.lease));
    let outcome = match start(&directory, task, work, gpus, &words) {
        Ok(child) => watch_over(client, task, child, &directory, ended).await,
        Err(error) => Outcome::Failed(format!("{} cannot be started: {error}", words[0])),
    };
    // Left behind, it is cleared at the next start.
    let _ = fs::remove_dir_all(directory);
    outcome
}

/// The words to run: what the task names, if that is allowed, or this machine's program for its type.
fn command(workshop: &Workshop, task: &Leased, work: &Work) -> Result<Vec<String>, String> {
    match &work.command {
        Some(words) => {
            let program = words.first().map_or("", String::as_str);
            if workshop.allowed.is_empty() || workshop.allowed.iter().any(|allowed| allowed == program) {
                Ok(words.clone())
            } else {
                Err(format!("this server does not run {program}"))
            }
        }
        None => {
            let program = workshop.programs.iter().find(|(task_type, _)| *task_type == task.task_type);
            program.map(|(_, program)| vec![program.clone()]).ok_or_else(|| {
                format!("the task names no command, and this server has no program for {} tasks", task.task_type)
            })
        }
    }
}

fn start(directory: &Path, task: &Leased, work: &Work, gpus: &[usize], words: &[String]) -> io::Result<Child> {
    private(directory)?;
    let config = directory.join("config.json");
    fs::write(&config, task.config.to_string())?;
    let memory_kb = (work.memory_gb * Decimal::from(1_024 * 1_024)).to_u64().filter(|kb| *kb > 0);
    let gpus: Vec<String> = gpus.iter().map(ToString::to_string).collect();
    Command::new("/bin/sh")
        .args(["-c", LAUNCH, "job"])
        .arg(memory_kb.map_or_else(|| "unlimited".to_owned(), |kb| kb.to_string()))
        .args(words)
        .env_clear()
        .env("PATH", PATH)
        .env("HOME", directory)
        .env("TMPDIR", directory)
        .env("LANG", "C.UTF-8")
        .env("CUDA_VISIBLE_DEVICES", gpus.join(","))
        .env("CORELOG_TASK_ID", task.held.task_id.to_string())
        .env("CORELOG_TASK_TYPE", &task.task_type)
        .env("CORELOG_TASK_CONFIG", &config)
        .env("CORELOG_TASK_RESULT", directory.join("result.json"))
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Waits for the child, passing on what it says.
async fn watch_over(
    client: &Client,
    task: &Leased,
    mut child: Child,
    directory: &Path,
    ended: watch::Receiver<bool>,
) -> Outcome {
    let lifeline = child.stdin.take();
    let output = Output::read(&mut child);
    let over = Notify::new();
    let waiting = async {
        let time_left = Duration::from_millis(task.time_left_ms);
        let waited = tokio::time::timeout(time_left, wait(&mut child, ended)).await;
        // Ends whatever the child has left in its group, and with it the last who could still write.
        drop(lifeline);
        let _ = child.kill();
        let _ = child.wait();
        over.notify_one();
        waited
    };
    let (waited, ()) = tokio::join!(waiting, output::tell(client, task.held, &output, &over));
    let said = output.rest(client, task.held).await;
    // What ran too long is ended here, and timed out by the server's clock.
    let status = waited.ok().flatten();
    match status {
        None => Outcome::Ended,
        Some(Err(error)) => Outcome::Failed(format!("the job is lost: {error}")),
        Some(Ok(status)) if status.success() => Outcome::Completed(result(directory, &said)),
        Some(Ok(status)) => Outcome::Failed(failure(status, &said)),
    }
}

/// How the child ended by itself; none when it is to be ended.
async fn wait(child: &mut Child, ended: watch::Receiver<bool>) -> Option<io::Result<ExitStatus>> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(Ok(status)),
            Ok(None) if *ended.borrow() => return None,
            Ok(None) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return Some(Err(error)),
        }
    }
}

/// What the job left in `result.json`, or the last it said.
fn result(directory: &Path, said: &str) -> Value {
    let mut text = String::new();
    let left = fs::File::open(directory.join("result.json"))
        .and_then(|file| file.take(RESULT_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    let value = left.ok().and_then(|_| serde_json::from_str::<Value>(&text).ok());
    match value.filter(|value| value.to_string().len() < RESULT_BYTES_MAX - 100) {
        Some(value) if value.is_object() => value,
        Some(value) => json!({ "value": value }),
        None => json!({ "exit_code": 0, "output": said }),
    }
}

fn failure(status: ExitStatus, said: &str) -> String {
    let how = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    if last.is_empty() { how } else { format!("{how}: {}", last.join("\n")) }
}
