//! Lines of a job that the server was not told yet.

use std::collections::VecDeque;

use super::client::LogLine;

/// Most lines of one request, and most bytes of them as JSON: the server takes no more than 1 MB.
const LINES_AT_ONCE: usize = 500;
const BYTES_AT_ONCE: usize = 512 * 1024;
/// Most lines that wait to be told, and most bytes of them; of more, the oldest are dropped.
const LINES_WAITING_MAX: usize = 10_000;
const BYTES_WAITING_MAX: usize = 4 * 1024 * 1024;

/// The level of what the agent says itself.
pub(super) const WARNING: &str = "WARNING";

/// Lines that wait, in the order in which they were said. They leave in batches; what becomes of a batch is told by
/// [`unheard`](Self::unheard) or [`lost`](Self::lost), or there is nothing to tell because it was heard.
#[derive(Default)]
pub(super) struct Backlog {
    /// Told, but nobody knows whether it was heard. It goes first.
    unheard: Option<Batch>,
    /// How many lines are missing before those that wait.
    dropped: usize,
    waiting: VecDeque<LogLine>,
    /// Bytes of the messages that wait.
    bytes: usize,
    /// How many lines were put into batches.
    numbered: u64,
}

/// Lines that are told together, always the same, so that the server knows by their numbers what it has kept.
pub(super) struct Batch {
    /// The number of the first of them.
    pub(super) first: u64,
    pub(super) lines: Vec<LogLine>,
    /// How many of them the job said itself.
    said: usize,
}

impl Backlog {
    /// Adds a line behind all others; the oldest make room for it.
    pub(super) fn push(&mut self, line: LogLine) {
        self.bytes += line.message.len();
        self.waiting.push_back(line);
        while self.waiting.len() > LINES_WAITING_MAX || self.bytes > BYTES_WAITING_MAX {
            if self.pop().is_none() {
                return;
            }
            self.dropped += 1;
        }
    }

    /// The lines that are to be told next.
    pub(super) fn next(&mut self) -> Option<Batch> {
        if let Some(batch) = self.unheard.take() {
            return Some(batch);
        }
        let mut lines = Vec::from_iter(self.missing());
        let notices = lines.len();
        let mut bytes = 0;
        while let Some(line) = self.waiting.front() {
            bytes += bytes_of(line);
            if lines.len() == LINES_AT_ONCE || bytes > BYTES_AT_ONCE {
                break;
            }
            lines.extend(self.pop());
        }
        let first = self.numbered + 1;
        self.numbered += lines.len() as u64;
        (!lines.is_empty()).then(|| Batch { first, said: lines.len() - notices, lines })
    }

    /// Nobody knows whether `batch` was heard: it is told again.
    pub(super) fn unheard(&mut self, batch: Batch) {
        self.unheard = Some(batch);
    }

    /// `batch` will not be heard: its lines are missing.
    pub(super) fn lost(&mut self, batch: &Batch) {
        self.dropped += batch.said;
    }

    /// Lets go of what nobody wants to hear any more.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        (self.unheard, self.bytes, self.dropped) = (None, 0, 0);
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.unheard.is_none() && self.waiting.is_empty() && self.dropped == 0
    }

    /// A line that says how many are missing where it stands.
    fn missing(&mut self) -> Option<LogLine> {
        let dropped = Some(std::mem::take(&mut self.dropped)).filter(|dropped| *dropped > 0)?;
        let message = format!("{dropped} lines are missing here: more was said than the server could be told");
        Some(LogLine { level: WARNING, message })
    }

    fn pop(&mut self) -> Option<LogLine> {
        let oldest = self.waiting.pop_front()?;
        self.bytes -= oldest.message.len();
        Some(oldest)
    }
}

/// What a line takes in a request.
fn bytes_of(line: &LogLine) -> usize {
    serde_json::to_vec(line).map_or(0, |json| json.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(lines: impl IntoIterator<Item = String>) -> Backlog {
        let mut backlog = Backlog::default();
        lines.into_iter().for_each(|message| backlog.push(LogLine { level: "INFO", message }));
        backlog
    }

    fn messages(batch: &Batch) -> Vec<&str> {
        batch.lines.iter().map(|line| line.message.as_str()).collect()
    }

    #[test]
    fn too_many_lines_are_cut_and_the_log_says_where() {
        let mut backlog = backlog((0..LINES_WAITING_MAX + 10).map(|n| format!("line {n}")));
        assert_eq!((backlog.waiting.len(), backlog.dropped), (LINES_WAITING_MAX, 10));
        let batch = backlog.next().unwrap();
        assert_eq!((batch.first, batch.lines.len(), batch.said), (1, LINES_AT_ONCE, LINES_AT_ONCE - 1));
        let notice = "10 lines are missing here: more was said than the server could be told";
        assert_eq!(messages(&batch)[..2], [notice, "line 10"]);
        assert_eq!((backlog.next().unwrap().first, backlog.dropped), (LINES_AT_ONCE as u64 + 1, 0));
    }

    #[test]
    fn too_many_bytes_are_cut_as_well() {
        let backlog = backlog((0..LINES_WAITING_MAX).map(|_| "界".repeat(1_000)));
        assert!(backlog.bytes <= BYTES_WAITING_MAX && backlog.dropped > 0);
        assert_eq!(backlog.bytes, backlog.waiting.iter().map(|line| line.message.len()).sum::<usize>());
    }

    #[test]
    fn what_was_not_heard_is_told_again_as_it_was() {
        let mut backlog = backlog(["one".to_owned()]);
        let batch = backlog.next().unwrap();
        backlog.unheard(batch);
        assert!(!backlog.is_empty());
        backlog.push(LogLine { level: "INFO", message: "two".to_owned() });
        let again = backlog.next().unwrap();
        assert_eq!((again.first, messages(&again)), (1, vec!["one"]));
        let next = backlog.next().unwrap();
        assert_eq!((next.first, messages(&next)), (2, vec!["two"]));
        assert!(backlog.next().is_none() && backlog.is_empty());
    }

    #[test]
    fn what_is_lost_is_counted_once() {
        let mut backlog = backlog((0..3).map(|n| n.to_string()));
        let batch = backlog.next().unwrap();
        backlog.lost(&batch);
        let notice = backlog.next().unwrap();
        let missing = |n| format!("{n} lines are missing here: more was said than the server could be told");
        assert_eq!((notice.first, messages(&notice)), (4, vec![missing(3).as_str()]));
        // The notice is none of the job's lines.
        backlog.lost(&notice);
        assert!(backlog.is_empty() && backlog.next().is_none());
    }

    #[test]
    fn what_nobody_wants_to_hear_is_let_go_and_numbers_go_on() {
        let mut backlog = backlog((0..=LINES_WAITING_MAX).map(|n| n.to_string()));
        assert_eq!(backlog.next().unwrap().first, 1);
        backlog.clear();
        assert!(backlog.is_empty() && backlog.next().is_none());
        assert_eq!(backlog.bytes, 0);
        backlog.push(LogLine { level: "INFO", message: "later".to_owned() });
        let later = backlog.next().unwrap();
        assert_eq!((later.first, messages(&later)), (LINES_AT_ONCE as u64 + 1, vec!["later"]));
    }

    #[test]
    fn a_request_has_no_more_bytes_than_the_server_takes() {
        // Six bytes each, as JSON.
        let mut backlog = backlog((0..40).map(|_| "\u{1}".repeat(8 * 1024)));
        let mut lines = 0;
        while let Some(batch) = backlog.next() {
            assert!(batch.lines.iter().map(bytes_of).sum::<usize>() <= BYTES_AT_ONCE);
            lines += batch.lines.len();
        }
        assert_eq!((lines, backlog.bytes), (40, 0));
    }
}
