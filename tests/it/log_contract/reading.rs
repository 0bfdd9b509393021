//! Reading on from anywhere, and being woken.

use std::sync::Arc;
use std::time::Duration;

use domain::Recorded;
use domain::log::{Log, PAGE_EVENTS_MAX};
use futures::future::join_all;
use tests::events::append;
use tokio::time::timeout;

use super::{Engine, done, positions, read_after, read_everything};

/// A wait that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) async fn an_empty_log_has_an_end(engine: &impl Engine) {
    let log = engine.open().await;
    assert_eq!(log.head().await.unwrap(), 0);
    for (after, sorts) in [(0, &[][..]), (0, &["lead"][..]), (7, &[][..]), (u64::MAX, &["lead"][..])] {
        let page = log.read_all(after, sorts, 10).await.unwrap();
        assert_eq!((page.events.len(), page.through), (0, after));
    }
    assert!(log.read_stream("lead", "1", 0).await.unwrap().is_empty());
}

pub(super) async fn reading_resumes_after_any_position(engine: &impl Engine) {
    let log = engine.open().await;
    let sorts = ["lead", "deal", "site"];
    for number in 0..60 {
        let sort = sorts[number * number % 7 % 3];
        done(&*log, append(sort, &number.to_string(), 0, number % 3 + 1)).await;
    }
    every_resumption(&*log).await;
    every_resumption(&*engine.reopen(log).await).await;
}

async fn every_resumption(log: &dyn Log) {
    let everything = read_everything(log, &[], PAGE_EVENTS_MAX).await;
    let head = everything.len() as u64;
    assert_eq!(positions(&everything), (1..=head).collect::<Vec<_>>());
    for wanted in [&[][..], &["lead"][..], &["lead", "site"][..], &["nothing"][..]] {
        for after in 0..=head {
            let limit = [1, 2, 7, 50][usize::try_from(after % 4).unwrap()];
            let read = read_after(log, after, wanted, limit).await;
            assert_eq!(read, expected(&everything, after, wanted), "{wanted:?} after {after} by {limit}");
        }
    }
    let page = log.read_all(0, &["nothing"], 1).await.unwrap();
    assert_eq!(page.through, head, "a page without events says how far it looked");
    assert_eq!(log.read_all(3, &[], 0).await.unwrap().through, 3);
    assert_eq!(log.read_stream("deal", "0", 0).await.unwrap(), []);
    let third = everything.iter().find(|event| event.sequence == 3).unwrap();
    let rest = log.read_stream(&third.aggregate_type, &third.aggregate_id, 1).await.unwrap();
    assert_eq!(rest.iter().map(|event| event.sequence).collect::<Vec<_>>(), [2, 3]);
}

fn expected(everything: &[Recorded], after: u64, wanted: &[&str]) -> Vec<Recorded> {
    let later = everything.iter().filter(|event| event.position > after);
    later.filter(|event| wanted.is_empty() || wanted.contains(&&*event.aggregate_type)).cloned().collect()
}

pub(super) async fn a_reader_is_woken(engine: &impl Engine) {
    let log = engine.open().await;
    for position in 0..20 {
        let mut waiting = Box::pin(log.grown(position));
        assert!(futures::poll!(&mut waiting).is_pending(), "woken before there was anything after {position}");
        done(&*log, append("lead", &position.to_string(), 0, 1)).await;
        timeout(PATIENCE, waiting).await.unwrap();
        assert_eq!(log.read_all(position, &[], 10).await.unwrap().events.len(), 1);
    }
    timeout(PATIENCE, log.grown(5)).await.unwrap();
}

pub(super) async fn a_reader_at_the_end_misses_nothing(engine: &impl Engine) {
    const EVENTS: u64 = 1_600;
    let log = engine.open().await;
    let reader = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let (mut seen, mut through) = (Vec::new(), 0);
            while through < EVENTS {
                log.grown(through).await;
                let page = log.read_all(through, &[], 64).await.unwrap();
                through = page.through;
                seen.extend(page.events);
            }
            seen
        })
    };
    let writers = (0..16).map(|writer| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for sequence in 0..100 {
                done(&*log, append("lead", &writer.to_string(), sequence, 1)).await;
            }
        })
    });
    join_all(writers).await.into_iter().for_each(Result::unwrap);
    let seen = timeout(PATIENCE, reader).await.unwrap().unwrap();
    assert_eq!(positions(&seen), (1..=EVENTS).collect::<Vec<_>>());
    assert_eq!(seen, read_everything(&*log, &[], PAGE_EVENTS_MAX).await);
}

pub(super) async fn time_never_goes_back(engine: &impl Engine) {
    let log = engine.open().await;
    join_all((0..300).map(|number| {
        let log = &log;
        async move { done(&**log, append("lead", &number.to_string(), 0, 1)).await }
    }))
    .await;
    let events = read_everything(&*log, &[], PAGE_EVENTS_MAX).await;
    assert!(events.is_sorted_by_key(|event| event.recorded_at));
    assert!(events.iter().all(|event| event.recorded_at.timestamp_subsec_nanos() % 1_000 == 0), "microseconds");
}

pub(super) async fn pages_are_bounded(engine: &impl Engine) {
    let log = engine.open().await;
    for number in 0..12 {
        done(&*log, append("lead", &number.to_string(), 0, 1_000)).await;
    }
    let page = log.read_all(0, &[], usize::MAX).await.unwrap();
    assert_eq!((page.events.len(), page.through), (PAGE_EVENTS_MAX, PAGE_EVENTS_MAX as u64));
    let reopened = engine.reopen(log).await;
    let page = reopened.read_all(0, &["lead"], usize::MAX).await.unwrap();
    assert_eq!((page.events.len(), page.through), (PAGE_EVENTS_MAX, PAGE_EVENTS_MAX as u64));
    assert_eq!(read_everything(&*reopened, &[], usize::MAX).await.len(), 12_000);
}
