//! Sites and miners for the scenarios, some of them simulated on loopback addresses.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Value, json};
use tests::server::Client;
use tests::simulators::{Antminer, SimulatedMiner, WhatsMiner};

/// Models of the catalogue.
pub(super) const ANTMINER_S21: i64 = 1;
pub(super) const ANTMINER_S19_PRO: i64 = 12;
pub(super) const WHATSMINER_M50S: i64 = 35;
pub(super) const AVALON_Q: i64 = 59;

/// Nothing listens there.
pub(super) const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 253));

pub(super) async fn site(admin: &Client, slug: &str) -> i64 {
    let body = json!({ "name": "Mining Farm A", "slug": slug, "location": "Texas", "capacity_mw": 5.0,
        "electricity_rate": 0.05 });
    let answer = admin.post("/hosting/api/sites", body).await.expect(201);
    answer.at("/site_id").as_i64().unwrap()
}

pub(super) async fn miner(admin: &Client, site: i64, sn: &str, model: i64, address: Option<IpAddr>) -> i64 {
    let body = json!({ "sn": sn, "model_id": model, "site_id": site, "ip_address": address });
    let answer = admin.post("/hosting/api/miners/create", body).await.expect(200);
    answer.at("/miner_id").as_i64().unwrap()
}

/// The only miner with this id in the list.
pub(super) fn listed(list: &Value, id: i64) -> &Value {
    list.as_array().unwrap().iter().find(|miner| miner["id"] == id).unwrap()
}

pub(super) async fn antminer(settings: Antminer) -> SimulatedMiner {
    settings.listen_anywhere().await.expect("port 80 of a loopback address: run as root, see tests/src/simulators.rs")
}

pub(super) async fn whatsminer(settings: WhatsMiner) -> SimulatedMiner {
    settings.listen_anywhere().await.expect("port 4028 of a loopback address")
}
