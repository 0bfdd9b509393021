//! The time at which curtailment runs start and end.

use std::time::Duration;

use async_trait::async_trait;
use cqrs_es::Aggregate;
use domain::event::{DecodeError, Recorded};
use domain::hosting::curtailment_run::run::Run;
use domain::hosting::curtailment_run::{CurtailmentRun, CurtailmentRunCommand, CurtailmentRunEvent};

use super::{Gateway, Notice};
use crate::bus::{CommandBus, CommandError};
use crate::context::CommandContext;

/// How often a run is looked at: operators may have moved it on meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Runs that are waited for at the same time.
const RUNS_AT_ONCE: usize = 10_000;

/// The gateway to the clock.
pub struct CurtailmentClock;

#[async_trait]
impl Gateway for CurtailmentClock {
    fn name(&self) -> &'static str {
        "curtailment_clock"
    }

    fn consumes(&self) -> &'static str {
        CurtailmentRun::TYPE
    }

    fn at_once(&self) -> usize {
        RUNS_AT_ONCE
    }

    fn notice(&self, event: &Recorded) -> Result<Notice, DecodeError> {
        Ok(event.decode::<CurtailmentRun>()?.map_or(Notice::Continues, |event| match event {
            CurtailmentRunEvent::Planned { .. } => Notice::Begins,
            CurtailmentRunEvent::Started { .. }
            | CurtailmentRunEvent::TargetMoved { .. }
            | CurtailmentRunEvent::Activated { .. }
            | CurtailmentRunEvent::RestoreStarted { .. } => Notice::Continues,
            CurtailmentRunEvent::Completed
            | CurtailmentRunEvent::CompletedWithFailures { .. }
            | CurtailmentRunEvent::Cancelled { .. } => Notice::Ends,
        }))
    }

    async fn perform(&self, bus: &CommandBus, id: &str) -> Result<(), String> {
        while let Some(run) = open_run(bus, id).await? {
            if let Some(command) = run.due(bus.clock().now()) {
                give(bus, id, command).await?;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

async fn open_run(bus: &CommandBus, id: &str) -> Result<Option<Run>, String> {
    Ok(match bus.last_seen::<CurtailmentRun>(id).await.map_err(|error| error.to_string())? {
        CurtailmentRun::Known(run) if !run.is_over() => Some(run),
        CurtailmentRun::Known(_) | CurtailmentRun::Unknown => None,
    })
}

async fn give(bus: &CommandBus, id: &str, command: CurtailmentRunCommand) -> Result<(), String> {
    let stream = bus.log().read_stream(CurtailmentRun::TYPE, id, 0).await.map_err(|error| error.to_string())?;
    let Some(planned) = stream.first() else { return Ok(()) };
    let purpose = match command {
        CurtailmentRunCommand::Start => "start",
        CurtailmentRunCommand::Restore => "end",
        CurtailmentRunCommand::Cancel { .. } => "give_up",
        CurtailmentRunCommand::Plan { .. } | CurtailmentRunCommand::RecordOutcome { .. } => return Ok(()),
    };
    let context =
        CommandContext::caused_by(planned, "gateway:curtailment_clock".to_owned(), purpose, bus.clock().new_id());
    match bus.execute::<CurtailmentRun>(id, command, &context.map_err(|error| error.to_string())?).await {
        // An operator was faster.
        Ok(_) | Err(CommandError::Refused(_)) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}
