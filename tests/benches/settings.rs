//! What the command line asks for.

use std::time::Duration;

use crate::aims::Aims;

/// The settings of one run of this program.
pub(crate) struct Settings {
    /// How often everything is measured; medians are shown.
    pub(crate) runs: usize,
    /// How long one load lasts.
    pub(crate) lasting: Duration,
    /// The only number of clients that is wanted, for a profile of it.
    clients: Option<usize>,
    /// Whether what runs as a process of its own is left out, for a profile of the rest.
    pub(crate) in_process: bool,
    /// Events of the big log.
    pub(crate) events: u64,
    /// Requests of one load over HTTP.
    pub(crate) requests: usize,
    /// Rows of the big lists.
    pub(crate) rows: u64,
    pub(crate) aims: Aims,
    only: Vec<String>,
}

impl Settings {
    pub(crate) fn of_this_run() -> Self {
        let arguments: Vec<String> = std::env::args().collect();
        let value = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
        let quick = arguments.iter().any(|argument| argument == "--quick");
        let only = value("--only").map(|names| names.split(',').map(str::to_owned).collect());
        Self {
            runs: value("--runs").map_or(if quick { 1 } else { 5 }, |runs| runs.parse().unwrap()),
            lasting: Duration::from_secs(value("--seconds").map_or(if quick { 1 } else { 4 }, |s| s.parse().unwrap())),
            clients: value("--clients").map(|clients| clients.parse().unwrap()),
            in_process: arguments.iter().any(|argument| argument == "--in-process"),
            events: if quick { 100_000 } else { 1_000_000 },
            requests: if quick { 5_000 } else { 40_000 },
            rows: if quick { 100_000 } else { 1_000_000 },
            aims: Aims::default(),
            only: only.unwrap_or_default(),
        }
    }

    /// Which of these numbers of clients are asked for.
    pub(crate) fn clients(&self, all: &[usize]) -> Vec<usize> {
        all.iter().copied().filter(|count| self.clients.is_none_or(|only| only == *count)).collect()
    }

    /// Whether the part `name` is asked for; a part of a part is named like `wallets.sqlite`.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let related = |only: &String| {
            let within = |part: &str, whole: &str| {
                part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            within(only, name) || within(name, only)
        };
        self.only.is_empty() || self.only.iter().any(related)
    }
}
