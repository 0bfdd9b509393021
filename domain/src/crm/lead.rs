//! A lead: somebody who may become a customer.
//!
//! NEW → CONTACTED → QUALIFIED → NEGOTIATION → WON; steps may be skipped forward but never taken back, WON is reached
//! from NEGOTIATION only, LOST from every open status. WON and LOST are final, and a closed lead no longer changes:
//! what a process reads of a won lead is therefore what it was when it was won.

use std::fmt;

use chrono::{DateTime, NaiveDate, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::crm::change::Change;
use crate::crm::field::{self, FieldError};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

/// How far a lead has come. Ordered: later is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum LeadStatus {
    New,
    Contacted,
    Qualified,
    Negotiation,
    Won,
    Lost,
}

impl LeadStatus {
    /// Every status, in order.
    pub const ALL: [Self; 6] = [Self::New, Self::Contacted, Self::Qualified, Self::Negotiation, Self::Won, Self::Lost];

    /// The word that the document uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Contacted => "CONTACTED",
            Self::Qualified => "QUALIFIED",
            Self::Negotiation => "NEGOTIATION",
            Self::Won => "WON",
            Self::Lost => "LOST",
        }
    }

    /// The status of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }

    /// Whether the lead is neither won nor lost.
    pub fn is_open(self) -> bool {
        self < Self::Won
    }

    /// Whether a lead may go from this status to `next`.
    pub fn may_become(self, next: Self) -> bool {
        match next {
            Self::New => false,
            Self::Contacted | Self::Qualified | Self::Negotiation => self < next,
            Self::Won => self == Self::Negotiation,
            Self::Lost => self.is_open(),
        }
    }
}

impl fmt::Display for LeadStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeadDetails {
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub company: Option<String>,
    /// Where the lead came from, such as `website`.
    pub source: Option<String>,
    pub next_follow_up: Option<NaiveDate>,
    /// What the sale may be worth.
    pub estimated_value: Option<Decimal>,
    /// Such as `high`.
    pub interest_level: Option<String>,
    pub notes: Option<String>,
}

/// A partial update; what is kept is not stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeadChanges {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub email: Change<String>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub phone: Change<String>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub company: Change<String>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub source: Change<String>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub next_follow_up: Change<NaiveDate>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub estimated_value: Change<Decimal>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub interest_level: Change<String>,
    #[serde(skip_serializing_if = "Change::is_keep")]
    pub notes: Change<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeadEvent {
    Created {
        /// The number that clients know the lead by.
        id: i64,
        details: LeadDetails,
    },
    Changed {
        changes: LeadChanges,
    },
    StatusChanged {
        from: LeadStatus,
        to: LeadStatus,
        /// Why the lead was lost; only with LOST.
        lost_reason: Option<String>,
    },
}

event_names!(LeadEvent {
    Created => "lead.created" 1,
    Changed => "lead.changed" 1,
    StatusChanged => "lead.status_changed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeadError {
    #[error("there is no such lead")]
    NotFound,
    #[error("this lead exists already")]
    AlreadyExists,
    #[error("the lead is {from} and cannot become {to}")]
    IllegalTransition { from: LeadStatus, to: LeadStatus },
    #[error("the lead is {0} and no longer changes")]
    Closed(LeadStatus),
    #[error("lost_reason goes with the status LOST only")]
    ReasonWithoutLoss,
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Refusal for LeadError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyExists => RefusalKind::AlreadyExists,
            Self::IllegalTransition { .. } | Self::Closed(_) => RefusalKind::IllegalState,
            Self::ReasonWithoutLoss | Self::Field(_) => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "lead.not_found",
            Self::AlreadyExists => "lead.already_exists",
            Self::IllegalTransition { .. } => "lead.illegal_transition",
            Self::Closed(_) => "lead.closed",
            Self::ReasonWithoutLoss => "lead.reason_without_loss",
            Self::Field(_) => "lead.invalid_field",
        }
    }
}

#[derive(Debug, Clone)]
pub enum LeadCommand {
    /// Records a new lead under the number `id`.
    Create { id: i64, details: LeadDetails },
    /// Changes what is known of an open lead.
    Change { changes: LeadChanges },
    /// Moves the lead on, to WON or to LOST.
    ChangeStatus { to: LeadStatus, lost_reason: Option<String> },
}

/// Whether a lead exists, what is known of it and how far it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lead {
    #[default]
    Unknown,
    Known {
        id: i64,
        details: Box<LeadDetails>,
        status: LeadStatus,
    },
}

impl Decider for Lead {
    fn decide(&self, command: LeadCommand, _now: DateTime<Utc>) -> Result<Vec<LeadEvent>, LeadError> {
        match (self, command) {
            (Self::Unknown, LeadCommand::Create { id, details }) => {
                details.check()?;
                Ok(vec![LeadEvent::Created { id, details }])
            }
            (Self::Known { .. }, LeadCommand::Create { .. }) => Err(LeadError::AlreadyExists),
            (Self::Unknown, LeadCommand::Change { .. } | LeadCommand::ChangeStatus { .. }) => Err(LeadError::NotFound),
            (Self::Known { details, status, .. }, LeadCommand::Change { changes }) => change(details, *status, changes),
            (Self::Known { status, .. }, LeadCommand::ChangeStatus { to, lost_reason }) => {
                change_status(*status, to, lost_reason)
            }
        }
    }
}

fn change(details: &LeadDetails, status: LeadStatus, changes: LeadChanges) -> Result<Vec<LeadEvent>, LeadError> {
    if !status.is_open() {
        return Err(LeadError::Closed(status));
    }
    let changes = changes.against(details);
    if changes == LeadChanges::default() {
        return Ok(vec![]);
    }
    let mut outcome = details.clone();
    changes.clone().apply_to(&mut outcome);
    outcome.check()?;
    Ok(vec![LeadEvent::Changed { changes }])
}

fn change_status(from: LeadStatus, to: LeadStatus, lost_reason: Option<String>) -> Result<Vec<LeadEvent>, LeadError> {
    if !from.may_become(to) {
        return Err(LeadError::IllegalTransition { from, to });
    }
    if lost_reason.is_some() && to != LeadStatus::Lost {
        return Err(LeadError::ReasonWithoutLoss);
    }
    field::line("lost_reason", lost_reason.as_deref(), field::LINE_MAX)?;
    Ok(vec![LeadEvent::StatusChanged { from, to, lost_reason }])
}

impl LeadDetails {
    fn check(&self) -> Result<(), FieldError> {
        field::required("name", &self.name, field::NAME_MAX)?;
        field::email(self.email.as_deref())?;
        field::line("phone", self.phone.as_deref(), field::PHONE_MAX)?;
        field::line("company", self.company.as_deref(), field::NAME_MAX)?;
        field::line("source", self.source.as_deref(), field::WORD_MAX)?;
        field::date("next_follow_up", self.next_follow_up)?;
        field::line("interest_level", self.interest_level.as_deref(), field::WORD_MAX)?;
        field::lines("notes", self.notes.as_deref(), field::NOTES_MAX)?;
        self.estimated_value.map_or(Ok(()), |value| field::amount("estimated_value", value))
    }
}

impl LeadChanges {
    /// The part of the update that makes a difference to `present`.
    fn against(self, present: &LeadDetails) -> Self {
        Self {
            name: self.name.filter(|name| *name != present.name),
            email: self.email.against(present.email.as_ref()),
            phone: self.phone.against(present.phone.as_ref()),
            company: self.company.against(present.company.as_ref()),
            source: self.source.against(present.source.as_ref()),
            next_follow_up: self.next_follow_up.against(present.next_follow_up.as_ref()),
            estimated_value: self.estimated_value.against(present.estimated_value.as_ref()),
            interest_level: self.interest_level.against(present.interest_level.as_ref()),
            notes: self.notes.against(present.notes.as_ref()),
        }
    }

    /// Folds the update into `details`.
    pub fn apply_to(self, details: &mut LeadDetails) {
        if let Some(name) = self.name {
            details.name = name;
        }
        self.email.apply_to(&mut details.email);
        self.phone.apply_to(&mut details.phone);
        self.company.apply_to(&mut details.company);
        self.source.apply_to(&mut details.source);
        self.next_follow_up.apply_to(&mut details.next_follow_up);
        self.estimated_value.apply_to(&mut details.estimated_value);
        self.interest_level.apply_to(&mut details.interest_level);
        self.notes.apply_to(&mut details.notes);
    }
}

impl cqrs_es::Aggregate for Lead {
    const TYPE: &'static str = "lead";
    type Command = LeadCommand;
    type Event = LeadEvent;
    type Error = LeadError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: LeadEvent) {
        match event {
            LeadEvent::Created { id, details } => {
                *self = Self::Known { id, details: Box::new(details), status: LeadStatus::New };
            }
            LeadEvent::Changed { changes } => {
                if let Self::Known { details, .. } = self {
                    changes.apply_to(details);
                }
            }
            LeadEvent::StatusChanged { to, .. } => {
                if let Self::Known { status, .. } = self {
                    *status = to;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use serde_json::json;

    use super::*;

    fn details() -> LeadDetails {
        LeadDetails {
            name: "Potential Customer".into(),
            email: Some("lead@example.com".into()),
            source: Some("website".into()),
            next_follow_up: NaiveDate::from_ymd_opt(2025, 2, 1),
            estimated_value: Some(Decimal::from(100_000)),
            ..LeadDetails::default()
        }
    }
    fn created() -> LeadEvent {
        LeadEvent::Created { id: 1, details: details() }
    }
    fn moved(from: LeadStatus, to: LeadStatus) -> LeadEvent {
        LeadEvent::StatusChanged { from, to, lost_reason: None }
    }
    fn move_to(to: LeadStatus) -> LeadCommand {
        LeadCommand::ChangeStatus { to, lost_reason: None }
    }
    fn given(events: Vec<LeadEvent>) -> cqrs_es::test::AggregateTestExecutor<Lead> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }
    /// A lead that has come as far as `status`.
    fn at(status: LeadStatus) -> Vec<LeadEvent> {
        match status {
            LeadStatus::New => vec![created()],
            LeadStatus::Contacted | LeadStatus::Qualified | LeadStatus::Negotiation | LeadStatus::Lost => {
                vec![created(), moved(LeadStatus::New, status)]
            }
            LeadStatus::Won => vec![
                created(),
                moved(LeadStatus::New, LeadStatus::Negotiation),
                moved(LeadStatus::Negotiation, LeadStatus::Won),
            ],
        }
    }

    #[test]
    fn a_lead_is_created_once() {
        let create = LeadCommand::Create { id: 1, details: details() };
        given(vec![]).when(create.clone()).then_expect_events(vec![created()]);
        given(vec![created()]).when(create).then_expect_error(LeadError::AlreadyExists);
    }

    #[test]
    fn impossible_details_are_refused() {
        let refused = |details: LeadDetails, error: FieldError| {
            given(vec![]).when(LeadCommand::Create { id: 1, details }).then_expect_error(LeadError::Field(error));
        };
        refused(LeadDetails { name: " ".into(), ..details() }, FieldError::Empty { field: "name" });
        refused(LeadDetails { email: Some("nobody".into()), ..details() }, FieldError::NotAnEmail);
        let value = Some(Decimal::from(-1));
        let error = FieldError::AmountOutOfRange { field: "estimated_value" };
        refused(LeadDetails { estimated_value: value, ..details() }, error);
        let notes = Some("n".repeat(field::NOTES_MAX + 1));
        refused(LeadDetails { notes, ..details() }, FieldError::TooLong { field: "notes", max: field::NOTES_MAX });
    }

    #[test]
    fn an_update_stores_only_what_differs() {
        let changes = LeadChanges {
            name: Some(details().name),
            source: Change::Set("referral".into()),
            next_follow_up: Change::Clear,
            phone: Change::Clear,
            ..LeadChanges::default()
        };
        let stored = LeadChanges {
            source: Change::Set("referral".into()),
            next_follow_up: Change::Clear,
            ..LeadChanges::default()
        };
        given(vec![created()])
            .when(LeadCommand::Change { changes: changes.clone() })
            .then_expect_events(vec![LeadEvent::Changed { changes: stored.clone() }]);
        given(vec![created(), LeadEvent::Changed { changes: stored }])
            .when(LeadCommand::Change { changes })
            .then_expect_events(vec![]);
    }

    #[test]
    fn an_update_obeys_the_same_limits_and_ends_with_the_lead() {
        let wrong = LeadChanges { name: Some(String::new()), ..LeadChanges::default() };
        given(vec![created()])
            .when(LeadCommand::Change { changes: wrong.clone() })
            .then_expect_error(LeadError::Field(FieldError::Empty { field: "name" }));
        given(vec![]).when(LeadCommand::Change { changes: wrong }).then_expect_error(LeadError::NotFound);
        for status in [LeadStatus::Won, LeadStatus::Lost] {
            let changes = LeadChanges { source: Change::Set("referral".into()), ..LeadChanges::default() };
            given(at(status)).when(LeadCommand::Change { changes }).then_expect_error(LeadError::Closed(status));
        }
    }

    #[test]
    fn every_transition_is_as_the_table_says() {
        use LeadStatus::{Contacted, Lost, Negotiation, New, Qualified, Won};
        let legal = [
            (New, vec![Contacted, Qualified, Negotiation, Lost]),
            (Contacted, vec![Qualified, Negotiation, Lost]),
            (Qualified, vec![Negotiation, Lost]),
            (Negotiation, vec![Won, Lost]),
            (Won, vec![]),
            (Lost, vec![]),
        ];
        for (from, reachable) in legal {
            for to in LeadStatus::ALL {
                let outcome = given(at(from)).when(move_to(to));
                if reachable.contains(&to) {
                    outcome.then_expect_events(vec![moved(from, to)]);
                } else {
                    outcome.then_expect_error(LeadError::IllegalTransition { from, to });
                }
            }
        }
        given(vec![]).when(move_to(Contacted)).then_expect_error(LeadError::NotFound);
    }

    #[test]
    fn a_refusal_names_the_present_status() {
        let error = LeadError::IllegalTransition { from: LeadStatus::Qualified, to: LeadStatus::New };
        assert_eq!(error.to_string(), "the lead is QUALIFIED and cannot become NEW");
    }

    #[test]
    fn only_a_loss_has_a_reason() {
        let reason = Some("too expensive".to_owned());
        let lose = |to| LeadCommand::ChangeStatus { to, lost_reason: reason.clone() };
        given(vec![created()]).when(lose(LeadStatus::Lost)).then_expect_events(vec![LeadEvent::StatusChanged {
            from: LeadStatus::New,
            to: LeadStatus::Lost,
            lost_reason: reason.clone(),
        }]);
        given(vec![created()]).when(lose(LeadStatus::Contacted)).then_expect_error(LeadError::ReasonWithoutLoss);
    }

    #[test]
    fn events_are_stored_in_this_form() {
        let golden = [
            (
                created(),
                json!({"created": {"id": 1, "details": {
                    "name": "Potential Customer", "email": "lead@example.com", "phone": null, "company": null,
                    "source": "website", "next_follow_up": "2025-02-01", "estimated_value": "100000",
                    "interest_level": null, "notes": null}}}),
            ),
            (
                LeadEvent::Changed {
                    changes: LeadChanges {
                        name: Some("N".into()),
                        phone: Change::Clear,
                        estimated_value: Change::Set(Decimal::new(1_050, 2)),
                        ..LeadChanges::default()
                    },
                },
                json!({"changed": {"changes": {"name": "N", "phone": "clear", "estimated_value": {"set": "10.50"}}}}),
            ),
            (
                moved(LeadStatus::Negotiation, LeadStatus::Won),
                json!({"status_changed": {"from": "NEGOTIATION", "to": "WON", "lost_reason": null}}),
            ),
        ];
        for (event, stored) in golden {
            assert_eq!(serde_json::to_value(&event).unwrap(), stored);
            assert_eq!(serde_json::from_value::<LeadEvent>(stored).unwrap(), event);
        }
    }
}
