//! The port to an MQTT broker at which battery devices report: `corelog/devices/{id}/battery`.
//!
//! A message is acknowledged to the broker when it has been taken in, so what is not taken in now (the server stops, the
//! database does not answer) comes again. The session at the broker outlives the connection.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, Packet, Publish, QoS, SubscribeReasonCode};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use uuid::Uuid;

/// What is subscribed to: one message of each device.
const TOPICS: &str = "corelog/devices/+/battery";
/// Messages that are taken in at the same time.
const MESSAGES_AT_ONCE: usize = 64;
/// Messages that wait and are sent once only, whether we take them in or not. Nothing else keeps a broker from sending them.
const UNACKNOWLEDGED_MAX: usize = 256;
/// Largest message that is taken in, in bytes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Largest packet of the protocol. What a broker has queued for us it sends again to each new connection until it is
/// acknowledged: leaving it over a message that is too large would be for good, and for the messages of all devices.
const PACKET_BYTES_MAX: usize = 256 * 1024 * 1024;
const REQUESTS_WAITING_MAX: usize = 256;
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);

/// A broker.
#[derive(Debug, Clone)]
pub struct Broker {
    pub host: String,
    pub port: u16,
    /// Under which name the broker keeps the session.
    pub client_id: String,
    /// Name and password.
    pub credentials: Option<(String, String)>,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// It was taken in, or refused for good.
    Done,
    /// Nobody can take it in now.
    Later,
}

/// Where messages go.
#[async_trait]
pub trait Inbox: Send + Sync + 'static {
    /// Takes in what `device` reports. A `retained` message was sent at some time before we subscribed.
    async fn take(&self, device: Uuid, message: &[u8], retained: bool) -> Taken;
}

/// Listens to `broker` for ever, while `leading`.
pub async fn listen(broker: Broker, inbox: Arc<dyn Inbox>, mut leading: watch::Receiver<bool>) {
    let mut silent = false;
    while leading.wait_for(|leading| *leading).await.is_ok() {
        let connection = Connection::new(&broker, Arc::clone(&inbox));
        tokio::select! {
            (error, connected) = connection.run() => {
                // One line for each time the broker goes away, not for each try to reach it.
                if connected || !silent {
                    tracing::warn!(%error, broker = %broker.host, "the MQTT broker is not connected");
                }
                silent = true;
                tokio::time::sleep(PAUSE).await;
            }
            () = lost(&mut leading) => {}
        }
    }
}

/// Waits until another server leads. Where nobody competes, that never happens.
async fn lost(leading: &mut watch::Receiver<bool>) {
    if leading.wait_for(|leading| !*leading).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// One connection, which ends with the first failure.
struct Connection {
    client: AsyncClient,
    events: EventLoop,
    inbox: Arc<dyn Inbox>,
    room: Arc<Semaphore>,
    messages: JoinSet<()>,
}

impl Connection {
    fn new(broker: &Broker, inbox: Arc<dyn Inbox>) -> Self {
        let mut options = MqttOptions::new(&broker.client_id, &broker.host, broker.port);
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(false)
            .set_manual_acks(true)
            .set_max_packet_size(PACKET_BYTES_MAX, MESSAGE_BYTES_MAX);
        if let Some((name, password)) = &broker.credentials {
            options.set_credentials(name, password);
        }
        let (client, events) = AsyncClient::new(options, REQUESTS_WAITING_MAX);
        let room = Arc::new(Semaphore::new(MESSAGES_AT_ONCE));
        Self { client, events, inbox, room, messages: JoinSet::new() }
    }

    /// Why it ended, and whether the broker had let us in before.
    async fn run(mut self) -> (ConnectionError, bool) {
        let mut connected = false;
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => {
                    connected = true;
                    tracing::info!("listening to the MQTT broker");
                    if let Err(error) = self.client.try_subscribe(TOPICS, QoS::AtLeastOnce) {
                        tracing::error!(%error, "the topics cannot be subscribed to");
                    }
                }
                Ok(Event::Incoming(Packet::SubAck(answer))) => {
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                        tracing::error!(topics = TOPICS, "the MQTT broker refuses the topics: no reports will come");
                    }
                }
                Ok(Event::Incoming(Packet::Publish(message))) => self.take(message),
                Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
                Err(error) => return (error, connected),
            }
        }
    }

    /// Hands a message over. Nothing is waited for here: acknowledgements leave with the next polls, so a loop that waited
    /// until some message is done would wait for itself. How many wait for room is up to the broker, which stops sending
    /// when too many are not acknowledged.
    fn take(&mut self, mut message: Publish) {
        while self.messages.try_join_next().is_some() {}
        if message.qos == QoS::AtMostOnce && self.messages.len() >= UNACKNOWLEDGED_MAX {
            metrics::counter!("corelog_mqtt_messages_dropped_total").increment(1);
            return;
        }
        let (client, inbox, room) = (self.client.clone(), Arc::clone(&self.inbox), Arc::clone(&self.room));
        let device = device(&message.topic).filter(|_| fits(&message));
        if device.is_none() {
            // Nobody looks at it, and it may be large.
            message.payload.clear();
        }
        self.messages.spawn(async move {
            let Ok(_place) = room.acquire_owned().await else { return };
            if let Some(device) = device {
                while inbox.take(device, &message.payload, message.retain).await == Taken::Later {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // Without a connection the broker sends it again, and it is recognised.
            let _ = client.ack(&message).await;
        });
    }
}

/// Whether a message is small enough to be looked at.
fn fits(message: &Publish) -> bool {
    let bytes = message.payload.len();
    if bytes > MESSAGE_BYTES_MAX {
        tracing::warn!(topic = message.topic, bytes, "a message over MQTT is too large");
    }
    bytes <= MESSAGE_BYTES_MAX
}

/// The device that a topic names.
fn device(topic: &str) -> Option<Uuid> {
    topic.strip_prefix("corelog/devices/")?.strip_suffix("/battery")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes nothing in for now.
    struct Full;

    #[async_trait]
    impl Inbox for Full {
        async fn take(&self, _: Uuid, _: &[u8], _: bool) -> Taken {
            Taken::Later
        }
    }

    #[tokio::test]
    async fn what_nobody_acknowledges_does_not_fill_the_memory() {
        let broker = Broker { host: "127.0.0.1".to_owned(), port: 1, client_id: "a".to_owned(), credentials: None };
        let mut connection = Connection::new(&broker, Arc::new(Full));
        let topic = format!("corelog/devices/{}/battery", Uuid::nil());
        for _ in 0..2 * UNACKNOWLEDGED_MAX {
            connection.take(Publish::new(&topic, QoS::AtMostOnce, "{}"));
        }
        assert_eq!(connection.messages.len(), UNACKNOWLEDGED_MAX);
        // The broker counts these itself.
        connection.take(Publish::new(&topic, QoS::AtLeastOnce, "{}"));
        assert_eq!(connection.messages.len(), UNACKNOWLEDGED_MAX + 1);
    }

    #[test]
    fn a_topic_names_a_device() {
        let id = "0199e5b0-7c3a-7000-8000-000000000001";
        assert_eq!(device(&format!("corelog/devices/{id}/battery")), id.parse().ok());
        for topic in ["corelog/devices/x/battery", "corelog/devices//battery", "other"] {
            assert_eq!(device(topic), None);
        }
    }
}
