//! One task as a job, wherever it runs: what it is told, how it is watched over, and what becomes of it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::compute::task::RESULT_BYTES_MAX;
use domain::compute::task::work::Work;
use domain::payload::{self, UnfitPayload};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use super::Workshop;
use super::client::{Client, Leased};
use super::container::Container;
use super::output::{self, Output};
use super::process::Process;
use crate::extract::json::LEVELS_MAX;

/// Most files that a job may have open.
pub(super) const OPEN_FILES_MAX: u32 = 4_096;
pub(super) const BYTES_PER_GB: u64 = 1_024 * 1_024 * 1_024;
const CONFIG: &str = "config.json";
const RESULT: &str = "result.json";

/// What became of a job.
pub(super) enum Outcome {
    Completed(Value),
    Failed(String),
    /// The agent ended it: there is nothing to tell.
    Ended,
}

/// A task, and what it is given here.
pub(super) struct Assignment {
    /// The server that this machine is.
    pub(super) server: Uuid,
    pub(super) task: Leased,
    pub(super) work: Work,
    pub(super) gpus: Vec<usize>,
}

/// What is to run, and where.
pub(super) struct Order<'a> {
    pub(super) assignment: &'a Assignment,
    pub(super) words: &'a [String],
    /// Where the job finds its `config`, works, and leaves its result.
    pub(super) directory: &'a Path,
}

/// Something that runs: a process or a container.
pub(super) trait Job {
    /// Waits until it ends by itself. An error says why nobody knows how it ended.
    async fn wait(&mut self) -> Result<End, String>;
    /// Ends it, if it has not ended, and whatever it started.
    async fn end(&mut self);
    /// Takes away what is left of it.
    async fn clear(self);
}

/// How a job ended by itself.
pub(super) struct End {
    pub(super) succeeded: bool,
    pub(super) how: String,
}

impl Order<'_> {
    pub(super) fn program(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// How much memory of the machine the job may use. A task that needs GPUs says what it needs of theirs.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        let work = &self.assignment.work;
        let bytes = (work.memory_gb * Decimal::from(BYTES_PER_GB)).to_u64();
        bytes.filter(|bytes| *bytes > 0 && work.gpu_count == 0)
    }

    /// What the job finds in its environment, where its directory is at `place`.
    pub(super) fn variables(&self, place: &Path) -> [(&'static str, OsString); 7] {
        let task = &self.assignment.task;
        [
            ("HOME", place.into()),
            ("TMPDIR", place.into()),
            ("LANG", "C.UTF-8".into()),
            ("CORELOG_TASK_ID", task.held.task_id.to_string().into()),
            ("CORELOG_TASK_TYPE", task.task_type.clone().into()),
            ("CORELOG_TASK_CONFIG", place.join(CONFIG).into()),
            ("CORELOG_TASK_RESULT", place.join(RESULT).into()),
        ]
    }
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
    assignment: &Assignment,
    ended: watch::Receiver<bool>,
) -> Outcome {
    let task = &assignment.task;
    let words = match command(workshop, assignment) {
        Ok(words) => words,
        Err(sentence) => return Outcome::Failed(sentence),
    };
    let directory = &workshop.directory.join(format!("{}-{}", task.held.task_id, task.held.lease));
    let order = Order { assignment, words: &words, directory };
    let output = Output::new();
    // What starts slowly has no more time than what starts at once.
    let until = Instant::now() + Duration::from_millis(task.time_left_ms);
    let outcome = match (furnish(&order), &workshop.engine) {
        (Err(error), _) => Outcome::Failed(format!("the task has no place to work: {error}")),
        (Ok(()), None) => watch_over(client, &order, Process::start(&order, &output), output, until, ended).await,
        (Ok(()), Some(engine)) => {
            let started = Container::start(engine, &order, &output).await;
            watch_over(client, &order, started, output, until, ended).await
        }
    };
    // Left behind, it is cleared at the next start.
    let _ = fs::remove_dir_all(directory);
    outcome
}

/// Makes the directory of a job.
fn furnish(order: &Order<'_>) -> io::Result<()> {
    private(order.directory)?;
    fs::write(order.directory.join(CONFIG), order.assignment.task.config.to_string())
}

/// The words to run: what the task names, if that is allowed, or this machine's program for its type. The server gives no
/// other tasks; but what may run here is for the machine to say.
fn command(workshop: &Workshop, assignment: &Assignment) -> Result<Vec<String>, String> {
    let (task_type, work) = (&assignment.task.task_type, &assignment.work);
    workshop.capabilities.check(task_type, work).map_err(|unfit| unfit.to_string())?;
    let own = || workshop.programs.iter().find(|(of, _)| of == task_type).map(|(_, program)| vec![program.clone()]);
    Ok(work.command.clone().or_else(own).unwrap_or_default())
}

/// Waits for the job, passing on what it says.
async fn watch_over<J: Job>(
    client: &Client,
    order: &Order<'_>,
    started: Result<J, String>,
    mut output: Output,
    until: Instant,
    ended: watch::Receiver<bool>,
) -> Outcome {
    let (mut job, held) = match started {
        Ok(job) => (job, order.assignment.task.held),
        Err(sentence) => return Outcome::Failed(sentence),
    };
    let over = Notify::new();
    let waiting = async {
        // What runs too long is ended here, and timed out by the server's clock.
        let mut ended = ended.clone();
        let end = tokio::select! {
            biased;
            end = job.wait() => Some(end),
            _ = ended.wait_for(|ended| *ended) => None,
            () = tokio::time::sleep_until(until) => None,
        };
        job.end().await;
        over.notify_one();
        end
    };
    let (end, ()) = tokio::join!(waiting, output::tell(client, held, &output, &over));
    output.hear_rest().await;
    let left = left(&order.directory.join(RESULT));
    let is_done = matches!(&end, Some(Ok(end)) if end.succeeded);
    if let (true, Err(why)) = (is_done, &left) {
        output.note(format!("{RESULT} is not used: {why}"));
    }
    job.clear().await;
    let said = output.rest(client, held, ended).await;
    match end {
        None => Outcome::Ended,
        Some(Err(error)) => Outcome::Failed(format!("the job is lost: {error}")),
        Some(Ok(end)) if end.succeeded => Outcome::Completed(result(left.ok().flatten(), &said)),
        Some(Ok(end)) => Outcome::Failed(failure(end.how, &said)),
    }
}

/// What the job left as its result, or the last it said.
fn result(left: Option<Value>, said: &str) -> Value {
    match left {
        Some(value) if value.is_object() => value,
        Some(value) => json!({ "value": value }),
        None => json!({ "exit_code": 0, "output": said }),
    }
}

/// Why a result cannot be used.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("it is no file")]
    NoFile,
    #[error("it is larger than 256 KB")]
    TooLarge,
    #[error("it is no JSON: {0}")]
    NoJson(serde_json::Error),
    #[error("it holds what the server does not take: {0}")]
    Unfit(#[from] UnfitPayload),
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// What a file says that a job left; nothing when it left none. Not where a link leads: a job in a container may not read
/// through us what it cannot reach itself.
fn left(path: &Path) -> Result<Option<Value>, Unusable> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => {}
        Ok(_) => return Err(Unusable::NoFile),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut text = Vec::new();
    fs::File::open(path)?.take(RESULT_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    if text.len() > RESULT_BYTES_MAX {
        return Err(Unusable::TooLarge);
    }
    // Up to two levels come around it on its way.
    payload::check(&text, LEVELS_MAX - 2)?;
    let value: Value = serde_json::from_slice(&text).map_err(Unusable::NoJson)?;
    // Written by us it may be longer, and the server adds to it.
    if value.to_string().len() < RESULT_BYTES_MAX - 100 { Ok(Some(value)) } else { Err(Unusable::TooLarge) }
}

fn failure(how: String, said: &str) -> String {
    let last: Vec<&str> = said.lines().rev().take(5).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    if last.is_empty() { how } else { format!("{how}: {}", last.join("\n")) }
}

#[cfg(test)]
mod tests {
    use domain::compute::capabilities::Capabilities;
    use tempfile::TempDir;

    use super::super::client::Held;
    use super::*;

    fn assignment(config: Value) -> Assignment {
        let work = Work::of(&config).unwrap();
        let held = Held { task_id: Uuid::nil(), lease: 1 };
        let task = Leased { held, task_type: "test".to_owned(), config, time_left_ms: 1 };
        Assignment { server: Uuid::nil(), task, work, gpus: Vec::new() }
    }

    fn memory(config: Value) -> Option<u64> {
        Order { assignment: &assignment(config), words: &[], directory: Path::new("/") }.memory_bytes()
    }

    #[test]
    fn what_the_server_gives_is_looked_at_again() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let capabilities =
            Capabilities { programs: Some(words(&["sh"])), task_types: words(&["test"]), images: Vec::new() };
        let programs = vec![("test".to_owned(), "/bin/own".to_owned())];
        let workshop = Workshop { directory: PathBuf::new(), capabilities, programs, tasks: None, engine: None };
        let command = |config| command(&workshop, &assignment(config));
        assert_eq!(command(json!({ "command": ["sh", "-c", "true"] })), Ok(words(&["sh", "-c", "true"])));
        assert_eq!(command(json!({})), Ok(words(&["/bin/own"])));
        assert_eq!(command(json!({ "command": ["cat"] })), Err("this server does not run cat".to_owned()));
        let image = json!({ "image": "cuda", "command": ["sh"] });
        assert_eq!(command(image), Err("this server does not run the image cuda".to_owned()));
    }

    #[test]
    fn a_result_that_the_server_would_refuse_is_not_sent() {
        let (directory, nested) = (TempDir::new().unwrap(), |levels| "[".repeat(levels) + &"]".repeat(levels));
        let path = directory.path().join(RESULT);
        fs::write(&path, nested(LEVELS_MAX - 2)).unwrap();
        assert!(left(&path).unwrap().is_some());
        for unfit in [nested(LEVELS_MAX - 1), r#"{"a":"\u0000"}"#.to_owned()] {
            fs::write(&path, unfit).unwrap();
            assert!(matches!(left(&path), Err(Unusable::Unfit(_))));
        }
    }

    #[test]
    fn memory_is_limited_when_it_is_the_machines() {
        assert_eq!(memory(json!({ "memory_gb": 1.5 })), Some(BYTES_PER_GB * 3 / 2));
        assert_eq!(memory(json!({})), None);
        assert_eq!(memory(json!({ "memory_gb": 16, "gpu_count": 1 })), None, "that is memory of the GPU");
    }
}
