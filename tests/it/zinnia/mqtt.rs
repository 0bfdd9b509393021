//! Reports over MQTT, through a real broker.

use std::time::Duration;

use api::config::{BatterySettings, Config, MqttSettings, Switch};
use api::surface::Surface;
use chrono::{TimeDelta, Utc};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tests::broker::Broker;
use tests::fresh_id;
use tests::postgres::Database;
use tests::server::{Client, TestServer, settings};
use uuid::Uuid;

use super::devices::device;

const WAIT_MAX: Duration = Duration::from_secs(60);
/// More bytes than a report may have.
const TOO_LARGE: usize = 2 * 1024 * 1024;

fn listening_to(broker: &Broker, trusted: Switch) -> Config {
    let mqtt = MqttSettings {
        broker: broker.address(),
        username: None,
        password: None,
        client_id: "corelog".to_owned(),
        trusted,
    };
    Config { battery: BatterySettings { mqtt: Some(mqtt), ..BatterySettings::default() }, ..settings() }
}

/// Whether a broker keeps a message for those who subscribe later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    Yes,
    No,
}

/// Publishes messages, and returns when the broker has acknowledged all of them.
async fn publish(broker: &Broker, messages: &[(&str, Value)]) {
    publish_and(Kept::No, broker, messages).await;
}

async fn publish_and(kept: Kept, broker: &Broker, messages: &[(&str, Value)]) {
    let mut options = MqttOptions::new(fresh_id().to_string(), "127.0.0.1", broker.port());
    options.set_max_packet_size(TOO_LARGE, 2 * TOO_LARGE);
    let (client, mut events) = AsyncClient::new(options, messages.len().max(1));
    for (device, message) in messages {
        let topic = format!("corelog/devices/{device}/battery");
        client.publish(topic, QoS::AtLeastOnce, kept == Kept::Yes, message.to_string()).await.unwrap();
    }
    let mut acknowledged = 0;
    let all = async {
        while acknowledged < messages.len() {
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
                acknowledged += 1;
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, all).await.unwrap();
}

/// Settings of a server that can be started anew.
fn lasting(database: &Database, config: Config) -> Config {
    Config { database_url: Some(database.url()), secret_key: Some("7".repeat(64)), ..config }
}

/// Publishes again and again until the level is the latest one: nobody says when the server has subscribed.
async fn publish_until_seen(server: &TestServer, broker: &Broker, id: &str, message: &Value) {
    let seen = async {
        loop {
            publish(broker, &[(id, message.clone())]).await;
            let seen = server.readings().latest(id.parse::<Uuid>().unwrap()).await.unwrap();
            if seen.is_some_and(|latest| json!(latest.reading.level) == message["battery_level"]) {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, seen).await.expect("a report over MQTT never arrives");
}

async fn levels(owner: &Client, id: &str) -> Vec<u64> {
    let now = commands::Clock::system().now();
    let time = |at: chrono::DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let (from, to) = (time(now - TimeDelta::days(1)), time(now + TimeDelta::seconds(1)));
    let history = owner.get(&format!("/api/v1/battery/history/{id}?start_time={from}&end_time={to}")).await.expect(200);
    history.at("/data").as_array().unwrap().iter().map(|data| data["battery_level"].as_u64().unwrap()).collect()
}

fn minutes_ago(minutes: i64) -> Value {
    json!(commands::Clock::system().now() - TimeDelta::minutes(minutes))
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_report_through_a_broker_with_their_tokens() {
    let mut broker = Broker::start();
    let server = TestServer::start_with(listening_to(&broker, Switch::Off)).await;
    let owner = server.user(Surface::Zinnia);
    let ((id, key), (other, other_key)) = (device(&owner, "hall").await, device(&owner, "attic").await);
    let first = json!({ "token": key, "battery_level": 70, "temperature": 20.5, "recorded_at": minutes_ago(50) });
    publish_until_seen(&server, &broker, &id, &first).await;
    let online = |shown: &tests::answer::Answer| shown.at("/data/status") == "online";
    server.get_until(&owner, &format!("/api/v1/devices/{id}"), online).await;
    let wrong = [
        json!({ "battery_level": 1, "recorded_at": minutes_ago(1) }),
        json!({ "token": other_key, "battery_level": 2, "recorded_at": minutes_ago(2) }),
        json!({ "token": "zn_live_x", "battery_level": 3, "recorded_at": minutes_ago(3) }),
        json!({ "token": key, "battery_level": 101, "recorded_at": minutes_ago(4) }),
        json!({ "token": key, "battery_level": 5, "recorded_at": minutes_ago(-60) }),
        json!({ "token": key, "data": [] }),
        json!({ "token": 7 }),
        json!("nonsense"),
    ];
    let wrong: Vec<(&str, Value)> = wrong.into_iter().map(|message| (&*id, message)).collect();
    publish(&broker, &wrong).await;
    publish(&broker, &[("nonsense", json!({ "token": key, "battery_level": 6 }))]).await;
    let batch = json!({ "api_key": key, "data": [{ "battery_level": 60, "recorded_at": minutes_ago(20) },
        { "battery_level": 59, "recorded_at": minutes_ago(10) }] });
    publish(&broker, &[(&id, batch)]).await;
    loop {
        let last = server.readings().last_arrival().await.unwrap();
        if levels(&owner, &id).await.len() == 3 {
            break;
        }
        server.readings().grown(last).await;
    }
    // The broker goes away and comes back with nothing remembered: it is subscribed to again.
    broker.restart();
    let last = json!({ "token": key, "battery_level": 58, "recorded_at": minutes_ago(0) });
    publish_until_seen(&server, &broker, &id, &last).await;
    assert_eq!(levels(&owner, &id).await, [58, 59, 60, 70]);
    assert_eq!(levels(&owner, &other).await, [0; 0]);
}

/// A broker sends a message again until it is acknowledged, so one that is too large would stand before all others.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_keeps_no_device_from_reporting() {
    let broker = Broker::start();
    let server = TestServer::start_with(listening_to(&broker, Switch::Off)).await;
    let owner = server.user(Surface::Zinnia);
    let (id, key) = device(&owner, "hall").await;
    let report = |level: u8, ago| json!({ "token": key, "battery_level": level, "recorded_at": minutes_ago(ago) });
    publish_until_seen(&server, &broker, &id, &report(70, 10)).await;
    publish(&broker, &[(&fresh_id().to_string(), json!("x".repeat(TOO_LARGE)))]).await;
    publish_until_seen(&server, &broker, &id, &report(60, 5)).await;
    assert_eq!(levels(&owner, &id).await, [60, 70]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_broker_vouches_for_its_devices() {
    let broker = Broker::start();
    let server = TestServer::start_with(listening_to(&broker, Switch::On)).await;
    let owner = server.user(Surface::Zinnia);
    let ((id, _), (disabled, _)) = (device(&owner, "hall").await, device(&owner, "attic").await);
    owner.put(&format!("/api/v1/devices/{disabled}"), json!({ "status": "disabled" })).await.expect(200);
    let report = |level: u8, ago| json!({ "battery_level": level, "recorded_at": minutes_ago(ago) });
    publish(&broker, &[(&disabled, report(9, 5)), (&fresh_id().to_string(), report(8, 5))]).await;
    publish_until_seen(&server, &broker, &id, &report(70, 5)).await;
    assert_eq!(levels(&owner, &disabled).await, [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_while_the_server_is_away_comes_when_it_is_back() {
    let (broker, database) = (Broker::start(), Database::create().await);
    let config = lasting(&database, listening_to(&broker, Switch::Off));
    let server = TestServer::start_with(config.clone()).await;
    let (id, key) = device(&server.user(Surface::Zinnia), "hall").await;
    let report = |level: u8, ago| json!({ "token": key, "battery_level": level, "recorded_at": minutes_ago(ago) });
    publish_until_seen(&server, &broker, &id, &report(70, 30)).await;
    drop(server);
    publish(&broker, &[(&id, report(60, 20)), (&id, report(50, 10))]).await;
    let server = TestServer::start_with(config).await;
    let readings = server.readings();
    let arrived = async {
        loop {
            let last = readings.last_arrival().await.unwrap();
            let latest = readings.latest(id.parse().unwrap()).await.unwrap().unwrap();
            if latest.reading.level == 50 {
                return;
            }
            readings.grown(last).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, arrived).await.expect("what was sent meanwhile never comes");
}

/// More messages at once than there is room to take in and to acknowledge.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_of_messages_comes_in_whole() {
    const MESSAGES: u32 = 900;
    let (broker, database) = (Broker::start(), Database::create().await);
    let config = lasting(&database, listening_to(&broker, Switch::Off));
    let server = TestServer::start_with(config.clone()).await;
    let (id, key) = device(&server.user(Surface::Zinnia), "hall").await;
    let report = |ago: u32| json!({ "token": key, "battery_level": 50, "recorded_at": minutes_ago(ago.into()) });
    publish_until_seen(&server, &broker, &id, &report(MESSAGES)).await;
    drop(server);
    let messages: Vec<(&str, Value)> = (0..MESSAGES).map(|ago| (&*id, report(ago))).collect();
    publish(&broker, &messages).await;
    let server = TestServer::start_with(config).await;
    let readings = server.readings();
    let arrived = async {
        loop {
            let last = readings.last_arrival().await.unwrap();
            let kept = readings.recent(id.parse().unwrap(), TimeDelta::days(1), 2 * MESSAGES).await.unwrap();
            if kept.len() > MESSAGES as usize {
                return;
            }
            readings.grown(last).await;
        }
    };
    tokio::time::timeout(WAIT_MAX, arrived).await.expect("some of the messages never come");
}

/// A broker marks as retained only what it kept before somebody subscribed: who has subscribed, or has a session, gets
/// the same message like any other. So the server learns of this broker when the messages lie there.
#[tokio::test(flavor = "multi_thread")]
async fn a_retained_message_counts_only_if_it_says_when_it_was_true() {
    let (broker, database) = (Broker::start(), Database::create().await);
    let server = TestServer::start_with(lasting(&database, settings())).await;
    let owner = server.user(Surface::Zinnia);
    let ((timed, timed_key), (untimed, untimed_key)) = (device(&owner, "hall").await, device(&owner, "attic").await);
    drop(server);
    let messages = [
        (&*untimed, json!({ "token": untimed_key, "battery_level": 40 })),
        (&*timed, json!({ "token": timed_key, "battery_level": 60, "recorded_at": minutes_ago(5) })),
    ];
    publish_and(Kept::Yes, &broker, &messages).await;
    let server = TestServer::start_with(lasting(&database, listening_to(&broker, Switch::Off))).await;
    until_metrics_name(&server, &["outcome=\"accepted\"", "outcome=\"refused\""]).await;
    assert_eq!(kept_levels(&server, &timed).await, [60]);
    assert_eq!(kept_levels(&server, &untimed).await, [0; 0]);
    // The same message, sent now, is true now.
    publish_until_seen(&server, &broker, &untimed, &messages[0].1).await;
    assert!(kept_levels(&server, &untimed).await.iter().all(|level| *level == 40));
}

/// Asks again and again: nothing else says that a message was refused.
async fn until_metrics_name(server: &TestServer, labels: &[&str]) {
    let named = async {
        loop {
            let shown = server.anonymous().get("/metrics").await.expect(200).text;
            let messages = shown.lines().filter(|line| line.starts_with("corelog_mqtt_messages"));
            let messages: Vec<&str> = messages.collect();
            if labels.iter().all(|label| messages.iter().any(|line| line.contains(label))) {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, named).await.expect("a retained message is never looked at");
}

async fn kept_levels(server: &TestServer, id: &str) -> Vec<u8> {
    let kept = server.readings().recent(id.parse().unwrap(), TimeDelta::days(1), 10).await.unwrap();
    kept.iter().map(|kept| kept.reading.level).collect()
}
