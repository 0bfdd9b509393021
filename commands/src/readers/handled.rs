//! What the process managers have handled, and what that caused.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Steps remembered. Whoever asks about an older one is told of the oldest that is known.
const STEPS_MAX: usize = 4_096;

/// How far the process managers have come.
#[derive(Debug, Clone, Default)]
pub struct Handled {
    /// Every event up to here has been handled.
    pub through: u64,
    /// The highest position of an event that this caused.
    pub produced: u64,
    /// The same as it was after each step: who waits for what came of an event need not wait for what came of later
    /// ones, which under load never ends.
    steps: Arc<Mutex<VecDeque<Step>>>,
}

/// How far it was after one step.
#[derive(Debug, Clone, Copy, Default)]
struct Step {
    through: u64,
    caused: Caused,
}

/// The highest positions of events that process managers caused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Caused {
    /// By handling events of requests.
    pub(crate) by_requests: u64,
    /// By handling events that process managers or gateways had caused.
    pub(crate) by_processes: u64,
}

impl Caused {
    /// What both caused.
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            by_requests: self.by_requests.max(other.by_requests),
            by_processes: self.by_processes.max(other.by_processes),
        }
    }
}

impl Handled {
    /// Handled up to `through`, of which all that is known is that it caused nothing after `produced`.
    pub fn new(through: u64, produced: u64) -> Self {
        let mut handled = Self::default();
        handled.advance(through, Caused { by_requests: produced, by_processes: produced });
        handled
    }

    /// Takes one more step, up to `through`, which caused `caused`.
    pub(crate) fn advance(&mut self, through: u64, caused: Caused) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let last = steps.back().map_or(Caused::default(), |step| step.caused);
        let caused = last.max(caused);
        steps.push_back(Step { through, caused });
        if steps.len() > STEPS_MAX {
            steps.pop_front();
        }
        drop(steps);
        self.through = through;
        self.produced = self.produced.max(caused.by_requests).max(caused.by_processes);
    }

    /// The highest position of an event that came of requests' events up to `position`, which is handled.
    pub(crate) fn caused_by_requests(&self, position: u64) -> u64 {
        self.caused(position).by_requests
    }

    /// The highest position of an event that came of such as were caused themselves, up to `position`, which is handled.
    pub(crate) fn caused_by_processes(&self, position: u64) -> u64 {
        self.caused(position).by_processes
    }

    /// As it was after the step that handled `position`; for a step that is forgotten, after the oldest known.
    fn caused(&self, position: u64) -> Caused {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let place = steps.partition_point(|step| step.through < position);
        steps.get(place).or(steps.back()).map_or(Caused::default(), |step| step.caused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_later_events_caused_is_not_waited_for() {
        let mut handled = Handled::new(10, 12);
        handled.advance(20, Caused { by_requests: 25, by_processes: 0 });
        handled.advance(30, Caused { by_requests: 35, by_processes: 31 });
        assert_eq!(handled.caused_by_requests(5), 12);
        assert_eq!(handled.caused_by_requests(15), 25);
        assert_eq!(handled.caused_by_processes(25), 31);
        assert_eq!((handled.through, handled.produced), (30, 35));
    }

    #[test]
    fn steps_are_bounded() {
        let mut handled = Handled::default();
        for through in 1..=2 * STEPS_MAX as u64 {
            handled.advance(through, Caused { by_requests: through + 1, by_processes: 0 });
        }
        assert_eq!(handled.caused_by_requests(1), STEPS_MAX as u64 + 2);
    }
}
