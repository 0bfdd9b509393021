//! Connections that are used again: an answer that comes before the whole request does not cost the next one its own.

use std::time::Duration;

use tests::engine::Engine;
use tests::server::TestServer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(60);
const HEALTH: &[u8] = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n";

async fn connect(server: &TestServer) -> TcpStream {
    let stream = TcpStream::connect(server.url().trim_start_matches("http://")).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn head(path: &str, more: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 12\r\n{more}\r\n")
        .into()
}

/// The head of the next answer in lower case; its body is read and left out.
async fn answered(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = tokio::time::timeout(LONG, stream.read_u8()).await.unwrap().expect("an answer");
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    head
}

#[tokio::test]
async fn whoever_is_refused_before_the_body_came_may_ask_again() {
    let server = TestServer::start(Engine::Sqlite).await;
    for path in ["/crm/api/lead", "/api/v1/devices", "/api/v1/accounts", "/api/recharge/redeem", "/nowhere"] {
        let mut stream = connect(&server).await;
        for _ in 0..20 {
            stream.write_all(&head(path, "")).await.unwrap();
            tokio::task::yield_now().await;
            stream.write_all(br#"{"name":"a"}"#).await.unwrap();
            let refused = answered(&mut stream).await;
            assert!(refused.starts_with("http/1.1 40") && !refused.contains("connection: close"), "{refused}");
            stream.write_all(HEALTH).await.unwrap();
            assert!(answered(&mut stream).await.starts_with("http/1.1 200"), "{path}");
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_the_connection_and_the_answer_says_so() {
    let server = TestServer::start(Engine::Sqlite).await;
    for more in ["", "expect: 100-continue\r\n"] {
        let mut stream = connect(&server).await;
        stream.write_all(&head("/api/recharge/redeem", more)).await.unwrap();
        let refused = answered(&mut stream).await;
        assert!(refused.starts_with("http/1.1 401") && refused.contains("connection: close"), "{refused}");
        let rest = tokio::time::timeout(LONG, stream.read(&mut [0])).await.unwrap();
        assert_eq!(rest.unwrap(), 0, "the connection goes on");
    }
}
