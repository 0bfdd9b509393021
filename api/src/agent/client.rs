//! The agent's side of the conversation with the server.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(20);
const HEARTBEAT_ANSWER_MIN: Duration = Duration::from_secs(2);
/// How long the server lets a lease wait for a task, in seconds.
const LEASE_WAIT_SECONDS: u64 = 5;
const LEASE_MAX: Duration = Duration::from_secs(LEASE_WAIT_SECONDS + 20);

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// May pass.
    #[error("{0}")]
    Unreachable(String),
    #[error("the server refuses: {status} {code}")]
    Refused {
        status: u16,
        code: String,
        /// The server's session, where the refusal is that it is another one.
        present_session: Option<u32>,
    },
}

/// What an error means for the session in which it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// The server gave the session up: a new one can begin.
    Session,
    /// Another agent has begun a later session.
    Place,
    /// The token was renewed, or the server was removed: it will never be good again.
    Token,
}

impl ClientError {
    /// What is lost with `session`, if anything is.
    pub(super) fn loss(&self, session: u32) -> Option<Loss> {
        match self {
            Self::Refused { status: 401, .. } => Some(Loss::Token),
            Self::Refused { status: 404 | 409, present_session, .. } => {
                let is_later = present_session.is_some_and(|present| present > session);
                Some(if is_later { Loss::Place } else { Loss::Session })
            }
            Self::Refused { .. } | Self::Unreachable(_) => None,
        }
    }

    /// Whether nobody wants to hear of the lease any more.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Refused { status: 401 | 404 | 409, .. })
    }
}

/// A session that has begun.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Begun {
    pub(super) server_id: Uuid,
    pub(super) name: String,
    pub(super) session: u32,
    pub(super) max_concurrent_tasks: u32,
    pub(super) heartbeat_ms: u64,
}

/// A lease of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) task_id: Uuid,
    pub(super) lease: u32,
}

/// A task that was leased.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Leased {
    #[serde(flatten)]
    pub(super) held: Held,
    pub(super) task_type: String,
    pub(super) config: Value,
    pub(super) time_left_ms: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct HeartbeatAnswer {
    pub(super) over: Vec<Held>,
    pub(super) max_concurrent_tasks: u32,
}

#[derive(Deserialize)]
struct LeaseAnswer {
    task: Option<Leased>,
}

/// One line that a task wrote.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LogLine {
    pub(super) level: &'static str,
    pub(super) message: String,
}

/// Calls the server in the name of one machine. Of several servers, one: the next as soon as that does not answer.
pub(super) struct Client {
    http: reqwest::Client,
    urls: Vec<String>,
    /// Calls that came to nothing so far; they say whose turn it is.
    turn: AtomicUsize,
}

impl Client {
    pub(super) fn new(servers: &[String], token: String) -> Result<Self, String> {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "the token is no token".to_owned())?;
        drop(token);
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        let urls = servers.iter().map(|server| Ok(format!("{}/api/gpu/agent", address(server)?)));
        let urls = urls.collect::<Result<_, String>>()?;
        let http = reqwest::Client::builder().connect_timeout(CONNECT_MAX).default_headers(headers).build();
        let http = http.map_err(|error| format!("no connections can be made: {error}"))?;
        Ok(Self { http, urls, turn: AtomicUsize::new(0) })
    }

    /// Begins a session of a machine that has this.
    pub(super) async fn register(&self, equipment: &Value) -> Result<Begun, ClientError> {
        self.post("register", &json!({ "equipment": equipment }), ANSWER_MAX).await
    }

    pub(super) async fn leave(&self, session: u32) -> Result<(), ClientError> {
        self.tell("leave", &json!({ "session": session })).await
    }

    /// Waits no longer than until the next one is due, or so: the server gives up whom it does not hear.
    pub(super) async fn heartbeat(&self, body: &Value, every: Duration) -> Result<HeartbeatAnswer, ClientError> {
        self.post("heartbeat", body, every.clamp(HEARTBEAT_ANSWER_MIN, CONNECT_MAX)).await
    }

    /// Waits for a task that fits into `room`.
    pub(super) async fn lease(&self, mut room: Value) -> Result<Option<Leased>, ClientError> {
        room["wait_seconds"] = LEASE_WAIT_SECONDS.into();
        let answer: LeaseAnswer = self.post("lease", &room, LEASE_MAX).await?;
        Ok(answer.task)
    }

    pub(super) async fn progress(&self, held: Held, progress: f64) -> Result<(), ClientError> {
        let body = json!({ "lease": held.lease, "progress": progress });
        self.tell(&format!("tasks/{}/progress", held.task_id), &body).await
    }

    /// Tells lines of which `first` is the number of the first.
    pub(super) async fn logs(&self, held: Held, first: u64, lines: &[LogLine]) -> Result<(), ClientError> {
        let body = json!({ "lease": held.lease, "first": first, "lines": lines });
        self.tell(&format!("tasks/{}/logs", held.task_id), &body).await
    }

    pub(super) async fn complete(&self, held: Held, result: &Value) -> Result<(), ClientError> {
        let body = json!({ "lease": held.lease, "result": result });
        self.tell(&format!("tasks/{}/complete", held.task_id), &body).await
    }

    pub(super) async fn fail(&self, held: Held, error: &str) -> Result<(), ClientError> {
        let body = json!({ "lease": held.lease, "error": error });
        self.tell(&format!("tasks/{}/fail", held.task_id), &body).await
    }

    async fn tell(&self, path: &str, body: &Value) -> Result<(), ClientError> {
        self.post::<Value>(path, body, ANSWER_MAX).await.map(drop)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value, patience: Duration) -> Result<T, ClientError> {
        let turn = self.turn.load(Ordering::Relaxed);
        let answer = self.post_to(&self.urls[turn % self.urls.len()], path, body, patience).await;
        if let Err(ClientError::Unreachable(_)) = &answer {
            // Of several calls that find the same server away, one turns to the next.
            let _ = self.turn.compare_exchange(turn, turn.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
        }
        answer
    }

    async fn post_to<T: DeserializeOwned>(
        &self,
        url: &str,
        path: &str,
        body: &Value,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let unreachable = |error: reqwest::Error| ClientError::Unreachable(with_causes(&error.without_url()));
        let request = self.http.post(format!("{url}/{path}")).timeout(patience).json(body);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        match status {
            200..=299 => {
                let mut answer: Value = response.json().await.map_err(unreachable)?;
                serde_json::from_value(answer["data"].take())
                    .map_err(|error| ClientError::Unreachable(format!("the answer is not understood: {error}")))
            }
            // Too slow, or too many requests: later it may be heard.
            408 | 429 | 500..=599 => Err(ClientError::Unreachable(format!("the server answers {status}"))),
            _ => Err(refused(status, &response.json().await.unwrap_or_default())),
        }
    }
}

/// A refusal. Whoever stands in between may say that nothing is here, or that nobody may come in: only the server knows.
fn refused(status: u16, answer: &Value) -> ClientError {
    let code = answer["error_code"].as_str().unwrap_or_default().to_owned();
    if code.is_empty() && matches!(status, 401 | 404 | 409) {
        return ClientError::Unreachable(format!("somebody in between answers {status}"));
    }
    let present_session = answer["details"]["present_session"].as_u64();
    ClientError::Refused { status, code, present_session: present_session.and_then(|session| session.try_into().ok()) }
}

/// The server's address, without a slash at its end.
fn address(server: &str) -> Result<&str, String> {
    let url = Url::parse(server).ok().filter(|url| ["http", "https"].contains(&url.scheme()));
    match url {
        Some(_) => Ok(server.trim_end_matches('/')),
        None => Err(format!("--server {server} is not an address such as http://127.0.0.1:8000")),
    }
}

/// What an error says, and what its causes say.
fn with_causes(error: &dyn Error) -> String {
    let (mut sentence, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        sentence = format!("{sentence}: {error}");
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme() {
        assert_eq!(address("http://127.0.0.1:8000/"), Ok("http://127.0.0.1:8000"));
        assert_eq!(address("https://owl.example.com/x"), Ok("https://owl.example.com/x"));
        for wrong in ["127.0.0.1:18080", "localhost:18080", "owl.example.com", "http://", "ftp://x", ""] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_reached_is_not_reached_for_a_reason() {
        // Taken, but nobody listens.
        let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let client = Client::new(&[format!("http://{taken}")], "token".to_owned()).unwrap();
        let error = client.register(&Value::Null).await.unwrap_err().to_string();
        assert!(error.contains("Connection refused"), "{error}");
    }

    #[test]
    fn a_session_is_lost_to_another_agent_only_if_that_began_later() {
        let answer = json!({ "error_code": "LEASE_LOST", "details": { "present_session": 4 } });
        assert_eq!(refused(409, &answer).loss(3), Some(Loss::Place));
        assert_eq!(refused(409, &answer).loss(4), Some(Loss::Session));
        assert_eq!(refused(401, &answer).loss(3), Some(Loss::Token));
        // A proxy whose server is away.
        for status in [401, 404, 409] {
            let elsewhere = refused(status, &Value::Null);
            assert!(elsewhere.loss(3).is_none() && !elsewhere.is_over());
        }
        assert_eq!(refused(422, &answer).loss(3), None);
        assert_eq!(ClientError::Unreachable(String::new()).loss(3), None);
    }
}
