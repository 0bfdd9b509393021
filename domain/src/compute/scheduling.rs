//! Which task a server is given: the first in line that fits.
//!
//! The line is by priority, then by the time of submission. A task that does not fit the server's free memory and GPUs
//! is passed over, so that smaller ones fill the room it cannot use; it keeps its place.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

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

    /// What is left when a task with these needs runs.
    #[must_use]
    pub fn without(&self, needs: Needs) -> Self {
        let less = |memory: Decimal, taken: bool| if taken { memory - needs.memory_gb } else { memory };
        Self {
            tasks: self.tasks.saturating_sub(1),
            gpus: self.gpus.saturating_sub(needs.gpus),
            gpu_memory_gb: less(self.gpu_memory_gb, needs.gpus > 0),
            memory_gb: less(self.memory_gb, needs.gpus == 0),
        }
    }
}

/// The first of `line` that fits into `room`.
pub fn first_that_fits<T>(line: impl IntoIterator<Item = T>, needs: impl Fn(&T) -> Needs, room: &Room) -> Option<T> {
    line.into_iter().find(|task| room.fits(needs(task)))
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

    #[test]
    fn the_first_that_fits_is_taken_and_the_others_keep_their_place() {
        let line = [needs(2, 0), needs(1, 16), needs(0, 8), needs(1, 12), needs(0, 0)];
        assert_eq!(first_that_fits(line, |task| *task, &room()), Some(needs(1, 12)));
        assert_eq!(first_that_fits(line, |task| *task, &room().without(needs(1, 12))), Some(needs(0, 0)));
        let full = room().without(needs(0, 1)).without(needs(0, 1));
        assert_eq!(first_that_fits(line, |task| *task, &full), None);
    }

    #[test]
    fn memory_is_that_of_the_gpus_for_a_task_that_needs_one() {
        assert!(room().fits(needs(1, 12)) && !room().fits(needs(0, 12)));
        assert_eq!(room().without(needs(1, 5)).gpu_memory_gb, Decimal::from(7));
        assert_eq!(room().without(needs(0, 1)).memory_gb, Decimal::from(3));
    }
}
