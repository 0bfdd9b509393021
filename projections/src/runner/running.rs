//! One projection as it runs, and what each has to fold of a page of the log.

use std::collections::HashMap;

use domain::event::Recorded;

use super::published::ProjectionStatus;
use crate::checkpoint::Checkpoint;
use crate::projector::AnyProjector;

pub(super) struct Running {
    pub(super) projector: Box<dyn AnyProjector>,
    /// How far it was folded.
    pub(super) checkpoint: Checkpoint,
    /// Whether there is something of that to write.
    pub(super) folded: bool,
    /// The position of the checkpoint that was last written: behind, while there was nothing to fold.
    pub(super) written: u64,
    pub(super) halted: Option<String>,
}

impl Running {
    pub(super) fn new(projector: Box<dyn AnyProjector>) -> Self {
        Self { projector, checkpoint: Checkpoint::default(), folded: false, written: 0, halted: None }
    }

    /// Goes on from what its table says: nothing in memory counts.
    pub(super) fn start_over(&mut self, stored: Checkpoint) {
        self.projector.forget();
        self.folded = false;
        self.written = stored.position;
        self.checkpoint = stored;
    }

    pub(super) fn is_late(&self) -> bool {
        self.halted.is_none() && self.written < self.checkpoint.position
    }

    pub(super) fn status(&self) -> ProjectionStatus {
        ProjectionStatus {
            table: self.projector.table(),
            checkpoint: self.checkpoint.clone(),
            halted: self.halted.clone(),
        }
    }

    /// What it has to fold of the events up to `through`, decoded; nothing where it is further or has halted. It halts
    /// when it cannot read one.
    pub(super) fn decode<'a>(&mut self, events: &Sorted<'a>, through: u64) -> Option<Vec<&'a Recorded>> {
        if self.halted.is_some() || self.checkpoint.position >= through {
            return None;
        }
        let fresh = events.of(self.projector.aggregate_types(), self.checkpoint.position);
        match self.projector.decode(&fresh) {
            Ok(()) => Some(fresh),
            Err(error) => {
                tracing::error!(critical = true, projection = self.projector.name(), %error, "a projection halts");
                self.halted = Some(error.to_string());
                None
            }
        }
    }
}

/// The events of a page, by the sort of their aggregates.
pub(super) struct Sorted<'a>(HashMap<&'a str, Vec<&'a Recorded>>);

impl<'a> Sorted<'a> {
    pub(super) fn new(events: &'a [Recorded]) -> Self {
        let mut sorts: HashMap<&str, Vec<&Recorded>> = HashMap::new();
        for event in events {
            sorts.entry(&event.aggregate_type).or_default().push(event);
        }
        Self(sorts)
    }

    /// Those of `wanted` sorts after position `since`, in order.
    fn of(&self, wanted: &[&str], since: u64) -> Vec<&'a Recorded> {
        let mut fresh: Vec<&Recorded> = Vec::new();
        for events in wanted.iter().filter_map(|sort| self.0.get(sort)) {
            fresh.extend(events.iter().filter(|event| event.position > since));
        }
        if wanted.len() > 1 {
            fresh.sort_unstable_by_key(|event| event.position);
        }
        fresh
    }
}
