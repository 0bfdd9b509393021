//! Agents that cannot go on: they end what they run, say why, and leave the field.

use api::surface::Surface;
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tests::agent::Agent;
use tests::answer::Answer;
use tests::engine::Engine;
use tests::server::{Client, TestServer};

use super::real_agents::{ended, impatient, registered, rich, runs, submit, until};

async fn first_server(user: &Client) -> String {
    let servers = user.get("/api/gpu/servers").await.expect(200);
    servers.at("/data/0/id").as_str().unwrap().to_owned()
}

/// Starts a job that runs for ever; answers the word by which it is found.
async fn endless_job(user: &Client) -> String {
    let word = format!("endless-{}", tests::fresh_id());
    submit(user, &["sh", "-c", &format!("sleep 600; : {word}"), &word]).await;
    until("the start of a job", || runs(&word)).await;
    word
}

#[tokio::test]
async fn an_agent_whose_token_was_renewed_ends_its_jobs_and_says_so() {
    let (server, place) = (impatient().await, TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let agent = Agent::start(&server.url(), &token, place.path(), &[]);
    let word = endless_job(&user).await;
    let path = format!("/api/gpu/servers/{}/token", first_server(&user).await);
    server.admin(Surface::Owl).post(&path, json!({})).await.expect(200);
    let (status, said) = agent.ended().await;
    assert!(!status.success() && said.contains("does not accept this token any more"), "{status}: {said}");
    until("the end of its job", || !runs(&word)).await;
}

#[tokio::test]
async fn an_agent_whose_server_was_removed_ends_its_jobs_though_it_has_no_room() {
    let (server, place) = (impatient().await, TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    // One place, and it is taken: the agent asks for no more tasks.
    let agent = Agent::start(&server.url(), &token, place.path(), &["--tasks", "1"]);
    let word = endless_job(&user).await;
    let path = format!("/api/gpu/servers/{}", first_server(&user).await);
    server.admin(Surface::Owl).send(Method::DELETE, &path, None).await.expect(200);
    let (status, said) = agent.ended().await;
    assert!(!status.success() && said.contains("does not accept this token any more"), "{status}: {said}");
    until("the end of its job", || !runs(&word)).await;
}

#[tokio::test]
async fn an_agent_that_another_one_pushes_out_says_so_and_does_not_fight() {
    let (server, place) = (impatient().await, TempDir::new().unwrap());
    let (token, user) = (registered(&server, "one").await, rich(&server).await);
    let first = Agent::start(&server.url(), &token, place.path(), &[]);
    let word = endless_job(&user).await;
    let second = Agent::start(&server.url(), &token, place.path(), &[]);
    let (status, said) = first.ended().await;
    assert!(!status.success() && said.contains("another agent signed in with this token"), "{status}: {said}");
    // What it ran is run by the other one, which stays.
    until("the second start of the job", || runs(&word)).await;
    let online = |answer: &Answer| answer.at("/data/0/status") == "online";
    server.get_until(&user, "/api/gpu/servers", online).await;
    let said = submit(&user, &["echo", "hello"]).await;
    assert_eq!(ended(&server, &user, &said).await["status"], "completed");
    tokio::task::spawn_blocking(|| second.terminate()).await.unwrap();
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once() {
    let place = TempDir::new().unwrap();
    for (address, why) in [
        ("127.0.0.1:18080", "--server 127.0.0.1:18080 is not an address such as http://127.0.0.1:8000"),
        ("localhost:18080", "--server localhost:18080 is not an address such as http://127.0.0.1:8000"),
        ("ftp://localhost", "--server ftp://localhost is not an address such as http://127.0.0.1:8000"),
    ] {
        let agent = Agent::start(address, "none", place.path(), &[]);
        let (status, said) = agent.ended().await;
        assert!(!status.success() && said.contains(why), "{status}: {said}");
    }
}

#[tokio::test]
async fn an_unknown_token_is_not_tried_again() {
    let (server, place) = (TestServer::start(Engine::Sqlite).await, TempDir::new().unwrap());
    let agent = Agent::start(&server.url(), "owl_agent_x", place.path(), &[]);
    let (status, said) = agent.ended().await;
    assert!(!status.success() && said.contains("does not know this token"), "{status}: {said}");
}
