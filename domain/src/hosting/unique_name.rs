//! Names that only one thing of a tenant may have: the slug of a site, the serial number of a miner. The stream is
//! named after the name, so the log keeps it unique without a look-up.

use chrono::{DateTime, TimeDelta, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::metadata::TenantId;
use crate::refusal::{Refusal, RefusalKind};

/// After this long a name whose holder never came into being may be taken by another.
pub const ABANDONED_AFTER: TimeDelta = TimeDelta::seconds(60);

/// What a name is a name of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameOf {
    Site,
    Miner,
}

/// The stream of a name. Letters count the same in either case.
pub fn stream_id(tenant: TenantId, of: NameOf, name: &str) -> String {
    let kind = match of {
        NameOf::Site => "site_slug",
        NameOf::Miner => "serial_number",
    };
    format!("{tenant}/{kind}/{}", name.to_lowercase())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UniqueNameEvent {
    Taken {
        /// Number of the site or miner.
        holder: i64,
        taken_at: DateTime<Utc>,
    },
    /// The holder was refused, the name is free again.
    Freed { holder: i64 },
}

event_names!(UniqueNameEvent {
    Taken => "unique_name.taken" 1,
    Freed => "unique_name.freed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UniqueNameError {
    /// The number says whose it is.
    #[error("this name is already in use")]
    InUse { holder: i64 },
}

impl Refusal for UniqueNameError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::InUse { .. } => RefusalKind::AlreadyExists,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::InUse { .. } => "unique_name.in_use",
        }
    }
}

#[derive(Debug, Clone)]
pub enum UniqueNameCommand {
    /// Gives the name to `holder`, unless another has it.
    Take {
        holder: i64,
        /// A holder that the caller looked for and did not find: it may lose the name, [`ABANDONED_AFTER`].
        missing: Option<i64>,
    },
    /// Gives the name back; without effect when `holder` does not have it.
    Free { holder: i64 },
}

/// Who has the name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum UniqueName {
    #[default]
    Free,
    Taken {
        holder: i64,
        taken_at: DateTime<Utc>,
    },
}

impl Decider for UniqueName {
    fn decide(&self, command: UniqueNameCommand, now: DateTime<Utc>) -> Result<Vec<UniqueNameEvent>, UniqueNameError> {
        match command {
            UniqueNameCommand::Take { holder, missing } => self.take(holder, missing, now),
            UniqueNameCommand::Free { holder } => match self {
                Self::Taken { holder: present, .. } if *present == holder => {
                    Ok(vec![UniqueNameEvent::Freed { holder }])
                }
                Self::Taken { .. } | Self::Free => Ok(vec![]),
            },
        }
    }
}

impl UniqueName {
    fn take(
        &self,
        holder: i64,
        missing: Option<i64>,
        now: DateTime<Utc>,
    ) -> Result<Vec<UniqueNameEvent>, UniqueNameError> {
        if let Self::Taken { holder: present, taken_at } = self {
            if *present == holder {
                return Ok(vec![]);
            }
            let abandoned = missing == Some(*present) && now - *taken_at >= ABANDONED_AFTER;
            if !abandoned {
                return Err(UniqueNameError::InUse { holder: *present });
            }
        }
        Ok(vec![UniqueNameEvent::Taken { holder, taken_at: now }])
    }
}

impl cqrs_es::Aggregate for UniqueName {
    const TYPE: &'static str = "unique_name";
    type Command = UniqueNameCommand;
    type Event = UniqueNameEvent;
    type Error = UniqueNameError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: UniqueNameEvent) {
        *self = match event {
            UniqueNameEvent::Taken { holder, taken_at } => Self::Taken { holder, taken_at },
            UniqueNameEvent::Freed { .. } => Self::Free,
        };
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }
    fn taken(holder: i64, seconds_before_noon: i64) -> UniqueNameEvent {
        UniqueNameEvent::Taken { holder, taken_at: noon() - TimeDelta::seconds(seconds_before_noon) }
    }
    fn take(holder: i64) -> UniqueNameCommand {
        UniqueNameCommand::Take { holder, missing: None }
    }
    fn given(events: Vec<UniqueNameEvent>) -> cqrs_es::test::AggregateTestExecutor<UniqueName> {
        TestFramework::with(Now(noon())).given(events)
    }

    #[test]
    fn the_first_one_has_the_name() {
        given(vec![]).when(take(1)).then_expect_events(vec![taken(1, 0)]);
        given(vec![taken(1, 0)]).when(take(1)).then_expect_events(vec![]);
        given(vec![taken(1, 999)]).when(take(2)).then_expect_error(UniqueNameError::InUse { holder: 1 });
    }

    #[test]
    fn a_freed_name_is_free_and_only_the_holder_frees_it() {
        let freed = UniqueNameEvent::Freed { holder: 1 };
        given(vec![taken(1, 0)]).when(UniqueNameCommand::Free { holder: 1 }).then_expect_events(vec![freed.clone()]);
        given(vec![taken(1, 0)]).when(UniqueNameCommand::Free { holder: 2 }).then_expect_events(vec![]);
        given(vec![taken(1, 0), freed]).when(take(2)).then_expect_events(vec![taken(2, 0)]);
    }

    #[test]
    fn an_abandoned_name_is_taken_over_after_a_while() {
        let missing = |of| UniqueNameCommand::Take { holder: 2, missing: Some(of) };
        given(vec![taken(1, 60)]).when(missing(1)).then_expect_events(vec![taken(2, 0)]);
        given(vec![taken(1, 59)]).when(missing(1)).then_expect_error(UniqueNameError::InUse { holder: 1 });
        given(vec![taken(1, 60)]).when(missing(3)).then_expect_error(UniqueNameError::InUse { holder: 1 });
    }

    #[test]
    fn streams_differ_by_tenant_and_kind_but_not_by_case() {
        let id = |of, name| stream_id(TenantId::DEFAULT, of, name);
        assert_eq!(id(NameOf::Miner, "SN-1"), "00000000-0000-0000-0000-000000000001/serial_number/sn-1");
        assert_eq!(id(NameOf::Miner, "SN-1"), id(NameOf::Miner, "sn-1"));
        assert_ne!(id(NameOf::Miner, "a"), id(NameOf::Site, "a"));
    }
}
