//! What a job says: its progress, its log lines, and the last of it for its result.
//!
//! A line `::progress 45.5` on the standard output is progress in percent; every other line is a log line. Lines are told in
//! order, and told again until the server answers. Their numbers keep it from keeping them twice.

use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};

use super::PAUSE_AFTER_FAULT;
use super::backlog::{Backlog, WARNING};
use super::client::{Client, ClientError, Held, LogLine};

const TELL_EVERY: Duration = Duration::from_millis(500);
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
/// How long the end of a job may wait for its last lines to be heard: its outcome is worth more than they are.
const LAST_LINES_MAX: Duration = Duration::from_secs(30);
const LINE_BYTES_MAX: usize = 8 * 1024;
const TAIL_BYTES_MAX: usize = 4 * 1024;
const PROGRESS: &str = "::progress ";

/// What a job said.
#[derive(Default)]
struct Said {
    backlog: Backlog,
    /// How far it is, if that was not told yet.
    progress: Option<f64>,
    /// The last of it.
    tail: String,
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
        lock(&self.said).backlog.push(LogLine { level: WARNING, message });
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
    let Some(batch) = lock(said).backlog.next() else { return Left::Nothing };
    match client.logs(held, batch.first, &batch.lines).await {
        Ok(()) => {}
        Err(error) if error.is_over() => {
            lock(said).backlog.clear();
            return Left::Nothing;
        }
        Err(error @ ClientError::Unreachable(_)) => {
            tracing::warn!(task = %held.task_id, %error, lines = batch.lines.len(), "log lines are told again");
            lock(said).backlog.unheard(batch);
            return Left::Unheard;
        }
        Err(error @ ClientError::Refused { .. }) => {
            tracing::warn!(task = %held.task_id, %error, lines = batch.lines.len(), "log lines are lost");
            lock(said).backlog.lost(&batch);
        }
    }
    if lock(said).backlog.is_empty() { Left::Nothing } else { Left::More }
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
    fn add(&mut self, text: &str, level: &'static str) {
        if let Some(progress) = text.strip_prefix(PROGRESS).and_then(|text| text.trim().parse::<f64>().ok())
            && (0.0..=100.0).contains(&progress)
        {
            self.progress = Some(progress);
            return;
        }
        self.keep_at_the_end(text);
        self.backlog.push(LogLine { level, message: text.to_owned() });
    }

    /// Keeps the tail between one and two times what is wanted of it, so that it is not moved with each line.
    fn keep_at_the_end(&mut self, text: &str) {
        self.tail.push_str(text);
        self.tail.push('\n');
        if self.tail.len() > 2 * TAIL_BYTES_MAX {
            let mut cut = self.tail.len() - TAIL_BYTES_MAX;
            while !self.tail.is_char_boundary(cut) {
                cut += 1;
            }
            self.tail.drain(..cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are to be told.
    fn told(output: &Output) -> Vec<String> {
        let batch = lock(&output.said).backlog.next();
        batch.map_or_else(Vec::new, |batch| batch.lines.into_iter().map(|line| line.message).collect())
    }

    #[test]
    fn progress_is_told_from_other_lines_and_only_the_last_is_kept() {
        let output = Output::new();
        output.ear().hear_all(&b"one\n::progress 10\n::progress 45.5\n::progress 200\ntwo"[..]);
        assert_eq!(told(&output), ["one", "::progress 200", "two"]);
        let said = lock(&output.said);
        assert_eq!(said.progress, Some(45.5));
        assert_eq!(said.tail, "one\n::progress 200\ntwo\n");
    }

    #[test]
    fn lines_are_put_together_however_they_arrive_and_cut_when_they_are_too_long() {
        let output = Output::new();
        let mut ear = output.ear();
        b"a line\n".iter().for_each(|byte| ear.hear(&[*byte]));
        ear.hear(&[b'x'; LINE_BYTES_MAX + 1]);
        drop(ear);
        let lengths: Vec<usize> = told(&output).iter().map(String::len).collect();
        assert_eq!(lengths, [6, LINE_BYTES_MAX, 1]);
    }

    #[test]
    fn only_the_end_is_kept_for_the_result() {
        let mut said = Said::default();
        (0..1_000).for_each(|n| said.add(&format!("界 {n}"), "INFO"));
        assert!((TAIL_BYTES_MAX - 3..=2 * TAIL_BYTES_MAX).contains(&said.tail.len()), "{}", said.tail.len());
        assert!(said.tail.ends_with("界 998\n界 999\n"), "{}", said.tail);
    }
}
