//! A mail server that keeps what it takes, and can be told to refuse.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::BASE64_MIME_PERMISSIVE;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const WAIT_MAX: Duration = Duration::from_secs(30);

/// A mail as it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub to: String,
    pub headers: String,
    pub text: String,
}

#[derive(Default)]
struct State {
    taken: Mutex<Vec<Taken>>,
    /// Answers to the next recipients, instead of taking them.
    refusals: Mutex<Vec<&'static str>>,
    changed: Notify,
}

/// The server. It stops with this value.
pub struct SmtpSink {
    address: SocketAddr,
    state: Arc<State>,
    serving: JoinHandle<()>,
}

impl SmtpSink {
    /// A server on a free loopback port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let of_server = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&of_server)));
            }
        });
        Self { address, state, serving }
    }

    /// Where it listens, as a setting.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// The next recipient is answered with this line.
    pub fn refuse(&self, line: &'static str) {
        self.state.refusals.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Everything taken so far.
    pub fn taken(&self) -> Vec<Taken> {
        self.state.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The mails, as soon as there are `count` of them.
    pub async fn wait_for(&self, count: usize) -> Vec<Taken> {
        let waiting = async {
            loop {
                let changed = self.state.changed.notified();
                let taken = self.taken();
                if taken.len() >= count {
                    return taken;
                }
                changed.await;
            }
        };
        tokio::time::timeout(WAIT_MAX, waiting).await.unwrap()
    }
}

impl Drop for SmtpSink {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn converse(stream: TcpStream, state: Arc<State>) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    let mut to = String::new();
    write.write_all(b"220 sink\r\n").await.unwrap();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match line.get(..4).unwrap_or_default().to_uppercase().as_str() {
            "RCPT" => {
                line.split(['<', '>']).nth(1).unwrap_or_default().clone_into(&mut to);
                state.refusals.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or("250 ok")
            }
            "DATA" => {
                write.write_all(b"354 go on\r\n").await.unwrap();
                let mut message = Vec::new();
                while let Ok(Some(line)) = lines.next_line().await {
                    if line == "." {
                        break;
                    }
                    message.push(line);
                }
                state.taken.lock().unwrap_or_else(PoisonError::into_inner).push(taken(&to, &message));
                state.changed.notify_waiters();
                "250 taken"
            }
            "QUIT" => break,
            _ => "250 ok",
        };
        if write.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() {
            break;
        }
    }
}

fn taken(to: &str, message: &[String]) -> Taken {
    let end = message.iter().position(String::is_empty).unwrap_or(message.len());
    let (headers, body) = (message[..end].join("\n"), message[end..].join("\n"));
    let text = if headers.to_lowercase().contains("content-transfer-encoding: base64") {
        String::from_utf8(BASE64_MIME_PERMISSIVE.decode(body.trim().as_bytes()).unwrap()).unwrap()
    } else {
        body
    };
    Taken { to: to.to_owned(), headers, text }
}
