//! Every sort of aggregate there is, without its types. A new one is one line here.

use std::collections::BTreeSet;

use domain::billing::{balance::Balance, recharge_code::RechargeCode};
use domain::compute::{gpu_server::GpuServer, task::Task};
use domain::crm::{customer::Customer, deal::Deal, lead::Lead};
use domain::devices::{
    alert::DeviceAlerts, alert_rule::AlertRules, device::Device, notification::Notification,
    notification_preferences::NotificationPreferences,
};
use domain::event::{DecodeError, Recorded};
use domain::hosting::{
    curtailment_run::CurtailmentRun, miner::Miner, miner_command::MinerCommand, site::Site, unique_name::UniqueName,
};
use domain::identity::{tenant::Tenant, user::User, username::Username, verification::Verification};
use domain::platform::{mail::Mail, number_series::NumberSeries, settings::Settings};
use domain::trading::{decision::Decision, exchange_account::ExchangeAccount, quant_strategy::QuantStrategy};
use domain::{Decider, EventNames};
use serde_json::Value;

use crate::error::ReplayError;

/// Stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// All of them, by context.
pub const AGGREGATES: &[AggregateType] = &[
    AggregateType::of::<RechargeCode>(),
    AggregateType::of::<Balance>(),
    AggregateType::of::<Task>(),
    AggregateType::of::<GpuServer>(),
    AggregateType::of::<Customer>(),
    AggregateType::of::<Lead>(),
    AggregateType::of::<Deal>(),
    AggregateType::of::<Device>(),
    AggregateType::of::<AlertRules>(),
    AggregateType::of::<DeviceAlerts>(),
    AggregateType::of::<Notification>(),
    AggregateType::of::<NotificationPreferences>(),
    AggregateType::of::<User>(),
    AggregateType::of::<Username>(),
    AggregateType::of::<Tenant>(),
    AggregateType::of::<Verification>(),
    AggregateType::of::<Site>(),
    AggregateType::of::<Miner>(),
    AggregateType::of::<UniqueName>(),
    AggregateType::of::<MinerCommand>(),
    AggregateType::of::<CurtailmentRun>(),
    AggregateType::of::<ExchangeAccount>(),
    AggregateType::of::<QuantStrategy>(),
    AggregateType::of::<Decision>(),
    AggregateType::of::<NumberSeries>(),
    AggregateType::of::<Mail>(),
    AggregateType::of::<Settings>(),
];

/// A sort of aggregate.
pub struct AggregateType {
    /// As it stands in the log.
    pub name: &'static str,
    /// Names of fields that are shown to nobody.
    pub secret_fields: &'static [&'static str],
    /// The storage names of its events.
    pub events: &'static [(&'static str, u16)],
    /// Whether an event can be read.
    pub(crate) check: fn(&Recorded) -> Result<(), DecodeError>,
    /// The state after events of one stream, from its beginning.
    fold: fn(&[Recorded]) -> Result<Value, ReplayError>,
}

impl AggregateType {
    const fn of<A: Decider>() -> Self {
        Self {
            name: A::TYPE,
            secret_fields: A::SECRET_FIELDS,
            events: A::Event::NAMES,
            check: check::<A>,
            fold: fold::<A>,
        }
    }

    /// The sort of aggregate called `name`.
    ///
    /// # Errors
    /// [`ReplayError::UnknownAggregate`].
    pub fn named(name: &str) -> Result<&'static Self, ReplayError> {
        AGGREGATES.iter().find(|known| known.name == name).ok_or_else(|| {
            let known = AGGREGATES.iter().map(|known| known.name).collect::<Vec<_>>().join(", ");
            ReplayError::UnknownAggregate { name: name.to_owned(), known }
        })
    }

    /// The state after events of one stream, from its beginning, without its secrets.
    ///
    /// # Errors
    /// When an event cannot be read.
    pub fn state(&self, events: &[Recorded]) -> Result<Value, ReplayError> {
        let mut state = (self.fold)(events)?;
        self.redact(&mut state);
        Ok(state)
    }

    /// Blanks the secrets in `value`, at any depth. Answers the names of those it found.
    pub fn redact(&self, value: &mut Value) -> Vec<&'static str> {
        let mut found = BTreeSet::new();
        if !self.secret_fields.is_empty() {
            blank(value, self.secret_fields, &mut found);
        }
        found.into_iter().collect()
    }
}

fn check<A: Decider>(recorded: &Recorded) -> Result<(), DecodeError> {
    recorded.decode::<A>().map(drop)
}

fn fold<A: Decider>(events: &[Recorded]) -> Result<Value, ReplayError> {
    let mut state = A::default();
    for event in events {
        if let Some(event) = event.decode::<A>()? {
            state.apply(event);
        }
    }
    serde_json::to_value(state).map_err(ReplayError::State)
}

fn blank(value: &mut Value, secret: &'static [&'static str], found: &mut BTreeSet<&'static str>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match secret.iter().find(|secret| *secret == name) {
                    Some(secret) if !value.is_null() => {
                        *value = Value::String(REDACTED.to_owned());
                        found.insert(secret);
                    }
                    Some(_) => {}
                    None => blank(value, secret, found),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| blank(value, secret, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_blanked_at_any_depth() {
        let user = AggregateType::named("user").unwrap();
        let mut value = json!({ "registered": { "email": "a@b", "password_hash": "x", "sessions": [
            { "refresh_hash": "y" }, { "refresh_hash": null }] } });
        assert_eq!(user.redact(&mut value), ["password_hash", "refresh_hash"]);
        let expected = json!({ "registered": { "email": "a@b", "password_hash": REDACTED, "sessions": [
            { "refresh_hash": REDACTED }, { "refresh_hash": null }] } });
        assert_eq!(value, expected);
    }

    #[test]
    fn each_name_stands_once() {
        let names: BTreeSet<&str> = AGGREGATES.iter().map(|aggregate| aggregate.name).collect();
        assert_eq!(names.len(), AGGREGATES.len());
    }
}
