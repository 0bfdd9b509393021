//! The load of reports: each client is a device.

use chrono::{DateTime, TimeDelta, Utc};
use commands::Clock;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::postgres::Database;
use tests::program::{Installation, Program};
use tests::server::Client;

use crate::http::connection;
use crate::http::over_http::driven;
use crate::measure::{Load, runtime};
use crate::stores;

/// `requests` reports of `size` readings by `clients` devices; all of them are there at the end.
pub(super) fn load(engine: Engine, clients: usize, size: usize, requests: usize) -> Load {
    let preparing = runtime();
    let data = stores::directory();
    let database = preparing.block_on(stores::database(engine));
    let database_url = database.as_ref().map(Database::url);
    let program = Installation { data_dir: data.path().to_owned(), database_url }.serve();
    let (owner, devices) = preparing.block_on(devices(&program, clients));
    let each = requests / clients;
    let begin = Clock::system().now() - TimeDelta::days(29);
    let requests: Vec<Vec<Vec<u8>>> =
        devices.iter().map(|(_, key)| (0..each).map(|n| report(key, begin, n * size, size)).collect()).collect();
    let (load, _) = driven(program.address(), &requests);
    let (id, _) = &devices[0];
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let range =
        format!("{id}?start_time={}&end_time={}", time(begin - TimeDelta::hours(1)), time(Clock::system().now()));
    let stats = preparing.block_on(owner.get(&format!("/api/v1/battery/stats/{range}"))).expect(200);
    assert_eq!(stats.at("/data/total_records"), each * size);
    assert!(program.terminate().success());
    load
}

/// An owner, and so many devices with their keys.
pub(super) async fn devices(program: &Program, count: usize) -> (Client, Vec<(String, String)>) {
    let owner = owner(program).await;
    let mut devices = Vec::new();
    for number in 0..count {
        let body = json!({ "name": format!("device {number}"), "device_type": "sensor" });
        let created = owner.post("/api/v1/devices", body).await.expect(201);
        let text = |pointer: &str| created.at(pointer).as_str().unwrap().to_owned();
        devices.push((text("/data/device/id"), text("/data/api_key")));
    }
    (owner, devices)
}

pub(super) async fn owner(program: &Program) -> Client {
    let (name, password) = ("ann", "SecurePass123");
    let body = json!({ "email": "ann@example.com", "username": name, "password": password });
    program.anonymous().post("/api/v1/users/register", body).await;
    let body = json!({ "login": name, "password": password });
    let entered = program.anonymous().post("/api/v1/users/login", body).await.expect(200);
    program.anonymous().with_token(entered.at("/data/access_token").as_str().unwrap())
}

/// A report whose first reading is number `first` of its device; they are two seconds apart.
fn report(key: &str, begin: DateTime<Utc>, first: usize, size: usize) -> Vec<u8> {
    let reading = |n: usize| {
        let at = begin + TimeDelta::seconds(2 * i64::try_from(n).unwrap());
        json!({ "battery_level": 100 - n % 100, "is_charging": n.is_multiple_of(5), "temperature": 25.5, "voltage": 3.85,
            "recorded_at": at })
    };
    let (path, body) = if size == 1 {
        ("/api/v1/battery/report", reading(first))
    } else {
        let data: Vec<Value> = (first..first + size).map(reading).collect();
        ("/api/v1/battery/batch-report", json!({ "data": data }))
    };
    connection::post(path, key, &body.to_string())
}
