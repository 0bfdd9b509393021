//! A deal: what a customer may buy, for how much, and how likely.
//!
//! A deal moves freely between its open stages; won and lost are final, and a closed deal no longer changes. A stage
//! brings its default probability, but never overwrites one that was set by hand, not even when the deal is closed;
//! clearing the probability returns it to the stage.

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

/// Where in the sale a deal stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DealStage {
    #[default]
    Prospecting,
    Qualification,
    Proposal,
    Negotiation,
    Won,
    Lost,
}

impl DealStage {
    /// Every stage, in the order of a sale.
    pub const ALL: [Self; 6] =
        [Self::Prospecting, Self::Qualification, Self::Proposal, Self::Negotiation, Self::Won, Self::Lost];

    /// The word that the document uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prospecting => "prospecting",
            Self::Qualification => "qualification",
            Self::Proposal => "proposal",
            Self::Negotiation => "negotiation",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }

    /// The stage of that name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }

    /// Whether the deal is neither won nor lost.
    pub fn is_open(self) -> bool {
        match self {
            Self::Prospecting | Self::Qualification | Self::Proposal | Self::Negotiation => true,
            Self::Won | Self::Lost => false,
        }
    }

    /// How likely a deal of this stage is won, in percent, unless somebody knows better.
    pub fn default_probability(self) -> u8 {
        match self {
            Self::Prospecting => 10,
            Self::Qualification => 25,
            Self::Proposal => 50,
            Self::Negotiation => 70,
            Self::Won => 100,
            Self::Lost => 0,
        }
    }
}

impl fmt::Display for DealStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a deal is about, apart from its stage and probability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealDetails {
    pub title: String,
    /// The number of the customer.
    pub customer_id: i64,
    pub amount: Decimal,
    pub expected_close: Option<NaiveDate>,
}

/// A partial update of an open deal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DealChanges {
    pub title: Option<String>,
    pub amount: Option<Decimal>,
    pub expected_close: Change<NaiveDate>,
    /// In percent; clearing it returns it to the default of the stage.
    pub probability: Change<u8>,
    pub stage: Option<DealStage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DealEvent {
    Created {
        /// The number that clients know the deal by.
        id: i64,
        details: DealDetails,
        stage: DealStage,
        /// In percent.
        probability: u8,
        /// Whether somebody set the probability, so that no stage overwrites it.
        probability_by_hand: bool,
        /// The number of the won lead that brought the deal.
        from_lead: Option<i64>,
    },
    Changed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        amount: Option<Decimal>,
        #[serde(default, skip_serializing_if = "Change::is_keep")]
        expected_close: Change<NaiveDate>,
    },
    ProbabilityChanged {
        /// In percent.
        probability: u8,
        by_hand: bool,
    },
    StageChanged {
        from: DealStage,
        to: DealStage,
        /// In percent, in the new stage.
        probability: u8,
    },
}

event_names!(DealEvent {
    Created => "deal.created" 1,
    Changed => "deal.changed" 1,
    ProbabilityChanged => "deal.probability_changed" 1,
    StageChanged => "deal.stage_changed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DealError {
    #[error("there is no such deal")]
    NotFound,
    #[error("this deal exists already")]
    AlreadyExists,
    #[error("the deal is {0} and no longer changes")]
    Closed(DealStage),
    #[error("a new deal cannot be {0}")]
    CreatedClosed(DealStage),
    #[error("probability must be between 0 and 100")]
    ProbabilityOutOfRange,
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Refusal for DealError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyExists => RefusalKind::AlreadyExists,
            Self::Closed(_) => RefusalKind::IllegalState,
            Self::CreatedClosed(_) | Self::ProbabilityOutOfRange | Self::Field(_) => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "deal.not_found",
            Self::AlreadyExists => "deal.already_exists",
            Self::Closed(_) => "deal.closed",
            Self::CreatedClosed(_) => "deal.created_closed",
            Self::ProbabilityOutOfRange => "deal.probability_out_of_range",
            Self::Field(_) => "deal.invalid_field",
        }
    }
}

#[derive(Debug, Clone)]
pub enum DealCommand {
    /// Records a new, open deal under the number `id`; without `probability` the stage gives it.
    Create { id: i64, details: DealDetails, stage: DealStage, probability: Option<u8>, from_lead: Option<i64> },
    /// Changes an open deal, its stage included, in one step.
    Change { changes: DealChanges },
}

/// Whether a deal exists and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deal {
    #[default]
    Unknown,
    Known(DealState),
}

/// An existing deal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DealState {
    details: DealDetails,
    stage: DealStage,
    probability: u8,
    probability_by_hand: bool,
}

impl Decider for Deal {
    fn decide(&self, command: DealCommand, _now: DateTime<Utc>) -> Result<Vec<DealEvent>, DealError> {
        match (self, command) {
            (Self::Unknown, DealCommand::Create { id, details, stage, probability, from_lead }) => {
                can_be_created(&details, stage, probability)?;
                Ok(vec![DealEvent::Created {
                    id,
                    details,
                    stage,
                    probability: probability.unwrap_or(stage.default_probability()),
                    probability_by_hand: probability.is_some(),
                    from_lead,
                }])
            }
            (Self::Known(_), DealCommand::Create { .. }) => Err(DealError::AlreadyExists),
            (Self::Unknown, DealCommand::Change { .. }) => Err(DealError::NotFound),
            (Self::Known(deal), DealCommand::Change { changes }) => deal.change(changes),
        }
    }
}

fn can_be_created(details: &DealDetails, stage: DealStage, probability: Option<u8>) -> Result<(), DealError> {
    details.check()?;
    if !stage.is_open() {
        return Err(DealError::CreatedClosed(stage));
    }
    in_percent(probability)
}

fn in_percent(probability: Option<u8>) -> Result<(), DealError> {
    if probability.is_some_and(|percent| percent > 100) { Err(DealError::ProbabilityOutOfRange) } else { Ok(()) }
}

impl DealDetails {
    fn check(&self) -> Result<(), FieldError> {
        field::required("title", &self.title, field::NAME_MAX)?;
        field::amount("amount", self.amount)?;
        field::date("expected_close", self.expected_close)
    }

    fn change(&mut self, title: Option<String>, amount: Option<Decimal>, expected_close: Change<NaiveDate>) {
        if let Some(title) = title {
            self.title = title;
        }
        if let Some(amount) = amount {
            self.amount = amount;
        }
        expected_close.apply_to(&mut self.expected_close);
    }
}

impl DealState {
    fn change(&self, changes: DealChanges) -> Result<Vec<DealEvent>, DealError> {
        if !self.stage.is_open() {
            return Err(DealError::Closed(self.stage));
        }
        let DealChanges { title, amount, expected_close, probability, stage } = changes;
        in_percent(probability.value().copied())?;
        let details = self.change_details(title, amount, expected_close)?;
        Ok([details, self.change_stage(probability, stage), self.change_probability(probability, stage)]
            .into_iter()
            .flatten()
            .collect())
    }

    fn change_details(
        &self,
        title: Option<String>,
        amount: Option<Decimal>,
        expected_close: Change<NaiveDate>,
    ) -> Result<Option<DealEvent>, DealError> {
        let title = title.filter(|title| *title != self.details.title);
        let amount = amount.filter(|amount| *amount != self.details.amount);
        let expected_close = expected_close.against(self.details.expected_close.as_ref());
        let mut changed = self.details.clone();
        changed.change(title.clone(), amount, expected_close);
        if changed == self.details {
            return Ok(None);
        }
        changed.check()?;
        Ok(Some(DealEvent::Changed { title, amount, expected_close }))
    }

    fn change_stage(&self, probability: Change<u8>, stage: Option<DealStage>) -> Option<DealEvent> {
        let to = stage.filter(|stage| *stage != self.stage)?;
        let probability = self.probability_in(to, probability).0;
        Some(DealEvent::StageChanged { from: self.stage, to, probability })
    }

    /// The event of a probability set or cleared by hand; a new stage alone tells its probability itself.
    fn change_probability(&self, change: Change<u8>, stage: Option<DealStage>) -> Option<DealEvent> {
        let (probability, by_hand) = self.probability_in(stage.unwrap_or(self.stage), change);
        let alike = by_hand == self.probability_by_hand && (probability == self.probability || !by_hand);
        if alike { None } else { Some(DealEvent::ProbabilityChanged { probability, by_hand }) }
    }

    /// The probability of the deal in `stage` after `change`, and whether it is set by hand.
    fn probability_in(&self, stage: DealStage, change: Change<u8>) -> (u8, bool) {
        match change {
            Change::Set(percent) => (percent, true),
            Change::Keep if self.probability_by_hand => (self.probability, true),
            Change::Keep | Change::Clear => (stage.default_probability(), false),
        }
    }
}

impl cqrs_es::Aggregate for Deal {
    const TYPE: &'static str = "deal";
    type Command = DealCommand;
    type Event = DealEvent;
    type Error = DealError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: DealEvent) {
        match (event, self) {
            (DealEvent::Created { details, stage, probability, probability_by_hand, .. }, deal) => {
                *deal = Self::Known(DealState { details, stage, probability, probability_by_hand });
            }
            (DealEvent::Changed { title, amount, expected_close }, Self::Known(deal)) => {
                deal.details.change(title, amount, expected_close);
            }
            (DealEvent::ProbabilityChanged { probability, by_hand }, Self::Known(deal)) => {
                deal.probability = probability;
                deal.probability_by_hand = by_hand;
            }
            (DealEvent::StageChanged { to, probability, .. }, Self::Known(deal)) => {
                deal.stage = to;
                deal.probability = probability;
            }
            (
                DealEvent::Changed { .. } | DealEvent::ProbabilityChanged { .. } | DealEvent::StageChanged { .. },
                Self::Unknown,
            ) => {}
        }
    }
}

#[cfg(test)]
mod tests;
