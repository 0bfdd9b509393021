//! What a job says: its progress, its log lines, and the last of it for its result.
//!
//! A line `::progress 45.5` on the standard output is progress in percent; every other line is a log line. Lines are told in
//! order, and told again until the server answers. Their numbers keep it from keeping them twice.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::PAUSE_AFTER_FAULT;
use super::client::{Client, ClientError, Held, LogLine};

const TELL_EVERY: Duration = Duration::from_millis(500);
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// How long the end of a job may wait for its last lines to be heard: its outcome is worth more than they are.
const LAST_LINES_MAX: Duration = Duration::from_secs(30);
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Most lines of one request, and most bytes of them as JSON: the server takes no more than 1 MB.
const LINES_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 512 * 1024;
/// Most lines that wait to be told, and most bytes of them; of more, the oldest are dropped.
const LINES_WAITING_MAX: usize = 10_000;
const BYTES_WAITING_MAX: usize = 4 * 1024 * 1024;
const TAIL_BYTES_MAX: usize = 4 * 1024;
const PROGRESS: &str = "::progress ";
const WARNING: &str = "WARNING";

/// What was said and not told yet.
#[derive(Default)]
struct Said {
    /// Told, but nobody knows whether it was heard. It goes first.
    unheard: Option<Batch>,
    /// How many lines are missing before those that wait.
    dropped: usize,
    lines: VecDeque<LogLine>,
    /// Bytes of the messages that wait.
    bytes: usize,
    /// How many lines were put into batches.
    numbered: u64,
    progress: Option<f64>,
    tail: String,
}

/// Lines that are told together, always the same, so that the server knows by their numbers what it has kept.
struct Batch {
    first: u64,
    lines: Vec<LogLine>,
    /// How many of them the job said itself.
    said: usize,
}

/// What is left after something was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    More,
    /// The server was not reached.
    Unheard,
}

/// Everything that a job says, on both of its streams.
pub(super) struct Output {
    said: Arc<Mutex<Said>>,
    /// Each ear holds a copy, so it is known when the last one is gone. None when there are no more to come.
    listening: Option<mpsc::Sender<Infallible>>,
    heard_all: mpsc::Receiver<Infallible>,
}

/// Hears one stream of a job, and cuts it into lines. What is left when it goes is a line as well.
pub(super) struct Ear {
    said: Arc<Mutex<Said>>,
    level: &'static str,
    line: Vec<u8>,
    _listening: Option<mpsc::Sender<Infallible>>,
}

impl Output {
    pub(super) fn new() -> Self {
        let (listening, heard_all) = mpsc::channel(1);
        Self { said: Arc::default(), listening: Some(listening), heard_all }
    }

    /// For the standard output.
    pub(super) fn ear(&self) -> Ear {
        self.ear_of("INFO")
    }

    /// For the standard error.
    pub(super) fn error_ear(&self) -> Ear {
        self.ear_of("ERROR")
    }

    fn ear_of(&self, level: &'static str) -> Ear {
        Ear { said: Arc::clone(&self.said), level, line: Vec::new(), _listening: self.listening.clone() }
    }

    /// Waits until everything was heard, after the job has ended.
    pub(super) async fn hear_rest(&mut self) {
        self.listening = None;
        // Everybody in the job has ended: the ears come to the end, unless somebody left its group and goes on.
        let _ = tokio::time::timeout(LAST_WORDS_MAX, self.heard_all.recv()).await;
    }

    /// Adds a line of the agent's own to the log of the job.
    pub(super) fn note(&self, message: String) {
        lock(&self.said).push(LogLine { level: WARNING, message });
    }

    /// Tells the rest, until the server has heard it, `ended`, or it takes too long; answers the last that the job said.
    pub(super) async fn rest(self, client: &Client, held: Held, mut ended: watch::Receiver<bool>) -> String {
        let telling = async {
            loop {
                match tell_once(&self.said, client, held).await {
                    Left::Nothing => return,
                    Left::More => {}
                    Left::Unheard => tokio::time::sleep(PAUSE_AFTER_FAULT).await,
                }
            }
        };
        tokio::select! {
            biased;
            () = telling => {}
            _ = ended.wait_for(|ended| *ended) => tracing::warn!(task = %held.task_id, "nobody waits for the last lines"),
            () = tokio::time::sleep(LAST_LINES_MAX) => {
                tracing::warn!(task = %held.task_id, "the last lines of a task are lost");
            }
        }
        std::mem::take(&mut lock(&self.said).tail)
    }
}

/// Tells the server what a job says, until it is over. What is being told then is told to the end: nothing is lost.
pub(super) async fn tell(client: &Client, held: Held, output: &Output, over: &Notify) {
    let mut left = Left::Nothing;
    loop {
        let pause = if left == Left::More { Duration::ZERO } else { TELL_EVERY };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = over.notified() => return,
        }
        left = tell_once(&output.said, client, held).await;
    }
}

/// Tells the server once what was said since the last time, or what it may not have heard then.
async fn tell_once(said: &Mutex<Said>, client: &Client, held: Held) -> Left {
    tell_progress(said, client, held).await;
    let Some(batch) = lock(said).batch() else { return Left::Nothing };
    match client.logs(held, batch.first, &batch.lines).await {
        Ok(()) => lock(said).left(),
        Err(error) if error.is_over() => {
            lock(said).forget();
            Left::Nothing
        }
        Err(error @ ClientError::Unreachable(_)) => {
            tracing::warn!(task = %held.task_id, %error, lines = batch.lines.len(), "log lines are told again");
            lock(said).unheard = Some(batch);
            Left::Unheard
        }
        Err(error @ ClientError::Refused { .. }) => {
            tracing::warn!(task = %held.task_id, %error, lines = batch.lines.len(), "log lines are lost");
            let mut said = lock(said);
            said.dropped += batch.said;
            said.left()
        }
    }
}

async fn tell_progress(said: &Mutex<Said>, client: &Client, held: Held) {
    let Some(progress) = lock(said).progress.take() else { return };
    if let Err(error) = client.progress(held, progress).await {
        tracing::debug!(task = %held.task_id, %error, "progress is not heard");
        if matches!(error, ClientError::Unreachable(_)) {
            // Unless the job has come further since.
            lock(said).progress.get_or_insert(progress);
        }
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ear {
    /// Hears what was written, wherever it breaks off.
    pub(super) fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = &bytes[..bytes.len().min(LINE_BYTES_MAX - self.line.len())];
            let end = within.iter().position(|byte| *byte == b'\n').map_or(within.len(), |at| at + 1);
            let (now, later) = bytes.split_at(end);
            self.line.extend_from_slice(now);
            bytes = later;
            if self.line.ends_with(b"\n") || self.line.len() == LINE_BYTES_MAX {
                self.add_line();
            }
        }
    }

    /// Hears a stream to its end.
    pub(super) fn hear_all(mut self, mut source: impl Read) {
        let mut buffer = [0; LINE_BYTES_MAX];
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => self.hear(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn add_line(&mut self) {
        // Not every database can store a character of value 0.
        let text = String::from_utf8_lossy(&self.line).replace('\0', "\u{fffd}");
        lock(&self.said).add(text.trim_end(), self.level);
        self.line.clear();
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.add_line();
        }
    }
}

impl Said {
    /// The lines that are to be told next.
    fn batch(&mut self) -> Option<Batch> {
        if let Some(batch) = self.unheard.take() {
            return Some(batch);
        }
        let mut lines = Vec::from_iter(self.missing());
        let notices = lines.len();
        let mut bytes = 0;
        while let Some(line) = self.lines.front() {
            bytes += bytes_of(line);
            if lines.len() == LINES_AT_ONCE || bytes > BYTES_AT_ONCE {
                break;
            }
            self.bytes -= line.message.len();
            lines.extend(self.lines.pop_front());
        }
        let first = self.numbered + 1;
        self.numbered += lines.len() as u64;
        (!lines.is_empty()).then(|| Batch { first, said: lines.len() - notices, lines })
    }

    /// A line that says how many are missing where it stands.
    fn missing(&mut self) -> Option<LogLine> {
        let dropped = Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)?;
        let message = format!("{dropped} lines are missing here: more was said than the server could be told");
        Some(LogLine { level: WARNING, message })
    }

    fn left(&self) -> Left {
        if self.lines.is_empty() && self.dropped == 0 { Left::Nothing } else { Left::More }
    }

    /// Lets go of what nobody wants to hear any more.
    fn forget(&mut self) {
        self.lines.clear();
        (self.bytes, self.dropped) = (0, 0);
    }

    fn add(&mut self, text: &str, level: &'static str) {
        if let Some(progress) = text.strip_prefix(PROGRESS).and_then(|text| text.trim().parse::<f64>().ok())
            && (0.0..=100.0).contains(&progress)
        {
            self.progress = Some(progress);
            return;
        }
        self.tail.push_str(text);
        self.tail.push('\n');
        if self.tail.len() > 2 * TAIL_BYTES_MAX {
            let mut cut = self.tail.len() - TAIL_BYTES_MAX;
            while !self.tail.is_char_boundary(cut) {
                cut += 1;
            }
            self.tail.drain(..cut);
        }
        self.push(LogLine { level, message: text.to_owned() });
    }

    fn push(&mut self, line: LogLine) {
        self.bytes += line.message.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_WAITING_MAX || self.bytes > BYTES_WAITING_MAX {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.message.len();
            self.dropped += 1;
        }
    }
}

/// What a line takes in a request.
fn bytes_of(line: &LogLine) -> usize {
    serde_json::to_vec(line).map_or(0, |json| json.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_from_other_lines_and_only_the_last_is_kept() {
        let output = Output::new();
        output.ear().hear_all(&b"one\n::progress 10\n::progress 45.5\n::progress 200\ntwo"[..]);
        let said = lock(&output.said);
        assert_eq!(said.progress, Some(45.5));
        let lines: Vec<&str> = said.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(lines, ["one", "::progress 200", "two"]);
        assert_eq!(said.tail, "one\n::progress 200\ntwo\n");
    }

    #[test]
    fn lines_are_put_together_however_they_arrive_and_cut_when_they_are_too_long() {
        let output = Output::new();
        let mut ear = output.ear();
        b"a line\n".iter().for_each(|byte| ear.hear(&[*byte]));
        ear.hear(&[b'x'; LINE_BYTES_MAX + 1]);
        drop(ear);
        let lengths: Vec<usize> = lock(&output.said).lines.iter().map(|line| line.message.len()).collect();
        assert_eq!(lengths, [6, LINE_BYTES_MAX, 1]);
    }

    fn messages(batch: &Batch) -> Vec<&str> {
        batch.lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn a_job_that_says_too_much_is_cut_and_its_log_says_where() {
        let mut said = Said::default();
        (0..LINES_WAITING_MAX + 10).for_each(|n| said.add(&format!("line {n}"), "INFO"));
        assert_eq!((said.lines.len(), said.dropped), (LINES_WAITING_MAX, 10));
        let batch = said.batch().unwrap();
        assert_eq!((batch.first, batch.lines.len(), batch.said), (1, LINES_AT_ONCE, LINES_AT_ONCE - 1));
        let notice = "10 lines are missing here: more was said than the server could be told";
        assert_eq!(messages(&batch)[..2], [notice, "line 10"]);
        assert_eq!((said.batch().unwrap().first, said.dropped), (LINES_AT_ONCE as u64 + 1, 0));
        (0..LINES_WAITING_MAX).for_each(|_| said.add(&"界".repeat(1_000), "INFO"));
        assert!(said.bytes <= BYTES_WAITING_MAX && said.tail.len() <= 2 * TAIL_BYTES_MAX);
        assert_eq!(said.bytes, said.lines.iter().map(|line| line.message.len()).sum::<usize>());
    }

    #[test]
    fn what_was_not_heard_is_told_again_as_it_was() {
        let mut said = Said::default();
        said.add("one", "INFO");
        let batch = said.batch().unwrap();
        said.unheard = Some(batch);
        said.add("two", "INFO");
        let again = said.batch().unwrap();
        assert_eq!((again.first, messages(&again)), (1, vec!["one"]));
        let next = said.batch().unwrap();
        assert_eq!((next.first, messages(&next)), (2, vec!["two"]));
        assert_eq!((said.batch().is_none(), said.left()), (true, Left::Nothing));
    }

    #[test]
    fn a_request_has_no_more_bytes_than_the_server_takes() {
        let mut said = Said::default();
        // Six bytes each, as JSON.
        (0..40).for_each(|_| said.add(&"\u{1}".repeat(LINE_BYTES_MAX), "INFO"));
        let mut lines = 0;
        while let Some(batch) = said.batch() {
            assert!(batch.lines.iter().map(bytes_of).sum::<usize>() <= BYTES_AT_ONCE);
            lines += batch.lines.len();
        }
        assert_eq!((lines, said.bytes), (40, 0));
    }
}
