//! A miner as answers show it, every figure with where it comes from.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::hosting::model_catalogue;
use projections::hosting::miners::{MinerStatus, Model};
use serde::Serialize;
use utoipa::ToSchema;

/// One miner.
#[derive(Serialize, ToSchema)]
pub(in crate::hashinsight) struct MinerOut {
    id: i64,
    pub(in crate::hashinsight) sn: String,
    serial_number: String,
    model: &'static str,
    miner_model_name: &'static str,
    model_id: i64,
    site_id: i64,
    site_name: Option<String>,
    customer_id: Option<i64>,
    status: &'static str,
    ip_address: Option<String>,
    location_slot: Option<String>,
    /// In TH/s: as last read, or as registered when it was never read. Null when it is stopped and was never read.
    actual_hashrate: Option<f64>,
    /// `firmware`, `override` (registered by hand) or `nameplate` (of the model).
    hashrate_source: Option<String>,
    /// In watts: as last read where the firmware says it, else as registered. Null when it is stopped: what it still
    /// draws is not known.
    power_consumption: Option<f64>,
    actual_power: Option<f64>,
    /// `firmware`, `override` (registered by hand) or `nameplate` (of the model).
    power_source: Option<String>,
    /// In joules a terahash, of the two figures above.
    efficiency_jth: Option<f64>,
    /// In degrees Celsius, as last read.
    temperature_max: Option<f64>,
    /// When it was last read.
    last_seen: Option<DateTime<Utc>>,
    /// What the last order came to.
    last_command: Option<LastCommandOut>,
    /// The curtailment run that holds it.
    curtailment_plan_id: Option<i64>,
    alerts: AlertsOut,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Serialize, ToSchema)]
struct LastCommandOut {
    command_id: String,
    status: String,
}

/// Raised when the last order was not obeyed.
#[derive(Serialize, ToSchema)]
struct AlertsOut {
    has_alerts: bool,
    count: usize,
    alerts: Vec<AlertOut>,
}

#[derive(Serialize, ToSchema)]
struct AlertOut {
    #[serde(rename = "type")]
    alert_type: String,
    severity: &'static str,
    message: String,
}

/// A figure and where it comes from.
pub(in crate::hashinsight) type Figure = (Option<f64>, Option<String>);

/// The hashrate in TH/s.
pub(in crate::hashinsight) fn hashrate(row: &Model) -> Figure {
    figure(row.read_hashrate_ths, row.hashing.then_some((row.hashrate_ths, &row.hashrate_source)))
}

/// The power in watts.
pub(in crate::hashinsight) fn power(row: &Model) -> Figure {
    figure(row.read_power_w, row.hashing.then_some((row.power_w, &row.power_source)))
}

fn figure(read: Option<f64>, registered: Option<(f64, &String)>) -> Figure {
    match (read, registered) {
        (Some(read), _) => (Some(read), Some("firmware".to_owned())),
        (None, Some((figure, source))) => (Some(figure), Some(source.clone())),
        (None, None) => (None, None),
    }
}

/// The model's name.
pub(in crate::hashinsight) fn model_name(model_id: i64) -> &'static str {
    model_catalogue::by_id(model_id).map_or("unknown", |model| model.name)
}

pub(super) fn shown(row: Model, site_names: &BTreeMap<i64, String>) -> MinerOut {
    let ((actual_hashrate, hashrate_source), (power, power_source)) = (hashrate(&row), power(&row));
    let efficiency_jth = actual_hashrate.zip(power).filter(|(ths, _)| *ths > 0.0).map(|(ths, watts)| watts / ths);
    MinerOut {
        model: model_name(row.model_id),
        miner_model_name: model_name(row.model_id),
        site_name: site_names.get(&row.site_id).cloned(),
        status: MinerStatus::word(row.status()),
        alerts: alerts(&row),
        id: row.id,
        sn: row.serial_number.clone(),
        serial_number: row.serial_number,
        model_id: row.model_id,
        site_id: row.site_id,
        customer_id: row.customer_id,
        ip_address: row.ip_address,
        location_slot: row.location_slot,
        actual_hashrate,
        hashrate_source,
        power_consumption: power,
        actual_power: power,
        power_source,
        efficiency_jth,
        temperature_max: row.temperature_max_c,
        last_seen: row.last_seen,
        last_command: row
            .last_command_id
            .zip(row.last_command_state)
            .map(|(command_id, status)| LastCommandOut { command_id, status }),
        curtailment_plan_id: row.held_by_run,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

fn alerts(row: &Model) -> AlertsOut {
    let unheeded = row.last_command_state.as_deref().filter(|state| ["drifted", "failed"].contains(state));
    let alerts: Vec<_> = unheeded
        .map(|state| AlertOut {
            alert_type: format!("command_{state}"),
            severity: "warning",
            message: row.last_command_why.clone().unwrap_or_default(),
        })
        .into_iter()
        .collect();
    AlertsOut { has_alerts: !alerts.is_empty(), count: alerts.len(), alerts }
}
