//! How long the runner lets things gather: a batch costs nearly the same for a few events as for many.

use std::time::Duration;

/// How late things may be written that nobody waits for.
pub(super) struct Pace {
    /// How long events gather for one batch, unless somebody says that an answer waits for one.
    pub(super) gathered_within: Duration,
    /// So many events are not let wait for more.
    pub(super) worth_a_batch: u64,
    /// How late the checkpoints of projections that have nothing to fold are written; a batch that wrote them all would
    /// mostly write those.
    pub(super) idle_written_within: Duration,
}

impl Pace {
    /// Of a server that shows the read models `alone`: whoever waits can say so.
    pub(super) const ALONE: Self = Self {
        gathered_within: Duration::from_millis(40),
        worth_a_batch: 1_024,
        idle_written_within: Duration::from_millis(200),
    };
    /// Of one among several: answers of the others wait for what is written, and nobody hears of them.
    pub(super) const AMONG_OTHERS: Self = Self {
        gathered_within: Duration::from_millis(10),
        worth_a_batch: 32,
        idle_written_within: Duration::from_millis(20),
    };
}
