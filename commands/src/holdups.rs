//! What holds up process managers and gateways: an event that they cannot read, commands that keep failing. They try
//! again by themselves; meanwhile operators are told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So long something has to fail before operators are told: what passes by itself is no news.
const LASTS_MIN: Duration = Duration::from_secs(1);
/// What has not failed again for so long is over: work of a gateway that gets on may last for days.
const OVER_AFTER: Duration = Duration::from_secs(3);

/// Who is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Waiting {
    Process(&'static str),
    Gateway(&'static str),
}

/// How many pieces of work wait: events that a process manager has to handle, streams that a gateway has to drive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    pub of_processes: u64,
    pub of_gateways: u64,
}

#[derive(Debug, Clone, Copy)]
struct Failing {
    since: Instant,
    last: Instant,
}

impl Failing {
    fn is_over(&self, now: Instant) -> bool {
        now.duration_since(self.last) > OVER_AFTER
    }
}

/// The work that is tried again and again.
#[derive(Default)]
pub struct Holdups(Mutex<HashMap<(Waiting, String), Failing>>);

impl Holdups {
    /// `who` failed at `work`, and will try again. Answers whether that is news: it is said once in the log, however long
    /// it lasts.
    pub(crate) fn failed(&self, who: Waiting, work: &str) -> bool {
        self.failed_at(who, work, Instant::now())
    }

    /// `work` is done, or need not be done any more.
    pub(crate) fn got_on(&self, who: Waiting, work: &str) {
        let mut failing = self.failing();
        // Mostly there is nothing to look for.
        if !failing.is_empty() {
            failing.remove(&(who, work.to_owned()));
        }
    }

    /// All work of those whom `ceases` names: another server does it now.
    pub(crate) fn cease(&self, ceases: impl Fn(Waiting) -> bool) {
        self.failing().retain(|(who, _), _| !ceases(*who));
    }

    /// What waits now.
    pub fn waits(&self) -> Waits {
        self.waits_at(Instant::now())
    }

    fn failed_at(&self, who: Waiting, work: &str, now: Instant) -> bool {
        let mut failing = self.failing();
        failing.retain(|_, failing| !failing.is_over(now));
        let before = failing.len();
        failing.entry((who, work.to_owned())).or_insert(Failing { since: now, last: now }).last = now;
        failing.len() > before
    }

    fn waits_at(&self, now: Instant) -> Waits {
        let mut waits = Waits::default();
        for ((who, _), failing) in self.failing().iter() {
            if failing.is_over(now) || failing.last.duration_since(failing.since) < LASTS_MIN {
                continue;
            }
            match who {
                Waiting::Process(_) => waits.of_processes += 1,
                Waiting::Gateway(_) => waits.of_gateways += 1,
            }
        }
        waits
    }

    fn failing(&self) -> MutexGuard<'_, HashMap<(Waiting, String), Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESS: Waiting = Waiting::Process("convert_won_lead");
    const GATEWAY: Waiting = Waiting::Gateway("mail");

    fn waits(of_processes: u64, of_gateways: u64) -> Waits {
        Waits { of_processes, of_gateways }
    }

    #[test]
    fn what_lasts_is_told_until_it_gets_on() {
        let (holdups, began) = (Holdups::default(), Instant::now());
        let after = |milliseconds| began + Duration::from_millis(milliseconds);
        assert!(holdups.failed_at(PROCESS, "7", began));
        assert!(!holdups.failed_at(PROCESS, "7", after(900)));
        assert_eq!(holdups.waits_at(after(900)), waits(0, 0), "it may pass by itself");
        holdups.failed_at(PROCESS, "7", after(1_100));
        holdups.failed_at(GATEWAY, "7", began);
        holdups.failed_at(GATEWAY, "7", after(1_100));
        assert_eq!(holdups.waits_at(after(1_100)), waits(1, 1));
        holdups.got_on(PROCESS, "8");
        holdups.got_on(PROCESS, "7");
        assert_eq!(holdups.waits_at(after(1_200)), waits(0, 1));
        holdups.cease(|who| who == GATEWAY);
        assert_eq!(holdups.waits_at(after(1_200)), waits(0, 0));
    }

    #[test]
    fn what_does_not_fail_again_is_over() {
        let (holdups, began) = (Holdups::default(), Instant::now());
        let after = |seconds| began + Duration::from_secs(seconds);
        holdups.failed_at(GATEWAY, "a", began);
        holdups.failed_at(GATEWAY, "a", after(2));
        assert_eq!(holdups.waits_at(after(4)), waits(0, 1));
        assert_eq!(holdups.waits_at(after(6)), waits(0, 0));
        // And begins anew when it fails once more.
        holdups.failed_at(GATEWAY, "a", after(7));
        assert_eq!(holdups.waits_at(after(7)), waits(0, 0));
    }
}
