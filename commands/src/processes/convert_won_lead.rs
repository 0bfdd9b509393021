//! Convert a won lead into a customer and a deal.
//!
//! What the lead was estimated to be worth is no revenue yet, so the deal begins open, at negotiation, where the lead
//! has been. A won lead no longer changes: what is read here is what it was when it was won.

use async_trait::async_trait;
use domain::crm::customer::{Customer, CustomerCommand, CustomerDetails};
use domain::crm::deal::{Deal, DealCommand, DealDetails, DealStage};
use domain::crm::lead::{Lead, LeadDetails, LeadEvent, LeadStatus};
use domain::event::Recorded;
use domain::plain_text::to_line;

use super::{Process, ProcessError};
use crate::bus::{CommandBus, Receipt};

/// The process manager.
pub struct ConvertWonLead;

#[async_trait]
impl Process for ConvertWonLead {
    fn name(&self) -> &'static str {
        "convert_won_lead"
    }

    fn consumes(&self) -> &'static [&'static str] {
        &["lead"]
    }

    async fn react(&self, bus: &CommandBus, event: &Recorded) -> Result<Option<u64>, ProcessError> {
        let Some(LeadEvent::StatusChanged { to: LeadStatus::Won, .. }) = event.decode::<Lead>()? else {
            return Ok(None);
        };
        let (Lead::Known { id, details, .. }, _) = bus.load::<Lead>(&event.aggregate_id).await? else {
            return Ok(None);
        };
        let customer_id = self.customer(bus, event, id, &details).await?;
        let deal = self.deal(bus, event, id, customer_id, *details).await?;
        Ok(Some(deal.position))
    }
}

impl ConvertWonLead {
    async fn customer(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        lead: i64,
        details: &LeadDetails,
    ) -> Result<i64, ProcessError> {
        let id = bus.allocate("customer", 1, &self.context(bus, event, "customer_number")?).await?;
        // What old leads hold may be refused today, and a lead that was won must not stay without its customer.
        let line = |text: &Option<String>| text.as_deref().map(to_line);
        let details = CustomerDetails {
            name: to_line(&details.name),
            email: line(&details.email),
            phone: line(&details.phone),
            company: line(&details.company),
            ..CustomerDetails::default()
        };
        let create = CustomerCommand::Create { id, details, from_lead: Some(lead) };
        bus.execute::<Customer>(&id.to_string(), create, &self.context(bus, event, "customer")?).await?;
        Ok(id)
    }

    async fn deal(
        &self,
        bus: &CommandBus,
        event: &Recorded,
        lead: i64,
        customer_id: i64,
        details: LeadDetails,
    ) -> Result<Receipt<Deal>, ProcessError> {
        let id = bus.allocate("deal", 1, &self.context(bus, event, "deal_number")?).await?;
        let details = DealDetails {
            title: to_line(&details.company.unwrap_or(details.name)),
            customer_id,
            amount: details.estimated_value.unwrap_or_default(),
            expected_close: None,
        };
        let stage = DealStage::Negotiation;
        let create = DealCommand::Create { id, details, stage, probability: None, from_lead: Some(lead) };
        Ok(bus.execute::<Deal>(&id.to_string(), create, &self.context(bus, event, "deal")?).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::crm::lead::LeadCommand;
    use domain::event::EventNames as _;
    use domain::log::{Append, Log, NewEvent};
    use domain::metadata::{Metadata, TenantId};
    use rust_decimal::Decimal;
    use uuid::Uuid;

    use super::*;
    use crate::clock::Clock;
    use crate::context::CommandContext;
    use crate::log::MemoryLog;

    /// The event with which a fresh lead is won.
    async fn won(bus: &CommandBus, details: LeadDetails) -> Recorded {
        let tenant = TenantId(Uuid::from_u128(7));
        let context = CommandContext::new(Metadata::of(tenant, "system", "cli", Uuid::nil()));
        bus.execute::<Lead>("9", LeadCommand::Create { id: 9, details }, &context).await.unwrap();
        let to = |to| LeadCommand::ChangeStatus { to, lost_reason: None };
        bus.execute::<Lead>("9", to(LeadStatus::Negotiation), &context).await.unwrap();
        bus.execute::<Lead>("9", to(LeadStatus::Won), &context).await.unwrap().recorded.remove(0)
    }

    #[tokio::test]
    async fn a_won_lead_is_converted_once_however_often_the_event_is_handled() {
        let log = Arc::new(MemoryLog::new());
        let bus = CommandBus::new(log.clone(), Clock::system());
        let details = LeadDetails {
            name: "Mira".into(),
            email: Some("mira@example.com".into()),
            company: Some("Northern Hash".into()),
            estimated_value: Some(Decimal::from(100)),
            ..LeadDetails::default()
        };
        let event = won(&bus, details).await;
        let first = ConvertWonLead.react(&bus, &event).await.unwrap();
        let head = log.head().await.unwrap();
        assert_eq!(first, Some(head));
        assert_eq!(ConvertWonLead.react(&bus, &event).await.unwrap(), first);
        assert_eq!(log.head().await.unwrap(), head);

        let customer = log.read_stream("customer", "1", 0).await.unwrap().remove(0);
        assert_eq!((customer.tenant, customer.metadata().unwrap().causation_id), (event.tenant, Some(event.event_id)));
        let deal = log.read_stream("deal", "1", 0).await.unwrap().remove(0);
        let deal: serde_json::Value = serde_json::from_str(&deal.payload).unwrap();
        assert_eq!(deal["created"]["details"]["title"], "Northern Hash");
        assert_eq!(deal["created"]["details"]["amount"], "100");
        assert_eq!((&deal["created"]["from_lead"], &deal["created"]["details"]["customer_id"]), (&9.into(), &1.into()));
    }

    #[tokio::test]
    async fn an_old_lead_whose_texts_would_be_refused_today_is_converted() {
        let log = Arc::new(MemoryLog::new());
        let bus = CommandBus::new(log.clone(), Clock::system());
        let details = LeadDetails {
            name: "Mi\u{202e}ra".into(),
            company: Some("Northern\u{2066} Hash".into()),
            ..LeadDetails::default()
        };
        let create = LeadCommand::Create { id: 9, details: details.clone() };
        let metadata = Metadata::of(TenantId::DEFAULT, "system", "cli", Uuid::nil());
        let context = CommandContext::new(metadata.clone());
        assert!(bus.execute::<Lead>("9", create, &context).await.is_err());
        let created = LeadEvent::Created { id: 9, details };
        let (event_type, event_version) = created.name();
        let payload = serde_json::to_string(&created).unwrap();
        let event = NewEvent { event_id: Uuid::from_u128(1), event_type, event_version, payload };
        let append = Append {
            aggregate_type: "lead",
            aggregate_id: "9".into(),
            expected_sequence: 0,
            events: vec![event],
            tenant: TenantId::DEFAULT,
            metadata: serde_json::to_string(&metadata).unwrap(),
            key: None,
        };
        log.append(append).await.unwrap();
        let to = |to| LeadCommand::ChangeStatus { to, lost_reason: None };
        bus.execute::<Lead>("9", to(LeadStatus::Negotiation), &context).await.unwrap();
        let won = bus.execute::<Lead>("9", to(LeadStatus::Won), &context).await.unwrap().recorded.remove(0);
        ConvertWonLead.react(&bus, &won).await.unwrap();
        let payload = async |stream: &str| {
            let created = log.read_stream(stream, "1", 0).await.unwrap().remove(0);
            serde_json::from_str::<serde_json::Value>(&created.payload).unwrap()["created"]["details"].clone()
        };
        let (customer, deal) = (payload("customer").await, payload("deal").await);
        assert_eq!((&customer["name"], &customer["company"]), (&"Mira".into(), &"Northern Hash".into()));
        assert_eq!(deal["title"], "Northern Hash");
    }

    #[tokio::test]
    async fn other_events_of_a_lead_convert_nothing() {
        let log = Arc::new(MemoryLog::new());
        let bus = CommandBus::new(log.clone(), Clock::system());
        won(&bus, LeadDetails { name: "Mira".into(), ..LeadDetails::default() }).await;
        for event in log.read_stream("lead", "9", 0).await.unwrap().iter().take(2) {
            assert_eq!(ConvertWonLead.react(&bus, event).await.unwrap(), None);
        }
        assert!(log.read_stream("customer", "1", 0).await.unwrap().is_empty());
    }
}
