//! All that an auditor asks of a log, in one go.

use std::sync::Arc;

use commands::gateways::alert_watch;
use domain::event::Recorded;
use domain::log::{CommandUnderKey, Log};
use projections::checkpoint::{self, Checkpoint};
use projections::{AnyProjector, ReadAhead, ReadModels, catalogue};
use serde::Serialize;

pub use crate::continuity::{Check, Finding};

use crate::continuity::Continuity;
use crate::error::ReplayError;
use crate::progress::Progress;
use crate::redemptions::Redemptions;

/// Findings that are reported one by one; of more, only the number.
const FINDINGS_MAX: usize = 1_000;
const COMMANDS_PER_PAGE: usize = 10_000;

/// What an audit came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Whether nothing was found.
    pub sound: bool,
    /// The end of the log.
    pub head: u64,
    pub events: u64,
    pub streams: u64,
    /// Kept commands.
    pub commands: u64,
    /// Rolling digest of the positions and ids of all events: it tells which there are, not what is in them.
    pub digest: String,
    pub checks: Vec<CheckOutcome>,
    /// At most a thousand.
    pub findings: Vec<Finding>,
    pub projections: Vec<Consumed>,
}

/// How one check came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckOutcome {
    pub check: Check,
    pub findings: u64,
}

/// What a read model says it consumed, and what the log holds for it up to there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Consumed {
    pub projection: String,
    pub position: u64,
    pub events: u64,
    pub events_in_log: u64,
    pub digest: String,
    pub digest_of_log: String,
}

#[derive(Default)]
struct Findings {
    counts: [u64; Check::ALL.len()],
    first: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, finding: Finding) {
        if let Some(place) = Check::ALL.iter().position(|check| *check == finding.check) {
            self.counts[place] += 1;
        }
        if self.first.len() < FINDINGS_MAX {
            self.first.push(finding);
        }
    }

    fn outcomes(&self) -> Vec<CheckOutcome> {
        let outcome = |(check, findings): (&Check, &u64)| CheckOutcome { check: *check, findings: *findings };
        Check::ALL.iter().zip(&self.counts).map(outcome).collect()
    }
}

/// A live table's checkpoint, and what the log comes to up to there.
struct Counted {
    projector: Box<dyn AnyProjector>,
    live: Checkpoint,
    log: Checkpoint,
}

/// Checks the whole log and what hangs on it. A server may run meanwhile.
///
/// # Errors
/// When the log or the read models do not answer.
pub async fn audit(log: &Arc<dyn Log>, models: &ReadModels, progress: &dyn Progress) -> Result<Audit, ReplayError> {
    let mut counted = counted(models).await?;
    let head = log.head().await?;
    let (mut continuity, mut redemptions) = (Continuity::default(), Redemptions::default());
    let mut findings = Findings::default();
    let mut whole = Checkpoint::default();
    let mut pages = ReadAhead::new(log, 0, head, &[]);
    while let Some(page) = pages.next().await? {
        for event in &page.events {
            continuity.check(event).into_iter().for_each(|finding| findings.add(finding));
            redemptions.check(event).into_iter().for_each(|finding| findings.add(finding));
            whole.tally.add(event);
            counted.iter_mut().for_each(|counted| counted.add(event));
        }
        progress.at("checking events", page.through, head);
    }
    let commands = check_commands(log.as_ref(), head, &mut findings).await?;
    counted.iter().filter_map(Counted::finding).for_each(|finding| findings.add(finding));
    check_readers(log.as_ref(), &mut findings).await?;
    for guard in log.missing_guards().await? {
        let what = format!("the trigger {guard} is missing or off: what is recorded could have been changed");
        findings.add(Finding { check: Check::Guards, position: None, what });
    }
    Ok(Audit {
        sound: findings.first.is_empty(),
        head,
        events: whole.tally.events,
        streams: continuity.streams(),
        commands,
        digest: whole.tally.hex(),
        checks: findings.outcomes(),
        findings: findings.first,
        projections: counted.into_iter().map(Consumed::from).collect(),
    })
}

async fn counted(models: &ReadModels) -> Result<Vec<Counted>, ReplayError> {
    let snapshot = models.snapshot().await?;
    let mut counted = Vec::new();
    for projector in catalogue() {
        let live = checkpoint::load(&snapshot, projector.table()).await?;
        counted.push(Counted { projector, live, log: Checkpoint::default() });
    }
    Ok(counted)
}

impl Counted {
    fn add(&mut self, event: &Recorded) {
        if event.position <= self.live.position && self.projector.consumes(&event.aggregate_type) {
            self.log.tally.add(event);
        }
    }

    fn finding(&self) -> Option<Finding> {
        let what = format!(
            "{} says it consumed {} events up to {}; the log holds {} for it, or others",
            self.projector.name(),
            self.live.tally.events,
            self.live.position,
            self.log.tally.events
        );
        (self.live.tally != self.log.tally).then_some(Finding { check: Check::Projections, position: None, what })
    }
}

impl From<Counted> for Consumed {
    fn from(counted: Counted) -> Self {
        Self {
            projection: counted.projector.name().to_owned(),
            position: counted.live.position,
            events: counted.live.tally.events,
            events_in_log: counted.log.tally.events,
            digest: counted.live.tally.hex(),
            digest_of_log: counted.log.tally.hex(),
        }
    }
}

async fn check_readers(log: &dyn Log, findings: &mut Findings) -> Result<(), ReplayError> {
    let positions = log.reader_positions().await?;
    let head = log.head().await?;
    let beyond = |(reader, position): &(String, u64)| reader != alert_watch::READER && *position > head;
    for (reader, position) in positions.into_iter().filter(beyond) {
        let what = format!("{reader} has handled events up to {position}, but the log ends at {head}");
        findings.add(Finding { check: Check::Readers, position: Some(position), what });
    }
    Ok(())
}

/// Checks kept commands up to `head`; answers how many there are.
async fn check_commands(log: &dyn Log, head: u64, findings: &mut Findings) -> Result<u64, ReplayError> {
    let (mut count, mut after) = (0, None);
    loop {
        let commands = log.commands(after, COMMANDS_PER_PAGE).await?;
        let Some(last) = commands.last() else { return Ok(count) };
        after = Some((last.tenant, last.key.clone()));
        count += commands.len() as u64;
        // What was appended since the audit began is left to the next one.
        let grown = log.head().await?.max(head);
        commands.iter().filter_map(|command| misplaced(command, grown)).for_each(|finding| findings.add(finding));
    }
}

fn misplaced(CommandUnderKey { tenant, key, kept }: &CommandUnderKey, head: u64) -> Option<Finding> {
    let (first, last) = (kept.first_position, kept.last_position);
    let without_events = first == 0 && last == 0;
    let exist = 1 <= first && first <= last && last <= head;
    let what = format!("the command {key} of {tenant} names the events {first} to {last}, which do not exist");
    (!without_events && !exist).then_some(Finding { check: Check::Commands, position: Some(first), what })
}
