//! What an aggregate is: a `cqrs_es::Aggregate` whose decisions are a pure function.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;

use crate::event::{EventNames, Upcaster};
use crate::refusal::Refusal;

/// The moment at which a command is decided, in UTC with microsecond precision.
///
/// It is the `Services` of every aggregate, so that `decide` never reads a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now(pub DateTime<Utc>);

/// A decider: `decide` may refuse, `apply` (evolve) cannot fail.
///
/// `handle` of every aggregate is one line, [`write_decision`]; the executor calls `decide` itself.
pub trait Decider:
    cqrs_es::Aggregate<Services = Now, Command: Clone + Send + Sync, Event: EventNames, Error: Refusal> + Clone + 'static
{
    /// Steps that lift events stored in an older form to the present one, applied in order of their version.
    const UPCASTERS: &'static [Upcaster] = &[];
    /// Names of payload fields that exports and event views must blank, at any depth.
    const SECRET_FIELDS: &'static [&'static str] = &[];

    /// The events that `command` causes at `now`, in order; none when there is nothing to change.
    ///
    /// # Errors
    /// The rule that refuses the command.
    fn decide(&self, command: Self::Command, now: DateTime<Utc>) -> Result<Vec<Self::Event>, Self::Error>;
}

/// The body of every `handle`: decides, then writes each event to `sink`, which applies it.
///
/// # Errors
/// What `decide` refused.
pub async fn write_decision<A: Decider>(
    aggregate: &mut A,
    command: A::Command,
    now: &Now,
    sink: &EventSink<A>,
) -> Result<(), A::Error> {
    for event in aggregate.decide(command, now.0)? {
        sink.write(event, aggregate).await;
    }
    Ok(())
}
