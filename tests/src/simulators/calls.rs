//! The remote calls of both makes: one JSON object in, one JSON object out, closed by a zero byte, on TCP port 4028.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The port that the makers fixed.
pub(super) const PORT: u16 = 4028;

const REQUEST_BYTES_MAX: usize = 16 * 1024;

/// Answers calls until the task is aborted; open connections end with it.
pub(super) async fn serve(listener: TcpListener, answer: impl Fn(&Value) -> Value + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(converse(stream, Arc::clone(&answer)));
        while connections.try_join_next().is_some() {}
    }
}

/// A connection that brings no whole request is a probe and gets no answer.
async fn converse(mut stream: TcpStream, answer: Arc<impl Fn(&Value) -> Value>) {
    let mut received = Vec::new();
    while received.len() < REQUEST_BYTES_MAX {
        match stream.read_buf(&mut received).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Ok(request) = serde_json::from_slice::<Value>(&received) {
            let mut response = answer(&request).to_string().into_bytes();
            response.push(0);
            // The caller may be gone by now.
            drop(stream.write_all(&response).await);
            return;
        }
    }
}

/// What cgminer and its heirs answer to what they do not know.
pub(super) fn invalid_command() -> Value {
    json!({"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "Invalid command"}], "id": 1})
}
