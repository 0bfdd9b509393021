//! A miner: one machine with a serial number, at a site.

pub mod registration;

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use cqrs_es::event_sink::EventSink;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::registration::{
    FigureSource, HASHRATE_THS_MAX, LOCATION_SLOT_CHARS_MAX, POWER_W_MAX, Registration, SERIAL_NUMBER_CHARS_MAX,
};
use crate::aggregate::{Decider, Now, write_decision};
use crate::event_names;
use crate::refusal::{Refusal, RefusalKind};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MinerEvent {
    Registered {
        id: i64,
        serial_number: String,
        model_id: i64,
        site_id: i64,
        customer_id: Option<i64>,
        ip_address: Option<IpAddr>,
        location_slot: Option<String>,
        hashrate_ths: f64,
        hashrate_source: FigureSource,
        power_w: f64,
        power_source: FigureSource,
    },
    /// A command was confirmed after which the miner hashes, or does not.
    PowerChanged {
        hashing: bool,
        command_id: Uuid,
        site_id: i64,
        /// What plans count on, not what was measured.
        power_w: f64,
    },
    MaintenanceBegan,
    MaintenanceEnded,
}

event_names!(MinerEvent {
    Registered => "miner.registered" 1,
    PowerChanged => "miner.power_changed" 1,
    MaintenanceBegan => "miner.maintenance_began" 1,
    MaintenanceEnded => "miner.maintenance_ended" 1,
});

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MinerError {
    #[error("there is no such miner")]
    NotFound,
    #[error("this miner has been registered before")]
    AlreadyRegistered,
    #[error("a serial number has 1 to {SERIAL_NUMBER_CHARS_MAX} printable characters without blanks")]
    SerialNumberOutOfRange,
    #[error("there is no such model")]
    UnknownModel,
    #[error("a place has 1 to {LOCATION_SLOT_CHARS_MAX} characters, none of them a control character")]
    LocationSlotOutOfRange,
    #[error("this is not the address of a machine")]
    AddressOutOfRange,
    #[error("the hashrate must be above 0 and at most {HASHRATE_THS_MAX} TH/s")]
    HashrateOutOfRange,
    #[error("the power must be above 0 and at most {POWER_W_MAX} W")]
    PowerOutOfRange,
}

impl Refusal for MinerError {
    fn kind(&self) -> RefusalKind {
        match self {
            Self::NotFound => RefusalKind::NotFound,
            Self::AlreadyRegistered => RefusalKind::AlreadyExists,
            Self::SerialNumberOutOfRange
            | Self::UnknownModel
            | Self::LocationSlotOutOfRange
            | Self::AddressOutOfRange
            | Self::HashrateOutOfRange
            | Self::PowerOutOfRange => RefusalKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "miner.not_found",
            Self::AlreadyRegistered => "miner.already_registered",
            Self::SerialNumberOutOfRange => "miner.serial_number_out_of_range",
            Self::UnknownModel => "miner.unknown_model",
            Self::LocationSlotOutOfRange => "miner.location_slot_out_of_range",
            Self::AddressOutOfRange => "miner.address_out_of_range",
            Self::HashrateOutOfRange => "miner.hashrate_out_of_range",
            Self::PowerOutOfRange => "miner.power_out_of_range",
        }
    }
}

#[derive(Debug, Clone)]
pub enum MinerCommand {
    /// Brings a miner into being. Its serial number has been taken before.
    Register {
        id: i64,
        registration: Registration,
    },
    /// Records what a confirmed command shows.
    RecordPower {
        hashing: bool,
        command_id: Uuid,
    },
    BeginMaintenance,
    EndMaintenance,
}

/// A miner as decisions see it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Miner {
    #[default]
    Unknown,
    Registered(Machine),
}

/// What decisions need to know of a registered miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub site_id: i64,
    pub model_id: i64,
    pub ip_address: Option<IpAddr>,
    pub power_w: f64,
    /// As far as commands have shown; a new miner counts as running.
    pub hashing: bool,
    pub in_maintenance: bool,
}

impl Decider for Miner {
    fn decide(&self, command: MinerCommand, _now: DateTime<Utc>) -> Result<Vec<MinerEvent>, MinerError> {
        match command {
            MinerCommand::Register { id, registration } => match self {
                Self::Unknown => Ok(vec![registration.registered(id)?]),
                Self::Registered { .. } => Err(MinerError::AlreadyRegistered),
            },
            MinerCommand::RecordPower { hashing, command_id } => {
                let Machine { site_id, power_w, hashing: before, .. } = *self.registered()?;
                let changed = MinerEvent::PowerChanged { hashing, command_id, site_id, power_w };
                Ok(if before == hashing { vec![] } else { vec![changed] })
            }
            MinerCommand::BeginMaintenance => {
                let begins = !self.registered()?.in_maintenance;
                Ok(if begins { vec![MinerEvent::MaintenanceBegan] } else { vec![] })
            }
            MinerCommand::EndMaintenance => {
                let ends = self.registered()?.in_maintenance;
                Ok(if ends { vec![MinerEvent::MaintenanceEnded] } else { vec![] })
            }
        }
    }
}

impl Miner {
    /// What is known of a registered miner.
    ///
    /// # Errors
    /// [`MinerError::NotFound`]
    pub fn registered(&self) -> Result<&Machine, MinerError> {
        match self {
            Self::Unknown => Err(MinerError::NotFound),
            Self::Registered(machine) => Ok(machine),
        }
    }

    fn machine_mut(&mut self) -> Option<&mut Machine> {
        match self {
            Self::Unknown => None,
            Self::Registered(machine) => Some(machine),
        }
    }
}

impl cqrs_es::Aggregate for Miner {
    const TYPE: &'static str = "miner";
    type Command = MinerCommand;
    type Event = MinerEvent;
    type Error = MinerError;
    type Services = Now;

    async fn handle(&mut self, command: Self::Command, now: &Now, sink: &EventSink<Self>) -> Result<(), Self::Error> {
        write_decision(self, command, now, sink).await
    }

    fn apply(&mut self, event: MinerEvent) {
        match event {
            MinerEvent::Registered { site_id, model_id, ip_address, power_w, .. } => {
                *self = Self::Registered(Machine {
                    site_id,
                    model_id,
                    ip_address,
                    power_w,
                    hashing: true,
                    in_maintenance: false,
                });
            }
            MinerEvent::PowerChanged { hashing, .. } => {
                if let Some(machine) = self.machine_mut() {
                    machine.hashing = hashing;
                }
            }
            MinerEvent::MaintenanceBegan => {
                if let Some(machine) = self.machine_mut() {
                    machine.in_maintenance = true;
                }
            }
            MinerEvent::MaintenanceEnded => {
                if let Some(machine) = self.machine_mut() {
                    machine.in_maintenance = false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use cqrs_es::test::TestFramework;

    use super::*;

    fn registration() -> Registration {
        Registration {
            serial_number: "MINER-001".into(),
            model_id: 1,
            site_id: 4,
            customer_id: Some(9),
            ip_address: Some(IpAddr::from([192, 168, 1, 100])),
            location_slot: Some("A1-01".into()),
            hashrate_ths: None,
            power_w: None,
        }
    }
    fn register(registration: Registration) -> MinerCommand {
        MinerCommand::Register { id: 7, registration }
    }
    fn registered() -> MinerEvent {
        MinerEvent::Registered {
            id: 7,
            serial_number: "MINER-001".into(),
            model_id: 1,
            site_id: 4,
            customer_id: Some(9),
            ip_address: Some(IpAddr::from([192, 168, 1, 100])),
            location_slot: Some("A1-01".into()),
            hashrate_ths: 200.0,
            hashrate_source: FigureSource::Nameplate,
            power_w: 3_500.0,
            power_source: FigureSource::Nameplate,
        }
    }
    fn record(hashing: bool) -> MinerCommand {
        MinerCommand::RecordPower { hashing, command_id: Uuid::from_u128(5) }
    }
    fn changed(hashing: bool) -> MinerEvent {
        MinerEvent::PowerChanged { hashing, command_id: Uuid::from_u128(5), site_id: 4, power_w: 3_500.0 }
    }
    fn given(events: Vec<MinerEvent>) -> cqrs_es::test::AggregateTestExecutor<Miner> {
        TestFramework::with(Now(DateTime::UNIX_EPOCH)).given(events)
    }

    #[test]
    fn a_miner_is_registered_once_with_the_figures_of_its_plate() {
        given(vec![]).when(register(registration())).then_expect_events(vec![registered()]);
        given(vec![registered()]).when(register(registration())).then_expect_error(MinerError::AlreadyRegistered);
    }

    #[test]
    fn given_figures_beat_the_plate() {
        let given_power = Registration { power_w: Some(3_550.0), ..registration() };
        let Ok(events) = Miner::Unknown.decide(register(given_power), DateTime::UNIX_EPOCH) else {
            panic!("refused");
        };
        let [MinerEvent::Registered { hashrate_source, power_w, power_source, .. }] = events.as_slice() else {
            panic!("not one registration: {events:?}");
        };
        assert_eq!((*hashrate_source, *power_source), (FigureSource::Nameplate, FigureSource::Override));
        assert!((power_w - 3_550.0).abs() < f64::EPSILON);
    }

    #[test]
    fn impossible_miners_are_refused() {
        let refused = |registration: Registration, error| {
            given(vec![]).when(register(registration)).then_expect_error(error);
        };
        for serial in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            let registration = Registration { serial_number: serial.into(), ..registration() };
            refused(registration, MinerError::SerialNumberOutOfRange);
        }
        refused(Registration { model_id: 0, ..registration() }, MinerError::UnknownModel);
        for slot in [" ".to_owned(), "x".repeat(65)] {
            refused(Registration { location_slot: Some(slot), ..registration() }, MinerError::LocationSlotOutOfRange);
        }
        for address in [IpAddr::from([0, 0, 0, 0]), IpAddr::from([224, 0, 0, 1])] {
            refused(Registration { ip_address: Some(address), ..registration() }, MinerError::AddressOutOfRange);
        }
        for figure in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            refused(Registration { hashrate_ths: Some(figure), ..registration() }, MinerError::HashrateOutOfRange);
            refused(Registration { power_w: Some(figure), ..registration() }, MinerError::PowerOutOfRange);
        }
    }

    #[test]
    fn only_changes_of_power_are_recorded() {
        given(vec![registered()]).when(record(true)).then_expect_events(vec![]);
        given(vec![registered()]).when(record(false)).then_expect_events(vec![changed(false)]);
        given(vec![registered(), changed(false)]).when(record(false)).then_expect_events(vec![]);
        given(vec![registered(), changed(false)]).when(record(true)).then_expect_events(vec![changed(true)]);
        given(vec![]).when(record(true)).then_expect_error(MinerError::NotFound);
    }

    #[test]
    fn maintenance_begins_and_ends_once() {
        let begin = MinerCommand::BeginMaintenance;
        let end = MinerCommand::EndMaintenance;
        let first = MinerEvent::MaintenanceBegan;
        let second = MinerEvent::MaintenanceEnded;
        given(vec![registered()]).when(begin.clone()).then_expect_events(vec![first.clone()]);
        given(vec![registered(), first.clone()]).when(begin.clone()).then_expect_events(vec![]);
        given(vec![registered(), first.clone()]).when(end.clone()).then_expect_events(vec![second.clone()]);
        given(vec![registered(), first, second]).when(end.clone()).then_expect_events(vec![]);
        given(vec![]).when(begin).then_expect_error(MinerError::NotFound);
        given(vec![]).when(end).then_expect_error(MinerError::NotFound);
    }
}
