//! A customer, entered by hand or made of a won lead.

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Decider, Now, write_decision};
use crate::crm::field::{self, FieldError};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

/// Largest mining capacity of one customer, in megawatts; the whole network draws some tens of thousands.
pub const MINING_CAPACITY_MAX_MW: f64 = 100_000.0;
/// Highest price of electricity, in US dollars per kilowatt-hour.
pub const ELECTRICITY_COST_MAX: Decimal = Decimal::from_parts(10, 0, 0, false, 0);
/// Finest step of the price of electricity, in decimals.
pub const ELECTRICITY_COST_DECIMALS: u32 = 6;

/// Whether business is done with the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerStatus {
    Active,
}

impl CustomerStatus {
    /// The word that the document uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
        }
    }
}

/// What is known of a customer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CustomerDetails {
    pub name: String,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub company: Option<String>,
    pub address: Option<String>,
    /// Such as `enterprise`.
    pub customer_type: Option<String>,
    pub mining_capacity_mw: Option<f64>,
    /// In US dollars per kilowatt-hour.
    pub electricity_cost: Option<Decimal>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerEvent {
    Created {
        /// The number that clients know the customer by.
        id: i64,
        details: CustomerDetails,
        status: CustomerStatus,
        /// The number of the won lead that became this customer.
        from_lead: Option<i64>,
    },
}

event_names!(CustomerEvent {
    Created => "customer.created" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustomerError {
    #[error("this customer exists already")]
    AlreadyExists,
    #[error("mining_capacity must be between 0 and {MINING_CAPACITY_MAX_MW} megawatts")]
    MiningCapacityOutOfRange,
    #[error(
        "electricity_cost must be between 0 and {ELECTRICITY_COST_MAX} per kWh, \
         with at most {ELECTRICITY_COST_DECIMALS} decimals"
    )]
    ElectricityCostOutOfRange,
    #[error(transparent)]
    Field(#[from] FieldError),
}

impl Refusal for CustomerError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::AlreadyExists => RefusalKind::AlreadyExists,
            Self::MiningCapacityOutOfRange | Self::ElectricityCostOutOfRange | Self::Field(_) => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::AlreadyExists => "customer.already_exists",
            Self::MiningCapacityOutOfRange => "customer.mining_capacity_out_of_range",
            Self::ElectricityCostOutOfRange => "customer.electricity_cost_out_of_range",
            Self::Field(_) => "customer.invalid_field",
        }
    }
}

#[derive(Debug, Clone)]
pub enum CustomerCommand {
    /// Records a new, active customer under the number `id`.
    Create { id: i64, details: CustomerDetails, from_lead: Option<i64> },
}

/// Whether a customer exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Customer {
    #[default]
    Unknown,
    Known {
        status: CustomerStatus,
    },
}

impl Decider for Customer {
    fn decide(&self, command: CustomerCommand, _now: DateTime<Utc>) -> Result<Vec<CustomerEvent>, CustomerError> {
        let CustomerCommand::Create { id, details, from_lead } = command;
        match self {
            Self::Known { .. } => Err(CustomerError::AlreadyExists),
            Self::Unknown => {
                details.check()?;
                Ok(vec![CustomerEvent::Created { id, details, status: CustomerStatus::Active, from_lead }])
            }
        }
    }
}

impl CustomerDetails {
    fn check(&self) -> Result<(), CustomerError> {
        field::required("name", &self.name, field::NAME_MAX)?;
        field::email(self.email.as_deref())?;
        field::line("phone", self.phone.as_deref(), field::PHONE_MAX)?;
        field::line("company", self.company.as_deref(), field::NAME_MAX)?;
        field::lines("address", self.address.as_deref(), field::LINE_MAX)?;
        field::line("customer_type", self.customer_type.as_deref(), field::WORD_MAX)?;
        if self.mining_capacity_mw.is_some_and(|megawatts| !(0.0..=MINING_CAPACITY_MAX_MW).contains(&megawatts)) {
            return Err(CustomerError::MiningCapacityOutOfRange);
        }
        if self.electricity_cost.is_some_and(|cost| !is_price_of_electricity(cost)) {
            return Err(CustomerError::ElectricityCostOutOfRange);
        }
        Ok(())
    }
}

fn is_price_of_electricity(cost: Decimal) -> bool {
    cost >= Decimal::ZERO && cost <= ELECTRICITY_COST_MAX && cost.normalize().scale() <= ELECTRICITY_COST_DECIMALS
}

impl cqrs_es::Aggregate for Customer {
    const TYPE: &'static str = "customer";
    type Command = CustomerCommand;
    type Event = CustomerEvent;
    type Error = CustomerError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: CustomerEvent) {
        match event {
            CustomerEvent::Created { status, .. } => *self = Self::Known { status },
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;
    use serde_json::json;

    use super::*;

    fn details() -> CustomerDetails {
        CustomerDetails {
            name: "New Customer".into(),
            email: Some("new@example.com".into()),
            phone: Some("+1-555-0000-0000".into()),
            company: Some("New Company".into()),
            ..CustomerDetails::default()
        }
    }
    fn created(from_lead: Option<i64>) -> CustomerEvent {
        CustomerEvent::Created { id: 123, details: details(), status: CustomerStatus::Active, from_lead }
    }
    fn create(details: CustomerDetails) -> CustomerCommand {
        CustomerCommand::Create { id: 123, details, from_lead: None }
    }
    fn given(events: Vec<CustomerEvent>) -> cqrs_es::test::AggregateTestExecutor<Customer> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn a_customer_is_created_once() {
        given(vec![]).when(create(details())).then_expect_events(vec![created(None)]);
        given(vec![created(None)]).when(create(details())).then_expect_error(CustomerError::AlreadyExists);
    }

    #[test]
    fn a_customer_remembers_the_lead_it_was() {
        given(vec![])
            .when(CustomerCommand::Create { id: 123, details: details(), from_lead: Some(7) })
            .then_expect_events(vec![created(Some(7))]);
    }

    #[test]
    fn impossible_details_are_refused() {
        let refused = |details: CustomerDetails, error: CustomerError| {
            given(vec![]).when(create(details)).then_expect_error(error);
        };
        let empty = CustomerError::Field(FieldError::Empty { field: "name" });
        refused(CustomerDetails { name: String::new(), ..details() }, empty);
        let email = Some("new@example".into());
        refused(CustomerDetails { email, ..details() }, CustomerError::Field(FieldError::NotAnEmail));
        for megawatts in [-0.1, MINING_CAPACITY_MAX_MW + 1.0, f64::NAN, f64::INFINITY] {
            let details = CustomerDetails { mining_capacity_mw: Some(megawatts), ..details() };
            refused(details, CustomerError::MiningCapacityOutOfRange);
        }
        for cost in [Decimal::new(-5, 2), Decimal::new(1_001, 2), Decimal::new(1, 7)] {
            let details = CustomerDetails { electricity_cost: Some(cost), ..details() };
            refused(details, CustomerError::ElectricityCostOutOfRange);
        }
    }

    #[test]
    fn events_are_stored_in_this_form() {
        let event = CustomerEvent::Created {
            id: 123,
            details: CustomerDetails {
                customer_type: Some("enterprise".into()),
                mining_capacity_mw: Some(10.5),
                electricity_cost: Some(Decimal::new(5, 2)),
                ..details()
            },
            status: CustomerStatus::Active,
            from_lead: Some(7),
        };
        let stored = json!({"created": {"id": 123, "status": "active", "from_lead": 7, "details": {
            "name": "New Customer", "email": "new@example.com", "phone": "+1-555-0000-0000",
            "company": "New Company", "address": null, "customer_type": "enterprise",
            "mining_capacity_mw": 10.5, "electricity_cost": "0.05"}}});
        assert_eq!(serde_json::to_value(&event).unwrap(), stored);
        assert_eq!(serde_json::from_value::<CustomerEvent>(stored).unwrap(), event);
    }
}
