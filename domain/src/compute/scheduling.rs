//! Which task a server is given: the first in line that fits.
//!
//! The line is by priority, then by the time of submission. A task that does not fit the server's free memory and GPUs
//! is passed over, so that smaller ones fill the room it cannot use; it keeps its place. What is
//! free is set aside for the first one that has been passed over for too long: those behind it get what it has no use for.

use chrono::{DateTime, TimeDelta, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

/// How long a task that does not fit lets others pass.
pub const PATIENCE: TimeDelta = TimeDelta::minutes(10);

/// What a task needs of a server besides a place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// GPUs; 0 for a task that needs none.
    pub gpus: u32,
    /// Memory in GB: of the GPUs when it needs any, otherwise of the machine.
    pub memory_gb: Decimal,
}

/// What a server has left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Room {
    /// Tasks it may still take.
    pub tasks: u32,
    pub gpus: u32,
    /// Free memory of the GPUs.
    pub gpu_memory_gb: Decimal,
    /// Free memory of the machine.
    pub memory_gb: Decimal,
}

impl Room {
    /// Whether a task with these needs can run now.
    pub fn fits(&self, needs: Needs) -> bool {
        let memory_gb = if needs.gpus > 0 { self.gpu_memory_gb } else { self.memory_gb };
        self.tasks > 0 && needs.gpus <= self.gpus && needs.memory_gb <= memory_gb
    }

    /// What there is when a task with these needs, which runs now, has ended.
    #[must_use]
    pub fn with(&self, needs: Needs) -> Self {
        let more = |memory: Decimal, given: bool| if given { memory.saturating_add(needs.memory_gb) } else { memory };
        Self {
            tasks: self.tasks.saturating_add(1),
            gpus: self.gpus.saturating_add(needs.gpus),
            gpu_memory_gb: more(self.gpu_memory_gb, needs.gpus > 0),
            memory_gb: more(self.memory_gb, needs.gpus == 0),
        }
    }

    /// What is left beside a task with these needs.
    #[must_use]
    pub fn without(&self, needs: Needs) -> Self {
        let less = |memory: Decimal, taken: bool| {
            if taken { memory.saturating_sub(needs.memory_gb).max(Decimal::ZERO) } else { memory }
        };
        Self {
            tasks: self.tasks.saturating_sub(1),
            gpus: self.gpus.saturating_sub(needs.gpus),
            gpu_memory_gb: less(self.gpu_memory_gb, needs.gpus > 0),
            memory_gb: less(self.memory_gb, needs.gpus == 0),
        }
    }
}

/// A task in line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    pub needs: Needs,
    /// When it took its place.
    pub since: DateTime<Utc>,
}

/// One server's way along the line.
#[derive(Debug, Clone)]
pub struct Search {
    room: Room,
    emptied: Room,
    now: DateTime<Utc>,
    set_aside: bool,
}

impl Search {
    /// Looks at `now` for what fits into `room`. `emptied` is the room there is when all that runs has ended.
    pub fn new(room: Room, emptied: Room, now: DateTime<Utc>) -> Self {
        Self { room, emptied, now, set_aside: false }
    }

    /// The first of `line` that fits; to be called again with the rest of the line when that one is not to be had.
    pub fn next_of<T>(&mut self, line: impl IntoIterator<Item = T>, waiting: impl Fn(&T) -> Waiting) -> Option<T> {
        line.into_iter().find(|task| self.fits(waiting(task)))
    }

    fn fits(&mut self, Waiting { needs, since }: Waiting) -> bool {
        let fits = self.room.fits(needs);
        // For one at a time: setting aside for all that are late would keep everybody else out.
        if !fits && !self.set_aside && self.now - since >= PATIENCE && self.emptied.fits(needs) {
            self.room = self.room.without(needs);
            self.set_aside = true;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(gpus: u32, memory_gb: i64) -> Needs {
        Needs { gpus, memory_gb: memory_gb.into() }
    }
    fn room() -> Room {
        Room { tasks: 2, gpus: 1, gpu_memory_gb: 12.into(), memory_gb: 4.into() }
    }
    /// What is found in a line of tasks with these needs, which have waited for `waited`.
    fn found(line: &[Needs], waited: TimeDelta, room: &Room, emptied: &Room) -> Option<Needs> {
        let waiting = |needs: &Needs| Waiting { needs: *needs, since: DateTime::UNIX_EPOCH };
        Search::new(*room, *emptied, DateTime::UNIX_EPOCH + waited).next_of(line.iter().copied(), waiting)
    }

    #[test]
    fn the_first_that_fits_is_taken_and_the_others_keep_their_place() {
        let line = [needs(2, 0), needs(1, 16), needs(0, 8), needs(1, 12), needs(0, 0)];
        let taken = |room: &Room| found(&line, TimeDelta::zero(), room, room);
        assert_eq!(taken(&room()), Some(needs(1, 12)));
        assert_eq!(taken(&room().without(needs(1, 12))), Some(needs(0, 0)));
        assert_eq!(taken(&room().without(needs(0, 1)).without(needs(0, 1))), None);
    }

    #[test]
    fn what_is_free_is_set_aside_for_what_was_passed_over_for_too_long() {
        let (large, small) = (needs(1, 12), needs(1, 1));
        let emptied = Room { tasks: 3, gpus: 2, ..room() };
        let busy = emptied.without(needs(1, 6));
        let soon = PATIENCE - TimeDelta::seconds(1);
        assert_eq!(found(&[large, small], soon, &busy, &emptied), Some(small));
        assert_eq!(found(&[large, small], PATIENCE, &busy, &emptied), None);
        assert_eq!(found(&[small, large], PATIENCE, &busy, &emptied), Some(small));
        assert_eq!(found(&[large, small], PATIENCE, &emptied, &emptied), Some(large));
    }

    #[test]
    fn what_is_set_aside_leaves_the_others_what_it_has_no_use_for() {
        let (large, small) = (needs(1, 12), needs(0, 1));
        let emptied = Room { tasks: 3, ..room() };
        let busy = emptied.without(needs(1, 6));
        assert_eq!(found(&[large, small], PATIENCE, &busy, &emptied), Some(small));
        // Its place is one of them.
        let one_place = Room { tasks: 1, ..busy };
        assert_eq!(found(&[large, small], PATIENCE, &one_place, &emptied), None);
        // It is set aside for one task at a time.
        assert_eq!(found(&[large, large, small], PATIENCE, &busy, &emptied), Some(small));
    }

    #[test]
    fn nothing_is_set_aside_for_what_the_server_can_never_run() {
        let line = [needs(1, 16), needs(1, 1)];
        assert_eq!(found(&line, PATIENCE, &room(), &room()), Some(needs(1, 1)));
    }

    #[test]
    fn memory_is_that_of_the_gpus_for_a_task_that_needs_one() {
        assert!(room().fits(needs(1, 12)) && !room().fits(needs(0, 12)));
        assert_eq!(room().without(needs(1, 5)).gpu_memory_gb, Decimal::from(7));
        assert_eq!(room().without(needs(0, 1)).memory_gb, Decimal::from(3));
    }

    #[test]
    fn whatever_an_agent_says_of_its_memory_is_counted_on() {
        for memory_gb in [Decimal::MAX, Decimal::MIN] {
            let room = Room { gpu_memory_gb: memory_gb, memory_gb, ..room() };
            assert!(room.with(needs(1, 1)).gpu_memory_gb <= Decimal::MAX);
            assert!(room.without(needs(0, 1)).memory_gb >= Decimal::ZERO);
        }
    }

    #[test]
    fn what_ends_gives_back_what_it_took() {
        for taken in [needs(1, 5), needs(0, 3)] {
            assert_eq!(room().without(taken).with(taken), room());
        }
    }
}
