//! The orders to each miner, in the order of the log: the next one waits until the one before has come to an end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// A queue a miner.
#[derive(Default)]
pub(super) struct Queues {
    waiting: Mutex<HashMap<i64, VecDeque<String>>>,
    left: Notify,
}

impl Queues {
    /// Forgets all orders.
    pub(super) fn clear(&self) {
        self.waiting().clear();
        self.left.notify_waiters();
    }

    /// Puts an order at the end of the queue of its miner, unless it is in there.
    pub(super) fn join(&self, miner_id: i64, order: &str) {
        let mut waiting = self.waiting();
        let queue = waiting.entry(miner_id).or_default();
        if !queue.iter().any(|known| known == order) {
            queue.push_back(order.to_owned());
        }
    }

    /// Takes an order that has come to an end out of its queue.
    pub(super) fn leave(&self, miner_id: i64, order: &str) {
        let mut waiting = self.waiting();
        if let Some(queue) = waiting.get_mut(&miner_id) {
            queue.retain(|known| known != order);
            if queue.is_empty() {
                waiting.remove(&miner_id);
            }
        }
        self.left.notify_waiters();
    }

    /// Returns when an order is the first one of its queue.
    pub(super) async fn turn(&self, miner_id: i64, order: &str) {
        loop {
            let left = self.left.notified();
            if self.is_first(miner_id, order) {
                return;
            }
            left.await;
        }
    }

    fn is_first(&self, miner_id: i64, order: &str) -> bool {
        self.waiting().get(&miner_id).and_then(VecDeque::front).is_none_or(|first| first == order)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<i64, VecDeque<String>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_ready(future: impl Future<Output = ()>) -> bool {
        pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn orders_to_one_miner_take_turns() {
        let queues = Queues::default();
        for (miner_id, order) in [(1, "a"), (1, "b"), (2, "c"), (1, "a")] {
            queues.join(miner_id, order);
        }
        assert!(is_ready(queues.turn(1, "a")) && is_ready(queues.turn(2, "c")));
        assert!(!is_ready(queues.turn(1, "b")));
        queues.leave(1, "a");
        assert!(is_ready(queues.turn(1, "b")));
    }

    #[test]
    fn nobody_waits_for_an_order_that_is_forgotten() {
        let queues = Queues::default();
        queues.join(1, "a");
        queues.clear();
        queues.join(1, "b");
        assert!(is_ready(queues.turn(1, "b")));
    }

    #[tokio::test]
    async fn an_order_that_waits_is_woken() {
        let queues = Queues::default();
        queues.join(1, "a");
        queues.join(1, "b");
        tokio::join!(queues.turn(1, "b"), async { queues.leave(1, "a") });
    }
}
