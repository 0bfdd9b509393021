use std::pin::pin;
use std::task::{Context, Waker};

use super::*;

/// Projections and process managers that go no further by themselves.
struct Stand {
    projections: watch::Sender<u64>,
    wanted: watch::Sender<u64>,
    processes: watch::Sender<Handled>,
    readers: Readers,
}

fn stand(alone: bool) -> Stand {
    let (projections, wanted) = (watch::Sender::new(0), watch::Sender::new(0));
    let processes = watch::Sender::new(Handled::default());
    let readers = Readers::new(projections.subscribe(), wanted.clone(), processes.subscribe(), alone);
    Stand { projections, wanted, processes, readers }
}

fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[tokio::test]
async fn an_answer_that_shows_no_list_waits_for_process_managers_alone() {
    let Stand { projections, wanted, processes, readers } = stand(true);
    let mut answer = Box::pin(readers.handled_through(7));
    assert!(is_pending(&mut answer), "it was not handled yet");
    processes.send_replace(Handled::new(9, 9));
    assert_eq!(answer.await, Ok(9));
    assert_eq!(*wanted.borrow(), 0, "nobody is hurried");

    let mut list = Box::pin(readers.shown());
    assert!(is_pending(&mut list), "what was answered is not shown yet");
    assert_eq!(*wanted.borrow(), 9, "now somebody waits");
    projections.send_replace(9);
    assert_eq!(list.await, Ok(()));
}

#[tokio::test]
async fn where_others_show_the_lists_too_every_answer_waits_for_them() {
    let Stand { projections, processes, readers, .. } = stand(false);
    processes.send_replace(Handled::new(9, 9));
    let mut answer = Box::pin(readers.handled_through(7));
    assert!(is_pending(&mut answer));
    projections.send_replace(9);
    assert_eq!(answer.await, Ok(9));
    assert_eq!(readers.shown().await, Ok(()), "nothing is owed");
}

#[tokio::test]
async fn lists_are_not_left_behind_for_ever() {
    let Stand { projections, processes, readers, .. } = stand(true);
    let far = BEHIND_MAX + 8;
    processes.send_replace(Handled::new(far, far));
    let mut answer = Box::pin(readers.handled_through(far));
    assert!(is_pending(&mut answer));
    projections.send_replace(8);
    assert_eq!(answer.await, Ok(far));
}

#[tokio::test]
async fn a_position_that_the_log_may_not_have_hurries_nobody() {
    let Stand { projections, wanted, processes, readers } = stand(true);
    processes.send_replace(Handled::new(9, 9));
    let mut made_up = Box::pin(readers.projected(10));
    assert!(is_pending(&mut made_up));
    assert_eq!(*wanted.borrow(), 0);
    let mut anything = Box::pin(readers.beyond(0));
    assert!(is_pending(&mut anything));
    assert_eq!(*wanted.borrow(), 0);
    let mut real = Box::pin(readers.projected(9));
    assert!(is_pending(&mut real));
    assert_eq!(*wanted.borrow(), 9);
    projections.send_replace(10);
    made_up.await.unwrap();
    real.await.unwrap();
    anything.await.unwrap();
}
