//! Killed under the load of reports, again and again: whatever was acknowledged is there.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::postgres::Database;
use tests::program::{Installation, Program};
use tests::server::Client;
use tokio::sync::mpsc;

const ROUNDS: usize = 8;
const DEVICES: usize = 4;
/// Readings that are acknowledged before the kill, beside those in flight.
const ACKNOWLEDGED: usize = 120;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_reading_is_lost_in_eight_kills_sqlite() {
    let data = TempDir::new().unwrap();
    kill_again_and_again(Installation { data_dir: data.path().to_owned(), database_url: None }).await;
}
#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_reading_is_lost_in_eight_kills_postgres() {
    let (data, database) = (TempDir::new().unwrap(), Database::create().await);
    kill_again_and_again(Installation { data_dir: data.path().to_owned(), database_url: Some(database.url()) }).await;
}

struct Device {
    id: String,
    reporter: Client,
    acknowledged: BTreeSet<DateTime<Utc>>,
}

async fn kill_again_and_again(installation: Installation) {
    let mut program = installation.serve();
    let owner = sign_in(&program).await;
    let mut devices = Vec::new();
    for number in 0..DEVICES {
        let body = json!({ "name": format!("device {number}"), "device_type": "sensor" });
        let created = program.reached_by(&owner).post("/api/v1/devices", body).await.expect(201);
        let key = created.at("/data/api_key").as_str().unwrap();
        devices.push(Device {
            id: created.at("/data/device/id").as_str().unwrap().to_owned(),
            reporter: program.anonymous().with("x-api-key", key),
            acknowledged: BTreeSet::new(),
        });
    }
    let now = commands::Clock::system().now();
    let begin = now - TimeDelta::days(20);
    for round in 0..ROUNDS {
        report_until_killed(&mut program, &mut devices, begin + TimeDelta::days(i64::try_from(round).unwrap())).await;
        program = installation.serve();
        for device in &devices {
            all_is_there(&program.reached_by(&owner), device, (begin, now)).await;
        }
    }
    assert!(devices.iter().map(|device| device.acknowledged.len()).sum::<usize>() >= ROUNDS * ACKNOWLEDGED);
}

async fn sign_in(program: &Program) -> Client {
    let body = json!({ "email": "ann@example.com", "username": "ann", "password": "SecurePass123" });
    program.anonymous().post("/api/v1/users/register", body).await.expect(201);
    let body = json!({ "login": "ann", "password": "SecurePass123" });
    let entered = program.anonymous().post("/api/v1/users/login", body).await.expect(200);
    program.anonymous().with_token(entered.at("/data/access_token").as_str().unwrap())
}

/// Each device reports alone and in batches, until the server is killed.
async fn report_until_killed(program: &mut Program, devices: &mut [Device], begin: DateTime<Utc>) {
    let (report, mut reports) = mpsc::unbounded_channel();
    for (number, device) in devices.iter().enumerate() {
        let (reporter, report) = (program.reached_by(&device.reporter), report.clone());
        tokio::spawn(async move {
            for turn in 0_i32.. {
                let first = begin + TimeDelta::seconds(i64::from(turn) * 10);
                let times: Vec<_> = (0..=turn % 3).map(|n| first + TimeDelta::seconds(i64::from(n))).collect();
                let data: Vec<Value> =
                    times.iter().map(|at| json!({ "battery_level": 50, "recorded_at": at })).collect();
                let body = json!({ "data": data }).to_string();
                let sent = reporter.try_send(reqwest::Method::POST, "/api/v1/battery/batch-report", Some(body)).await;
                let Ok(answer) = sent else { return };
                answer.expect(200);
                let _ = report.send((number, times));
            }
        });
    }
    drop(report);
    let mut acknowledged = 0;
    while let Some((number, times)) = reports.recv().await {
        let before = acknowledged;
        acknowledged += times.len();
        devices[number].acknowledged.extend(times);
        if before < ACKNOWLEDGED && acknowledged >= ACKNOWLEDGED {
            program.kill();
        }
    }
}

/// Every acknowledged reading is in the history, and the sums know as many as the history.
async fn all_is_there(owner: &Client, device: &Device, (from, to): (DateTime<Utc>, DateTime<Utc>)) {
    let time = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
    let range = format!("{}?start_time={}&end_time={}", device.id, time(from), time(to));
    let mut kept = BTreeSet::new();
    loop {
        let path = format!("/api/v1/battery/history/{range}&limit=1000&offset={}", kept.len());
        let page = owner.get(&path).await.expect(200);
        let page = page.at("/data").as_array().unwrap();
        if page.is_empty() {
            break;
        }
        kept.extend(page.iter().map(|data| data["recorded_at"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap()));
    }
    assert!(device.acknowledged.is_subset(&kept), "an acknowledged reading is lost");
    let stats = owner.get(&format!("/api/v1/battery/stats/{range}")).await.expect(200);
    assert_eq!(stats.at("/data/total_records"), kept.len());
}
