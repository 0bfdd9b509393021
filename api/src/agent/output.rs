//! What a job says: its progress, its log lines, and the last of it for its result.
//!
//! A line `::progress 45.5` on the standard output is progress in percent; every other line is a log line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::Notify;

use super::client::{Client, Held, LogLine};

const TELL_EVERY: Duration = Duration::from_millis(500);
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);
const LINE_BYTES_MAX: u64 = 8 * 1024;
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

/// Reads what a child writes.
pub(super) struct Output {
    said: Arc<Mutex<Said>>,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    pub(super) fn read(child: &mut Child) -> Self {
        let said = Arc::<Mutex<Said>>::default();
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let said = Arc::clone(&said);
            readers.push(thread::spawn(move || listen(stdout, "INFO", &said)));
        }
        if let Some(stderr) = child.stderr.take() {
            let said = Arc::clone(&said);
            readers.push(thread::spawn(move || listen(stderr, "ERROR", &said)));
        }
        Self { said, readers }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the server once what was said since the last time.
    async fn tell_once(&self, client: &Client, held: Held) -> bool {
        let (progress, lines) = {
            let mut said = self.said();
            let count = said.lines.len().min(LINES_AT_ONCE);
            let mut lines: Vec<LogLine> = said.lines.drain(..count).collect();
            if said.dropped > 0 {
                let message = format!("{} lines were dropped: too many at once", std::mem::take(&mut said.dropped));
                lines.push(LogLine { level: "WARNING", message });
            }
            (said.progress.take(), lines)
        };
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

    /// Tells the rest, after the child has ended; answers the last that it said.
    pub(super) async fn rest(mut self, client: &Client, held: Held) -> String {
        let readers = std::mem::take(&mut self.readers);
        // Everybody in the group has ended: the readers come to the end, unless somebody left the group and goes on.
        let reading = tokio::task::spawn_blocking(move || readers.into_iter().for_each(|reader| drop(reader.join())));
        let _ = tokio::time::timeout(LAST_WORDS_MAX, reading).await;
        while self.tell_once(client, held).await {}
        std::mem::take(&mut self.said().tail)
    }
}

/// Tells the server what a job says, until it is over. What is being told then is told to the end: nothing is lost.
pub(super) async fn tell(client: &Client, held: Held, output: &Output, over: &Notify) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(TELL_EVERY) => {}
            () = over.notified() => return,
        }
        output.tell_once(client, held).await;
    }
}

fn listen(source: impl Read, level: &'static str, said: &Mutex<Said>) {
    let mut source = BufReader::new(source);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut source).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
        // Not every database can store a character of value 0.
        let text = String::from_utf8_lossy(&line).replace('\0', "\u{fffd}");
        said.lock().unwrap_or_else(PoisonError::into_inner).add(text.trim_end(), level);
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
        let said = Mutex::<Said>::default();
        listen(&b"one\n::progress 10\n::progress 45.5\n::progress 200\ntwo"[..], "INFO", &said);
        let said = said.into_inner().unwrap();
        assert_eq!(said.progress, Some(45.5));
        let lines: Vec<&str> = said.lines.iter().map(|line| line.message.as_str()).collect();
        assert_eq!(lines, ["one", "::progress 200", "two"]);
        assert_eq!(said.tail, "one\n::progress 200\ntwo\n");
    }

    #[test]
    fn a_job_that_says_too_much_is_cut() {
        let mut said = Said::default();
        (0..LINES_WAITING_MAX + 10).for_each(|_| said.add(&"界".repeat(100), "INFO"));
        assert_eq!((said.lines.len(), said.dropped), (LINES_WAITING_MAX, 10));
        assert!(said.tail.len() <= 2 * TAIL_BYTES_MAX);
    }
}
