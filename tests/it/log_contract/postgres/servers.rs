//! Several servers on one log, and a database that comes and goes.

use std::sync::Arc;
use std::time::Duration;

use commands::log::PostgresOptions;
use domain::log::{Append, Appended, Log, LogError};
use futures::future::join_all;
use sqlx::Executor;
use tests::events::{append, event, key};
use tokio::time::timeout;

use super::Postgres;
use crate::log_contract::{Durable, Engine, done, positions, read_after, read_everything};

const PATIENCE: Duration = Duration::from_secs(20);

/// Nothing is found by chance: only a notification wakes.
fn without_polling() -> PostgresOptions {
    PostgresOptions { poll_interval: Duration::from_secs(600), ..PostgresOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_can_start_together() {
    let place = Postgres::create().await;
    let logs = join_all((0..6).map(|_| place.open())).await;
    done(&*logs[0], append("lead", "1", 0, 1)).await;
    assert_eq!(logs[5].head().await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_share_one_log_without_gaps() {
    let place = Postgres::create().await;
    let servers = join_all((0..3).map(|_| place.open())).await;
    let writers = (0..24).map(|writer| {
        let log = Arc::clone(&servers[writer % 3]);
        tokio::spawn(async move {
            let mut last = 0;
            for sequence in 0..25 {
                let position = done(&*log, append("lead", &writer.to_string(), sequence, 1)).await[0].position;
                assert!(position > last, "a later append got an earlier position");
                last = position;
            }
        })
    });
    let readers = servers.iter().map(|log| {
        let log = Arc::clone(log);
        tokio::spawn(async move {
            let (mut seen, mut through) = (Vec::new(), 0);
            while through < 600 {
                log.grown(through).await;
                let page = log.read_all(through, &[], 100).await.unwrap();
                through = page.through;
                seen.extend(page.events);
            }
            seen
        })
    });
    let readers = join_all(readers.collect::<Vec<_>>());
    join_all(writers.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    let seen = timeout(PATIENCE, readers).await.unwrap();
    let everything = read_everything(&*place.open().await, &[], 1_000).await;
    assert_eq!(positions(&everything), (1..=600).collect::<Vec<_>>());
    assert!(everything.is_sorted_by_key(|event| event.recorded_at));
    for seen in seen {
        assert_eq!(seen.unwrap(), everything);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_server_appended_in_between_is_not_skipped() {
    let place = Postgres::create().await;
    let (one, other) = (place.open().await, place.open().await);
    for (position, log) in (0..).zip([&one, &other, &one, &one, &other, &other, &one]) {
        done(&**log, append("lead", &position.to_string(), 0, 1)).await;
        for after in 0..=position {
            for reader in [&one, &other] {
                let read = read_after(&**reader, after, &[], 10).await;
                assert_eq!(positions(&read), (after + 1..=position + 1).collect::<Vec<_>>());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_servers_on_one_stream_one_wins() {
    let place = Postgres::create().await;
    let (one, other) = (place.open().await, place.open().await);
    for sequence in 0..100 {
        let race =
            tokio::join!(one.append(append("lead", "1", sequence, 1)), other.append(append("lead", "1", sequence, 1)));
        match (race.0.unwrap(), race.1.unwrap()) {
            (Appended::Done(_), Appended::Conflict) | (Appended::Conflict, Appended::Done(_)) => {}
            both => panic!("at {sequence}: {both:?}"),
        }
        let keyed = |stream: &str| Append {
            key: Some(key(&sequence.to_string(), b"body")),
            ..append("deal", &format!("{stream}{sequence}"), 0, 1)
        };
        let race = tokio::join!(one.append(keyed("a")), other.append(keyed("b")));
        match (race.0.unwrap(), race.1.unwrap()) {
            (Appended::Done(_), Appended::Repeated(_)) | (Appended::Repeated(_), Appended::Done(_)) => {}
            both => panic!("at {sequence}: {both:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_is_woken() {
    let place = Postgres::create().await;
    let (writer, reader) = (place.open().await, place.server(without_polling()).await);
    for position in 0..20 {
        let waiting = reader.grown(position);
        done(&*writer, append("lead", &position.to_string(), 0, 1)).await;
        timeout(PATIENCE, waiting).await.unwrap();
        assert_eq!(reader.read_all(position, &[], 10).await.unwrap().events.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_connections_are_made_again() {
    let place = Postgres::create().await;
    let (one, other) = (place.open().await, place.open().await);
    for round in 0..5 {
        done(&*one, append("lead", "1", round, 1)).await;
        join_all((0..8).map(|_| other.head())).await;
        place.sql(END_ALL_CONNECTIONS).await.unwrap();
        assert_eq!(other.head().await.unwrap(), round * 3 + 1, "reading goes on");
        assert_eq!(one.read_stream("lead", "1", 0).await.unwrap().len() as u64, round + 1);
        until_available(&*one, append("deal", &round.to_string(), 0, 1)).await;
        until_available(&*other, append("site", &round.to_string(), 0, 1)).await;
    }
    timeout(PATIENCE, other.grown(14)).await.unwrap();
    assert_eq!(positions(&read_everything(&*one, &[], 100).await), (1..=15).collect::<Vec<_>>());
}

/// A command that was on its way when its connection ended is not acknowledged, and may be sent again.
async fn until_available(log: &dyn Log, append: Append) {
    let attempts = async {
        loop {
            match log.append(append.clone()).await {
                Err(LogError::Unavailable(_)) => {}
                appended => return appended,
            }
        }
    };
    let appended = timeout(PATIENCE, attempts).await.unwrap();
    assert!(matches!(appended, Ok(Appended::Done(_))), "{appended:?}");
}

const END_ALL_CONNECTIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'corelog'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_command_does_not_fail_its_neighbours() {
    let place = Postgres::create().await;
    let log = place.open().await;
    let commands = (0..30).map(|number| {
        let payload = if number == 13 { "no JSON" } else { "{}" };
        log.append(Append { events: vec![event(payload)], ..append("lead", &number.to_string(), 0, 0) })
    });
    for (number, appended) in join_all(commands).await.into_iter().enumerate() {
        assert_eq!(appended.is_ok(), number != 13, "command {number}: {appended:?}");
    }
    assert_eq!(log.head().await.unwrap(), 29);
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let refusal = commands::log::PostgresLog::connect("postgres://nobody@127.0.0.1:1/nothing", without_polling()).await;
    assert!(matches!(refusal, Err(LogError::Unavailable(_))));
    let refusal = commands::log::PostgresLog::connect("no address", without_polling()).await;
    assert!(matches!(refusal, Err(LogError::Unavailable(_))));
    let place = Postgres::create().await;
    let log = place.open().await;
    place.0.connect().await.execute("ALTER TABLE events RENAME TO gone").await.unwrap();
    assert!(matches!(log.append(append("lead", "1", 0, 1)).await, Err(LogError::Unavailable(_))));
    place.0.connect().await.execute("ALTER TABLE gone RENAME TO events").await.unwrap();
    done(&*log, append("lead", "1", 0, 1)).await;
}
