//! The PostgreSQL server crashes, and is restarted, while commands are under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tests::answer::Answer;
use tests::cluster::Cluster;
use tests::program::{Installation, Program};
use tests::server::Client;
use tokio::task::JoinHandle;

use super::PATIENCE;

const CLIENTS: usize = 8;
const AMOUNT: u64 = 10;
/// Codes acknowledged between two interruptions.
const ACKNOWLEDGED: u64 = 30;

/// What the clients have seen together.
#[derive(Default)]
struct Seen {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    stop: std::sync::atomic::AtomicBool,
}

impl Seen {
    /// Returns when `count` has grown by `more`.
    async fn more(count: &AtomicU64, more: u64, what: &str) {
        let enough = count.load(Ordering::Relaxed) + more;
        let growing = async {
            while count.load(Ordering::Relaxed) < enough {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, growing).await.unwrap_or_else(|_| panic!("{what} does not happen"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_postgresql_is_restarted_in_the_middle_of_load() {
    let (data, cluster) = (TempDir::new().unwrap(), Cluster::start());
    let installation = Installation { data_dir: data.path().to_owned(), database_url: Some(cluster.url()) };
    let program = installation.serve();
    let admin = program.admin().await;
    let seen = Arc::new(Seen::default());
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let user = program.new_user(&format!("user{number}")).await;
        clients.push((user.clone(), tokio::spawn(redeem_on_and_on(admin.clone(), user, Arc::clone(&seen)))));
    }
    for crashes in [true, false, true] {
        Seen::more(&seen.acknowledged, ACKNOWLEDGED, "an acknowledgement").await;
        if crashes {
            cluster.crash();
        } else {
            cluster.stop();
        }
        Seen::more(&seen.refused, 1, "a refusal").await;
        cluster.resume();
    }
    Seen::more(&seen.acknowledged, ACKNOWLEDGED, "an acknowledgement after the last restart").await;
    seen.stop.store(true, Ordering::Relaxed);
    check(&program, &admin, clients).await;
    assert!(program.terminate().success());
    let (verified, text) = installation.run(&["replay", "verify"]);
    assert!(verified.success(), "{text}");
}

/// Has codes issued and redeems them, each under a key until it is acknowledged. Answers how many.
async fn redeem_on_and_on(admin: Client, user: Client, seen: Arc<Seen>) -> u64 {
    let mut redeemed = 0;
    while !seen.stop.load(Ordering::Relaxed) {
        let issued = insist(&admin, "/api/recharge/codes", json!({ "amount": AMOUNT }), &seen).await;
        let code = issued["data"]["codes"][0]["code"].clone();
        insist(&user, "/api/recharge/redeem", json!({ "code": code }), &seen).await;
        redeemed += 1;
        seen.acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    redeemed
}

/// Sends the same request under the same key until it is carried out.
async fn insist(client: &Client, path: &str, body: serde_json::Value, seen: &Seen) -> serde_json::Value {
    let client = client.with("Idempotency-Key", &tests::fresh_id().to_string());
    loop {
        let answer = client.send(Method::POST, path, Some(body.to_string())).await;
        match answer.status {
            200 => return answer.json,
            503 => seen.refused.fetch_add(1, Ordering::Relaxed),
            status => panic!("{path} is answered with {status}: {}", answer.text),
        };
    }
}

/// Asks until the read models have come as far as the client wants.
async fn caught_up(client: &Client, path: &str) -> Answer {
    let asking = async {
        loop {
            let answer = client.get(path).await;
            if answer.status != 503 {
                return answer.expect(200);
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("{path} does not come back"))
}

/// What every client was told is there, once.
async fn check(program: &Program, admin: &Client, clients: Vec<(Client, JoinHandle<u64>)>) {
    let mut expected = BTreeMap::new();
    for (number, (user, redeeming)) in clients.into_iter().enumerate() {
        expected.insert(number, (user, redeeming.await.unwrap()));
    }
    let projections = caught_up(&program.reached_by(admin), "/platform/v1/projections").await;
    let head = projections.at("/head").to_string();
    for (user, redeemed) in expected.values() {
        let user = user.with("Corelog-Min-Position", &head);
        assert_eq!(caught_up(&user, "/api/recharge/records?page_size=1").await.at("/total"), *redeemed);
        let balance = caught_up(&user, "/api/users/me").await.at("/data/balance").as_f64();
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let owed = (AMOUNT * redeemed) as f64;
        assert_eq!(balance, Some(owed));
    }
    let total: u64 = expected.values().map(|(_, redeemed)| redeemed).sum();
    let used =
        caught_up(&admin.with("Corelog-Min-Position", &head), "/api/recharge/codes?status=used&page_size=1").await;
    assert_eq!(used.at("/total"), total);
}
