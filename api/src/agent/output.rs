//! What a job says: its progress, its log lines, and the last of it for its result.
//!
//! A line `::progress 45.5` on the standard output is progress in percent; every other line is a log line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::client::{Client, Held, LogLine};

const TELL_EVERY: Duration = Duration::from_millis(500);
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
const LINE_BYTES_MAX: usize = 8 * 1024;
const LINES_AT_ONCE: usize = 500;
/// Lines that wait to be told; of more, the oldest are dropped.
const LINES_WAITING_MAX: usize = 5_000;
const TAIL_BYTES_MAX: usize = 4 * 1024;
const PROGRESS: &str = "::progress ";

/// What was said and not told yet.
#[derive(Default)]
struct Said {
    lines: VecDeque<LogLine>,
    dropped: usize,
    progress: Option<f64>,
    tail: String,
}

/// Everything that a job says, on both of its streams.
pub(super) struct Output {
    said: Arc<Mutex<Said>>,
    /// Each ear holds a copy, so it is known when the last one is gone.
    listening: mpsc::Sender<Infallible>,
    heard_all: mpsc::Receiver<Infallible>,
}

/// Hears one stream of a job, and cuts it into lines. What is left when it goes is a line as well.
pub(super) struct Ear {
    said: Arc<Mutex<Said>>,
    level: &'static str,
    line: Vec<u8>,
    _listening: mpsc::Sender<Infallible>,
}

impl Output {
    pub(super) fn new() -> Self {
        let (listening, heard_all) = mpsc::channel(1);
        Self { said: Arc::default(), listening, heard_all }
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

    /// Tells the rest, after the job has ended; answers the last that it said.
    pub(super) async fn rest(self, client: &Client, held: Held) -> String {
        let Self { said, listening, mut heard_all } = self;
        drop(listening);
        // Everybody in the job has ended: the ears come to the end, unless somebody left its group and goes on.
        let _ = tokio::time::timeout(LAST_WORDS_MAX, heard_all.recv()).await;
        while tell_once(&said, client, held).await {}
        std::mem::take(&mut lock(&said).tail)
    }
}

/// Tells the server what a job says, until it is over. What is being told then is told to the end: nothing is lost.
pub(super) async fn tell(client: &Client, held: Held, output: &Output, over: &Notify) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TELL_EVERY) => {}
            () = over.notified() => return,
        }
        tell_once(&output.said, client, held).await;
    }
}

/// Tells the server once what was said since the last time; answers whether there were lines.
async fn tell_once(said: &Mutex<Said>, client: &Client, held: Held) -> bool {
    let (progress, lines) = lock(said).take();
    if let Some(progress) = progress
        && let Err(error) = client.progress(held, progress).await
    {
        tracing::debug!(task = %held.task_id, %error, "progress is not heard");
    }
    if lines.is_empty() {
        return false;
    }
    if let Err(error) = client.logs(held, &lines).await {
        tracing::warn!(task = %held.task_id, %error, lines = lines.len(), "log lines are lost");
    }
    true
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
    /// The progress and the lines that are to be told next.
    fn take(&mut self) -> (Option<f64>, Vec<LogLine>) {
        let count = self.lines.len().min(LINES_AT_ONCE);
        let mut lines: Vec<LogLine> = self.lines.drain(..count).collect();
        if self.dropped > 0 {
            let message = format!("{} lines were dropped: too many at once", std::mem::take(&mut self.dropped));
            lines.push(LogLine { level: "WARNING", message });
        }
        (self.progress.take(), lines)
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
        if self.lines.len() >= LINES_WAITING_MAX {
            self.lines.pop_front();
            self.dropped += 1;
        }
        self.lines.push_back(LogLine { level, message: text.to_owned() });
    }
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

    #[test]
    fn a_job_that_says_too_much_is_cut() {
        let mut said = Said::default();
        (0..LINES_WAITING_MAX + 10).for_each(|_| said.add(&"界".repeat(100), "INFO"));
        assert_eq!((said.lines.len(), said.dropped), (LINES_WAITING_MAX, 10));
        assert!(said.tail.len() <= 2 * TAIL_BYTES_MAX);
    }
}
