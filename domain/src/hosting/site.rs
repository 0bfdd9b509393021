//! A site: a place with power where miners stand.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::plain_text;
use crate::refusal::{Refusal, RefusalKind};

/// Longest name, location and operator, in characters.
pub const TEXT_CHARS_MAX: usize = 200;
/// Longest slug, in characters.
pub const SLUG_CHARS_MAX: usize = 64;
/// Longest address of mail, in characters.
pub const EMAIL_CHARS_MAX: usize = 254;
/// Largest capacity, in MW.
pub const CAPACITY_MW_MAX: f64 = 10_000.0;
/// Highest price of electricity, in USD a kWh.
pub const ELECTRICITY_USD_PER_KWH_MAX: Decimal = Decimal::TEN;

/// Whether a site runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteStatus {
    Online,
    Offline,
    Maintenance,
}

impl SiteStatus {
    /// The word that requests and answers use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Offline => "offline",
            Self::Maintenance => "maintenance",
        }
    }

    /// The status of that word.
    pub fn of_word(word: &str) -> Option<Self> {
        [Self::Online, Self::Offline, Self::Maintenance].into_iter().find(|status| status.word() == word)
    }
}

/// What can be changed about a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteDetails {
    pub name: String,
    pub location: String,
    /// Power the site can give to miners.
    pub capacity_mw: f64,
    /// Not known when nobody said it.
    pub electricity_usd_per_kwh: Option<Decimal>,
    pub operator_name: Option<String>,
    pub contact_email: Option<String>,
}

/// What is to be changed about a site; whatever is not named stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SiteChanges {
    pub name: Option<String>,
    pub location: Option<String>,
    pub capacity_mw: Option<f64>,
    pub electricity_usd_per_kwh: Option<Decimal>,
    pub operator_name: Option<String>,
    pub contact_email: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SiteEvent {
    Created {
        id: i64,
        /// Name in addresses, unique within the tenant.
        slug: String,
        details: SiteDetails,
    },
    Changed {
        details: SiteDetails,
    },
    StatusChanged {
        status: SiteStatus,
    },
}

event_names!(SiteEvent {
    Created => "site.created" 1,
    Changed => "site.changed" 1,
    StatusChanged => "site.status_changed" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    #[error("there is no such site")]
    NotFound,
    #[error("this site has been created before")]
    AlreadyCreated,
    #[error("a site needs a name of 1 to {TEXT_CHARS_MAX} characters, none of them a control character")]
    NameOutOfRange,
    #[error("the slug must have 1 to {SLUG_CHARS_MAX} characters a-z, 0-9 and '-'")]
    SlugOutOfRange,
    #[error("the location must have 1 to {TEXT_CHARS_MAX} characters, none of them a control character")]
    LocationOutOfRange,
    #[error("the capacity must be above 0 and at most {CAPACITY_MW_MAX} MW")]
    CapacityOutOfRange,
    #[error(
        "the electricity rate must be between 0 and {ELECTRICITY_USD_PER_KWH_MAX} USD/kWh, with at most six decimals"
    )]
    RateOutOfRange,
    #[error("the operator's name must have 1 to {TEXT_CHARS_MAX} characters, none of them a control character")]
    OperatorOutOfRange,
    #[error("this is not an address of mail")]
    EmailOutOfRange,
}

impl Refusal for SiteError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyCreated => RefusalKind::AlreadyExists,
            Self::NameOutOfRange
            | Self::SlugOutOfRange
            | Self::LocationOutOfRange
            | Self::CapacityOutOfRange
            | Self::RateOutOfRange
            | Self::OperatorOutOfRange
            | Self::EmailOutOfRange => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "site.not_found",
            Self::AlreadyCreated => "site.already_created",
            Self::NameOutOfRange => "site.name_out_of_range",
            Self::SlugOutOfRange => "site.slug_out_of_range",
            Self::LocationOutOfRange => "site.location_out_of_range",
            Self::CapacityOutOfRange => "site.capacity_out_of_range",
            Self::RateOutOfRange => "site.rate_out_of_range",
            Self::OperatorOutOfRange => "site.operator_out_of_range",
            Self::EmailOutOfRange => "site.email_out_of_range",
        }
    }
}

#[derive(Debug, Clone)]
pub enum SiteCommand {
    /// Brings a site into being, offline. Its slug has been taken before.
    Create {
        id: i64,
        slug: String,
        details: SiteDetails,
    },
    Change {
        changes: SiteChanges,
    },
    ChangeStatus {
        status: SiteStatus,
    },
}

/// A site as decisions see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Site {
    #[default]
    Unknown,
    Created {
        details: SiteDetails,
        status: SiteStatus,
    },
}

impl SiteDetails {
    fn changed(self, changes: SiteChanges) -> Self {
        Self {
            name: changes.name.unwrap_or(self.name),
            location: changes.location.unwrap_or(self.location),
            capacity_mw: changes.capacity_mw.unwrap_or(self.capacity_mw),
            electricity_usd_per_kwh: changes.electricity_usd_per_kwh.or(self.electricity_usd_per_kwh),
            operator_name: changes.operator_name.or(self.operator_name),
            contact_email: changes.contact_email.or(self.contact_email),
        }
    }

    /// Whether a site can be like this; also asked before its slug is taken.
    ///
    /// # Errors
    /// The first detail that is out of range.
    pub fn check(&self) -> Result<(), SiteError> {
        let text_fits =
            |text: &str| !text.trim().is_empty() && text.chars().count() <= TEXT_CHARS_MAX && plain_text::is_line(text);
        if !text_fits(&self.name) {
            return Err(SiteError::NameOutOfRange);
        }
        if !text_fits(&self.location) {
            return Err(SiteError::LocationOutOfRange);
        }
        if !(self.capacity_mw > 0.0 && self.capacity_mw <= CAPACITY_MW_MAX) {
            return Err(SiteError::CapacityOutOfRange);
        }
        if !self.electricity_usd_per_kwh.is_none_or(rate_fits) {
            return Err(SiteError::RateOutOfRange);
        }
        if self.operator_name.as_deref().is_some_and(|name| !text_fits(name)) {
            return Err(SiteError::OperatorOutOfRange);
        }
        if self.contact_email.as_deref().is_some_and(|email| !is_email(email)) {
            return Err(SiteError::EmailOutOfRange);
        }
        Ok(())
    }
}

/// Whether electricity can cost this much, in USD a kilowatt hour.
pub fn rate_fits(rate: Decimal) -> bool {
    !rate.is_sign_negative() && rate <= ELECTRICITY_USD_PER_KWH_MAX && rate.normalize().scale() <= 6
}

fn is_email(text: &str) -> bool {
    let parts = text.split_once('@');
    text.chars().count() <= EMAIL_CHARS_MAX
        && !text.chars().any(char::is_whitespace)
        && plain_text::is_line(text)
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

/// Whether a text can be the slug of a site.
///
/// # Errors
/// [`SiteError::SlugOutOfRange`]
pub fn check_slug(slug: &str) -> Result<(), SiteError> {
    let fits = (1..=SLUG_CHARS_MAX).contains(&slug.len())
        && slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if fits { Ok(()) } else { Err(SiteError::SlugOutOfRange) }
}

impl Decider for Site {
    fn decide(&self, command: SiteCommand, _now: DateTime<Utc>) -> Result<Vec<SiteEvent>, SiteError> {
        match command {
            SiteCommand::Create { id, slug, details } => {
                if *self != Self::Unknown {
                    return Err(SiteError::AlreadyCreated);
                }
                check_slug(&slug)?;
                details.check()?;
                Ok(vec![SiteEvent::Created { id, slug, details }])
            }
            SiteCommand::Change { changes } => {
                let (present, _) = self.created()?;
                let details = present.clone().changed(changes);
                details.check()?;
                Ok(if *present == details { vec![] } else { vec![SiteEvent::Changed { details }] })
            }
            SiteCommand::ChangeStatus { status } => {
                let (_, present) = self.created()?;
                Ok(if present == status { vec![] } else { vec![SiteEvent::StatusChanged { status }] })
            }
        }
    }
}

impl Site {
    fn created(&self) -> Result<(&SiteDetails, SiteStatus), SiteError> {
        match self {
            Self::Unknown => Err(SiteError::NotFound),
            Self::Created { details, status } => Ok((details, *status)),
        }
    }
}

impl cqrs_es::Aggregate for Site {
    const TYPE: &'static str = "site";
    type Command = SiteCommand;
    type Event = SiteEvent;
    type Error = SiteError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: SiteEvent) {
        match event {
            SiteEvent::Created { details, .. } => *self = Self::Created { details, status: SiteStatus::Offline },
            SiteEvent::Changed { details } => {
                if let Self::Created { details: present, .. } = self {
                    *present = details;
                }
            }
            SiteEvent::StatusChanged { status } => {
                if let Self::Created { status: present, .. } = self {
                    *present = status;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn details() -> SiteDetails {
        SiteDetails {
            name: "New Mining Farm".into(),
            location: "Wyoming".into(),
            capacity_mw: 10.0,
            electricity_usd_per_kwh: Some(Decimal::new(4, 2)),
            operator_name: Some("Operator Name".into()),
            contact_email: Some("operator@example.com".into()),
        }
    }
    fn create(slug: &str, details: SiteDetails) -> SiteCommand {
        SiteCommand::Create { id: 1, slug: slug.into(), details }
    }
    fn created() -> SiteEvent {
        SiteEvent::Created { id: 1, slug: "new-site".into(), details: details() }
    }
    fn given(events: Vec<SiteEvent>) -> cqrs_es::test::AggregateTestExecutor<Site> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn a_site_is_created_once() {
        given(vec![]).when(create("new-site", details())).then_expect_events(vec![created()]);
        given(vec![created()]).when(create("new-site", details())).then_expect_error(SiteError::AlreadyCreated);
    }

    #[test]
    fn impossible_sites_are_refused() {
        let refused = |details: SiteDetails, error| {
            given(vec![]).when(create("new-site", details.clone())).then_expect_error(error);
        };
        let long = "x".repeat(201);
        refused(SiteDetails { name: " ".into(), ..details() }, SiteError::NameOutOfRange);
        refused(SiteDetails { name: long.clone(), ..details() }, SiteError::NameOutOfRange);
        refused(SiteDetails { location: long.clone(), ..details() }, SiteError::LocationOutOfRange);
        for capacity_mw in [0.0, -1.0, f64::NAN, f64::INFINITY, 10_001.0] {
            refused(SiteDetails { capacity_mw, ..details() }, SiteError::CapacityOutOfRange);
        }
        for rate in [Decimal::new(-1, 2), Decimal::from(11), Decimal::new(1, 7)] {
            refused(SiteDetails { electricity_usd_per_kwh: Some(rate), ..details() }, SiteError::RateOutOfRange);
        }
        refused(SiteDetails { operator_name: Some(long), ..details() }, SiteError::OperatorOutOfRange);
        for email in ["", "operator", "@example.com", "a@b@c", "a b@c"] {
            refused(SiteDetails { contact_email: Some(email.into()), ..details() }, SiteError::EmailOutOfRange);
        }
    }

    #[test]
    fn slugs_are_fit_for_addresses() {
        for slug in ["", "New", "a b", "ä", &"x".repeat(65)] {
            given(vec![]).when(create(slug, details())).then_expect_error(SiteError::SlugOutOfRange);
        }
    }

    #[test]
    fn only_changes_are_recorded() {
        let other = SiteDetails { capacity_mw: 12.0, ..details() };
        let changed = SiteEvent::Changed { details: other.clone() };
        let larger = SiteChanges { capacity_mw: Some(12.0), ..SiteChanges::default() };
        let change = SiteCommand::Change { changes: larger };
        given(vec![created()]).when(change.clone()).then_expect_events(vec![changed.clone()]);
        given(vec![created(), changed]).when(change.clone()).then_expect_events(vec![]);
        given(vec![]).when(change).then_expect_error(SiteError::NotFound);
    }

    #[test]
    fn a_site_goes_on_and_off() {
        let online = SiteEvent::StatusChanged { status: SiteStatus::Online };
        let go_online = SiteCommand::ChangeStatus { status: SiteStatus::Online };
        given(vec![created()]).when(go_online.clone()).then_expect_events(vec![online.clone()]);
        given(vec![created(), online]).when(go_online.clone()).then_expect_events(vec![]);
        given(vec![]).when(go_online).then_expect_error(SiteError::NotFound);
        assert_eq!(SiteStatus::of_word("maintenance"), Some(SiteStatus::Maintenance));
    }
}
