//! A bar for work that takes longer than a second, where somebody looks.

use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use replay::Progress;

/// Work that is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
const TEMPLATE: &str = "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";

/// Bars on the terminal, one piece of work after the other.
pub(super) struct Bars {
    /// Nobody looks at a bar in a file.
    seen: bool,
    now: Mutex<Option<Work>>,
}

struct Work {
    name: &'static str,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Default for Bars {
    fn default() -> Self {
        Self { seen: stderr().is_terminal(), now: Mutex::default() }
    }
}

impl Progress for Bars {
    fn at(&self, work: &'static str, done: u64, total: u64) {
        if !self.seen {
            return;
        }
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let work = match now.take() {
            Some(same) if same.name == work => same,
            other => {
                drop(other);
                Work { name: work, since: Instant::now(), bar: None }
            }
        };
        let work = now.insert(work);
        if work.bar.is_none() && work.since.elapsed() > PATIENCE {
            let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
            work.bar = Some(ProgressBar::new(total).with_style(style).with_message(work.name));
        }
        if let Some(bar) = &work.bar {
            bar.set_length(total);
            bar.set_position(done);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
