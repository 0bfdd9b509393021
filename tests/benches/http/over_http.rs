//! The load over HTTP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::routing::post;
use axum::{Json, Router};
use futures::future::join_all;
use serde_json::{Value, json};
use tests::engine::Engine;
use tests::postgres::Database;
use tests::program::{Installation, Program};
use tests::server::Client;
use tokio::net::TcpListener;

use super::AMOUNT;
use super::connection::{self, Connection};
use crate::measure::{Load, rate, runtime};
use crate::stores;

const BATCH: usize = 1_000;

/// `requests` redemptions by `clients` users; the balances are checked at the end.
pub(super) fn redemptions(engine: Engine, clients: usize, requests: usize) -> Load {
    let preparing = runtime();
    let data = stores::directory();
    let database = preparing.block_on(stores::database(engine));
    let database_url = database.as_ref().map(Database::url);
    let program = Installation { data_dir: data.path().to_owned(), database_url }.serve();
    let (users, codes) = preparing.block_on(prepared(&program, clients, requests));
    let each = codes.len() / clients;
    let requests: Vec<Vec<Vec<u8>>> = users
        .iter()
        .zip(codes.chunks(each))
        .map(|(user, codes)| codes.iter().map(|code| redemption(user.token().unwrap(), code)).collect())
        .collect();
    let begun = Instant::now();
    let (load, bodies) = driven(program.address(), &requests);
    // Lists may be behind these answers; what they owe is not given away.
    let records = preparing.block_on(users[0].get("/api/recharge/records")).expect(200);
    let load = Load { per_second: rate(each * clients, begun.elapsed()), ..load };
    assert_eq!(records.at("/total"), each, "{records:?}");
    for body in bodies {
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let balance = answer["data"]["new_balance"].as_f64().unwrap();
        assert_eq!(format!("{balance:.0}"), (AMOUNT * i64::try_from(each).unwrap()).to_string(), "{answer}");
    }
    assert!(program.terminate().success());
    load
}

/// Answers of a server that does nothing, to see what the generator and HTTP take.
pub(super) fn bare_answers(clients: usize, requests: usize) -> Load {
    let serving = runtime();
    let address = serving.block_on(async {
        let router = Router::new().route("/", post(async |Json(body): Json<Value>| Json(body)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        address
    });
    let request = connection::post("/", "", "{\"code\":\"OWL-2222-2222-2222\"}");
    driven(address, &vec![vec![request; requests / clients]; clients]).0
}

/// A user for each client, and enough codes.
async fn prepared(program: &Program, clients: usize, requests: usize) -> (Vec<Client>, Vec<String>) {
    let mut users = Vec::new();
    for number in 0..clients {
        users.push(program.new_user(&format!("user{number}")).await);
    }
    let admin = program.admin().await;
    let mut codes = Vec::new();
    while codes.len() < requests {
        let answer = admin.post("/api/recharge/codes", json!({ "amount": AMOUNT, "batch_size": BATCH })).await;
        let answer = answer.expect(200);
        let batch = answer.at("/data/codes").as_array().unwrap().clone();
        codes.extend(batch.iter().map(|code| code["code"].as_str().unwrap().to_owned()));
    }
    codes.truncate(requests / clients * clients);
    (users, codes)
}

fn redemption(token: &str, code: &str) -> Vec<u8> {
    connection::post("/api/recharge/redeem", token, &json!({ "code": code }).to_string())
}

/// Each client sends its requests one after the other, all of them from one thread. Answers the last bodies too.
pub(crate) fn driven(address: SocketAddr, requests: &[Vec<Vec<u8>>]) -> (Load, Vec<Vec<u8>>) {
    let generator = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    generator.block_on(async {
        let connections = join_all(requests.iter().map(|_| Connection::open(address))).await;
        let begun = Instant::now();
        let clients = connections.into_iter().zip(requests).map(|(connection, requests)| client(connection, requests));
        let (latencies, bodies): (Vec<_>, Vec<_>) = join_all(clients).await.into_iter().unzip();
        (Load::of(latencies.concat(), begun.elapsed()), bodies)
    })
}

async fn client(mut connection: Connection, requests: &[Vec<u8>]) -> (Vec<Duration>, Vec<u8>) {
    let mut latencies = Vec::with_capacity(requests.len());
    for request in requests {
        let begun = Instant::now();
        connection.ask(request).await;
        latencies.push(begun.elapsed());
    }
    (latencies, connection.body().to_vec())
}
