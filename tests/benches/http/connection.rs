//! The least that can load a server: requests are bytes made beforehand, answers are read up to their length.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One client that keeps its connection.
pub(crate) struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    body: usize,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, received: Vec::with_capacity(4096), body: 0 }
    }

    /// Sends `request` and waits for the whole answer, which must be a 200.
    pub(crate) async fn ask(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.unwrap();
        self.received.clear();
        while !self.complete() {
            assert_ne!(self.stream.read_buf(&mut self.received).await.unwrap(), 0, "the server hung up");
        }
        let answer = String::from_utf8_lossy(&self.received);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// The body of the last answer.
    pub(crate) fn body(&self) -> &[u8] {
        &self.received[self.body..]
    }

    fn complete(&mut self) -> bool {
        let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
        let head = std::str::from_utf8(&self.received[..end]).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().parse().unwrap();
        self.body = end + 4;
        self.received.len() >= self.body + length
    }
}

/// The bytes of a `POST`.
pub(crate) fn post(path: &str, token: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The bytes of a `GET`.
pub(crate) fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n\r\n").into_bytes()
}
