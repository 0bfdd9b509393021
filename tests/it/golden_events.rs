//! Stored events of every name and version, as they stand in logs for ever: they must be readable for ever.
//!
//! `tests/fixtures/events/<event_type>.v<version>.json` lists payloads of that event: one with everything in it, one with
//! everything optional left out, and one for each word of an enum that an event carries. When one of these tests fails, the change breaks logs that
//! exist: give the event a new version and an upcaster, and keep the old fixture.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::DateTime;
use domain::billing::{balance::Balance, recharge_code::RechargeCode};
use domain::compute::{gpu_server::GpuServer, task::Task};
use domain::crm::{customer::Customer, deal::Deal, lead::Lead};
use domain::devices::{
    alert::DeviceAlerts, alert_rule::AlertRules, device::Device, notification::Notification,
    notification_preferences::NotificationPreferences,
};
use domain::hosting::{
    curtailment_run::CurtailmentRun, miner::Miner, miner_command::MinerCommand, site::Site, unique_name::UniqueName,
};
use domain::identity::{tenant::Tenant, user::User, username::Username, verification::Verification};
use domain::platform::{mail::Mail, number_series::NumberSeries, settings::Settings};
use domain::trading::{decision::Decision, exchange_account::ExchangeAccount, quant_strategy::QuantStrategy};
use domain::{Decider, EventNames, Recorded, TenantId};
use serde_json::Value;
use uuid::Uuid;

use crate::tree::{files, none_of, read, rust_files};

const FIXTURES: &str = "tests/fixtures/events";

#[test]
fn alert() {
    golden::<DeviceAlerts>();
}

#[test]
fn alert_rule() {
    golden::<AlertRules>();
}

#[test]
fn notification() {
    golden::<Notification>();
}

#[test]
fn notification_preferences() {
    golden::<NotificationPreferences>();
}

#[test]
fn balance() {
    golden::<Balance>();
}

#[test]
fn curtailment_run() {
    golden::<CurtailmentRun>();
}

#[test]
fn customer() {
    golden::<Customer>();
}

#[test]
fn deal() {
    golden::<Deal>();
}

#[test]
fn decision() {
    golden::<Decision>();
}

#[test]
fn device() {
    golden::<Device>();
}

#[test]
fn exchange_account() {
    golden::<ExchangeAccount>();
}

#[test]
fn gpu_server() {
    golden::<GpuServer>();
}

#[test]
fn lead() {
    golden::<Lead>();
}

#[test]
fn mail() {
    golden::<Mail>();
}

#[test]
fn miner() {
    golden::<Miner>();
}

#[test]
fn miner_command() {
    golden::<MinerCommand>();
}

#[test]
fn number_series() {
    golden::<NumberSeries>();
}

#[test]
fn quant_strategy() {
    golden::<QuantStrategy>();
}

#[test]
fn recharge_code() {
    golden::<RechargeCode>();
}

#[test]
fn settings() {
    golden::<Settings>();
}

#[test]
fn site() {
    golden::<Site>();
}

#[test]
fn task() {
    golden::<Task>();
}

#[test]
fn tenant() {
    golden::<Tenant>();
}

#[test]
fn unique_name() {
    golden::<UniqueName>();
}

#[test]
fn user() {
    golden::<User>();
}

#[test]
fn username() {
    golden::<Username>();
}

#[test]
fn verification() {
    golden::<Verification>();
}

/// Every event of `A`, in each version it ever had, is read as what it was written as; the present version is also
/// written as it was read.
fn golden<A: Decider>() {
    for &(name, present) in A::Event::NAMES {
        assert!(name.starts_with(&format!("{}.", A::TYPE)), "{name} is not named after its aggregate {}", A::TYPE);
        for version in 1..=present {
            for stored in payloads(name, version) {
                let event = decoded::<A>(name, version, &stored);
                assert_eq!(event.name(), (name, present), "{name} v{version} is read as another event");
                if version == present {
                    let written = serde_json::to_value(&event).unwrap();
                    assert_eq!(written, stored, "{name} v{version} is written in another form than it was read");
                }
            }
        }
    }
}

fn payloads(name: &str, version: u16) -> Vec<Value> {
    let path = fixture(name, version);
    let payloads: Vec<Value> = serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert!(!payloads.is_empty(), "{path} holds no event");
    payloads
}

fn fixture(name: &str, version: u16) -> String {
    format!("{FIXTURES}/{name}.v{version}.json")
}

fn decoded<A: Decider>(name: &str, version: u16, payload: &Value) -> A::Event {
    let recorded = Recorded {
        position: 1,
        event_id: Uuid::nil(),
        aggregate_type: Arc::from(A::TYPE),
        aggregate_id: "1".into(),
        sequence: 1,
        event_type: Arc::from(name),
        event_version: version,
        payload: payload.to_string().into(),
        tenant: TenantId(Uuid::nil()),
        metadata: "{}".into(),
        recorded_at: DateTime::UNIX_EPOCH,
    };
    recorded.decode::<A>().unwrap_or_else(|error| panic!("{error}")).unwrap()
}

/// Where a stream is shown, rehearsed and audited, by the name of its aggregate.
#[test]
fn every_aggregate_can_be_shown() {
    let list = read("replay/src/aggregates.rs");
    let unlisted = aggregates_of_the_domain().filter(|name| !list.contains(&format!("of::<{name}>()")));
    none_of(&unlisted.collect::<Vec<_>>(), "aggregates that nobody can show");
}

/// The names and versions that the sources of the domain give to events: `"balance.credited" 1`.
fn names_in_the_domain() -> BTreeSet<String> {
    let lines = rust_files("domain/src").into_iter().flat_map(|source| {
        let tables = source.text.split("event_names!(").skip(1).filter_map(|rest| rest.split("});").next());
        tables.flat_map(str::lines).map(str::to_owned).collect::<Vec<_>>()
    });
    let entries = lines.filter_map(|line| {
        let (_, entry) = line.split_once("=> \"")?;
        let (name, version) = entry.split_once("\" ")?;
        Some(fixture(name, version.trim_end_matches(',').trim().parse().ok()?))
    });
    entries.collect()
}

#[test]
fn every_event_has_a_fixture() {
    let present: BTreeSet<String> = files(FIXTURES, |_| true).into_iter().map(|source| source.path).collect();
    let names = names_in_the_domain();
    assert!(!names.is_empty(), "no event was found in the domain");
    let missing: Vec<String> = names.difference(&present).cloned().collect();
    none_of(&missing, "events without a fixture");
}

#[test]
fn every_fixture_belongs_to_an_event() {
    let names = names_in_the_domain();
    // A fixture of an older version stays when the event moves on, so versions are not compared.
    let event = |path: &str| path.rsplit_once(".v").map(|(event, _)| event.to_owned());
    let known: BTreeSet<_> = names.iter().map(|path| event(path)).collect();
    let orphans = files(FIXTURES, |_| true).into_iter().filter(|source| !known.contains(&event(&source.path)));
    none_of(&orphans.map(|source| source.path).collect::<Vec<_>>(), "fixtures of events that are gone");
}

#[test]
fn every_aggregate_is_on_the_list_above() {
    let list = read("tests/it/golden_events.rs");
    let unlisted = aggregates_of_the_domain().filter(|name| !list.contains(&format!("golden::<{name}>()")));
    none_of(&unlisted.collect::<Vec<_>>(), "aggregates whose events nobody reads back");
}

fn aggregates_of_the_domain() -> impl Iterator<Item = String> {
    rust_files("domain/src").into_iter().flat_map(|source| {
        let names = source.text.split("\nimpl Decider for ").skip(1).filter_map(|rest| rest.split_whitespace().next());
        names.map(str::to_owned).collect::<Vec<_>>()
    })
}
