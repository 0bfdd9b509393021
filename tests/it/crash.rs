//! Killed in the middle, again and again: nothing acknowledged is lost, nothing happens twice.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::json;
use tempfile::TempDir;
use tests::postgres::Database;
use tests::program::{Installation, Program};
use tests::server::Client;
use tokio::sync::mpsc;

const ROUNDS: usize = 50;
const USERS: usize = 8;
const CLIENTS: usize = 16;
/// A round ends after a random number of acknowledged redemptions, at most this.
const ACKNOWLEDGED_MAX: usize = 40;
const AMOUNT: i64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_fifty_kills_sqlite() {
    let data = TempDir::new().unwrap();
    kill_again_and_again(Installation { data_dir: data.path().to_owned(), database_url: None }, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_in_fifty_kills_postgres() {
    let (data, database) = (TempDir::new().unwrap(), Database::create().await);
    let installation = Installation { data_dir: data.path().to_owned(), database_url: Some(database.url()) };
    kill_again_and_again(installation, 2).await;
}

/// What clients know of one code.
#[derive(Clone)]
struct Attempt {
    code: String,
    user: usize,
}

async fn kill_again_and_again(installation: Installation, seed: u64) {
    // The moments of the kills come from a fixed seed; what the clients were doing then does not.
    let mut random = StdRng::seed_from_u64(seed);
    let mut program = installation.serve();
    let admin = program.admin().await;
    let mut users = Vec::new();
    for number in 0..USERS {
        users.push(program.new_user(&format!("user{number}")).await);
    }
    let mut redeemed: BTreeMap<String, usize> = BTreeMap::new();
    let mut unanswered: Vec<Attempt> = Vec::new();
    for round in 0..ROUNDS {
        let issued = issue(&program.reached_by(&admin), ACKNOWLEDGED_MAX + CLIENTS).await;
        let fresh = issued.into_iter().enumerate().map(|(n, code)| Attempt { code, user: (round + n) % USERS });
        let attempts = unanswered.drain(..).chain(fresh).collect();
        let kill_after = random.random_range(1..=ACKNOWLEDGED_MAX);
        let (acknowledged, open) = redeem_until_killed(&mut program, &users, attempts, kill_after).await;
        for attempt in acknowledged {
            assert_eq!(redeemed.insert(attempt.code, attempt.user), None, "acknowledged twice under one key");
        }
        unanswered = open;
        program = installation.serve();
    }
    // Whatever was in flight at a kill is asked for once more, under its key.
    for attempt in unanswered {
        let user = program.reached_by(&users[attempt.user]);
        redeem(&user, &attempt).await.unwrap().expect(200);
        redeemed.insert(attempt.code, attempt.user);
    }
    check(&program, &admin, &users, &redeemed).await;
    assert!(program.terminate().success());
    let (verified, text) = installation.run(&["replay", "verify"]);
    assert!(verified.success(), "{text}");
}

/// Redeems with many clients at once and kills the server after `kill_after` acknowledgements. Answers what was
/// acknowledged and what was asked for without an answer.
async fn redeem_until_killed(
    program: &mut Program,
    users: &[Client],
    attempts: Vec<Attempt>,
    kill_after: usize,
) -> (Vec<Attempt>, Vec<Attempt>) {
    let (report, mut reports) = mpsc::unbounded_channel();
    let queue = std::sync::Arc::new(tokio::sync::Mutex::new(attempts.into_iter()));
    for _ in 0..CLIENTS {
        let (report, queue) = (report.clone(), queue.clone());
        let users: Vec<Client> = users.iter().map(|user| program.reached_by(user)).collect();
        tokio::spawn(async move {
            loop {
                let Some(attempt) = queue.lock().await.next() else { return };
                let answer = redeem(&users[attempt.user], &attempt).await;
                let lost = answer.is_err();
                let _ = report.send((attempt, answer));
                if lost {
                    return;
                }
            }
        });
    }
    drop(report);
    let (mut acknowledged, mut open) = (Vec::new(), Vec::new());
    while let Some((attempt, answer)) = reports.recv().await {
        match answer {
            Ok(answer) => {
                answer.expect(200);
                acknowledged.push(attempt);
            }
            Err(_) => open.push(attempt),
        }
        if acknowledged.len() == kill_after {
            program.kill();
        }
    }
    (acknowledged, open)
}

async fn redeem(user: &Client, attempt: &Attempt) -> Result<tests::answer::Answer, reqwest::Error> {
    let body = json!({ "code": attempt.code }).to_string();
    user.with("Idempotency-Key", &attempt.code).try_send(Method::POST, "/api/recharge/redeem", Some(body)).await
}

async fn issue(admin: &Client, codes: usize) -> Vec<String> {
    let answer = admin.post("/api/recharge/codes", json!({ "amount": AMOUNT, "batch_size": codes })).await.expect(200);
    answer.at("/data/codes").as_array().unwrap().iter().map(|code| code["code"].as_str().unwrap().to_owned()).collect()
}

/// Every acknowledged redemption is there once, and the balances are their sums.
async fn check(program: &Program, admin: &Client, users: &[Client], redeemed: &BTreeMap<String, usize>) {
    let spent = program.reached_by(admin).get("/api/recharge/codes?status=used&page_size=1").await.expect(200);
    assert_eq!(spent.at("/total"), redeemed.len());
    for (number, client) in users.iter().enumerate() {
        let user = program.reached_by(client);
        let expected = redeemed.values().filter(|by| **by == number).count();
        assert_eq!(user.get("/api/recharge/records?page_size=1").await.expect(200).at("/total"), expected);
        let balance: Decimal =
            user.get("/api/users/me").await.expect(200).at("/data/balance").to_string().parse().unwrap();
        assert_eq!(balance.normalize(), Decimal::from(AMOUNT * i64::try_from(expected).unwrap()).normalize());
    }
}
