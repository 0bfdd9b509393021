//! What this process has computed: on a busy machine it says more than the clock.

use std::fs;
use std::time::Duration;

/// A tick of the kernel's account.
const TICK: Duration = Duration::from_millis(10);

/// Processor time that all threads of this process have used.
pub fn used() -> Duration {
    let account = fs::read_to_string("/proc/self/stat").unwrap();
    // Behind the name, which may hold blanks, the 12th and 13th figures are the times in user mode and in the kernel.
    let figures: Vec<&str> = account.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks = |place: usize| figures[place].parse::<u32>().unwrap();
    TICK * (ticks(11) + ticks(12))
}

/// What was used since that much was.
pub fn used_since(earlier: Duration) -> Duration {
    used().saturating_sub(earlier)
}
