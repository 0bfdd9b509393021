//! The agent's side of the conversation with the server.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(20);
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
    Refused { status: u16, code: String },
}

impl ClientError {
    /// Whether the server knows the session or the lease no more.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self, Self::Refused { status: 404 | 409, .. })
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

/// Calls the server in the name of one machine.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(super) fn new(server: &str, token: String) -> Result<Self, String> {
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "the token is no token".to_owned())?;
        drop(token);
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        let http = reqwest::Client::builder().connect_timeout(CONNECT_MAX).default_headers(headers).build();
        let http = http.map_err(|error| format!("no connections can be made: {error}"))?;
        Ok(Self { http, url: format!("{}/api/gpu/agent", server.trim_end_matches('/')) })
    }

    pub(super) async fn register(&self) -> Result<Begun, ClientError> {
        self.post("register", &json!({}), ANSWER_MAX).await
    }

    pub(super) async fn leave(&self, session: u32) -> Result<(), ClientError> {
        self.tell("leave", &json!({ "session": session })).await
    }

    pub(super) async fn heartbeat(&self, body: &Value) -> Result<HeartbeatAnswer, ClientError> {
        self.post("heartbeat", body, ANSWER_MAX).await
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

    pub(super) async fn logs(&self, held: Held, lines: &[LogLine]) -> Result<(), ClientError> {
        let body = json!({ "lease": held.lease, "lines": lines });
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
        let unreachable = |error: reqwest::Error| ClientError::Unreachable(error.without_url().to_string());
        let request = self.http.post(format!("{}/{path}", self.url)).timeout(patience).json(body);
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let mut answer: Value = response.json().await.map_err(unreachable)?;
        match status {
            200..=299 => serde_json::from_value(answer["data"].take())
                .map_err(|error| ClientError::Unreachable(format!("the answer is not understood: {error}"))),
            500..=599 => Err(ClientError::Unreachable(format!("the server answers {status}"))),
            _ => {
                let code = answer["error_code"].as_str().unwrap_or_default().to_owned();
                Err(ClientError::Refused { status, code })
            }
        }
    }
}
