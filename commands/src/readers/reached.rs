//! Waiting for one position among many who wait: each is woken once, when its own is reached.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::Handled;

/// How far something has come.
pub(super) trait Progress: Clone + Send + Sync + 'static {
    /// Everything up to here is done.
    fn position(&self) -> u64;
}

impl Progress for u64 {
    fn position(&self) -> u64 {
        *self
    }
}

impl Progress for Handled {
    fn position(&self) -> u64 {
        self.through
    }
}

/// Something that moves along the log, and who waits for it.
pub(super) struct Reached<P> {
    progress: watch::Receiver<P>,
    waiting: Mutex<Waiting>,
}

/// By the position that is waited for.
type Waiting = BTreeMap<u64, Vec<oneshot::Sender<()>>>;

impl<P: Progress> Reached<P> {
    /// Follows `progress` for as long as anybody can wait for it.
    pub(super) fn of(progress: watch::Receiver<P>) -> Arc<Self> {
        let reached = Arc::new(Self { progress: progress.clone(), waiting: Mutex::default() });
        tokio::spawn(wake(Arc::downgrade(&reached), progress));
        reached
    }

    /// How far it is.
    pub(super) fn now(&self) -> P {
        self.progress.borrow().clone()
    }

    /// Returns when it has reached `position`, or will move no more: the server is shutting down.
    pub(super) async fn wait(&self, position: u64) {
        if self.progress.borrow().position() >= position {
            return;
        }
        let mut leaving = Leaving { reached: self, position, woken: false };
        let (wake, woken) = oneshot::channel();
        self.waiting().entry(position).or_default().push(wake);
        // It may have moved before it was known that somebody waits, and whoever wakes may be gone.
        if self.progress.borrow().position() < position && self.progress.has_changed().is_ok() {
            leaving.woken = woken.await.is_ok();
        }
    }

    fn take(&self, through: u64) -> Waiting {
        let mut waiting = self.waiting();
        let later = through.checked_add(1).map_or_else(Waiting::new, |next| waiting.split_off(&next));
        std::mem::replace(&mut waiting, later)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits: whoever gives up leaves nothing behind, though the position may never be reached.
struct Leaving<'a, P> {
    reached: &'a Reached<P>,
    position: u64,
    /// Whoever was woken is forgotten already.
    woken: bool,
}

impl<P> Drop for Leaving<'_, P> {
    fn drop(&mut self) {
        if self.woken {
            return;
        }
        let mut waiting = self.reached.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = waiting.get_mut(&self.position) {
            here.retain(|wake| !wake.is_closed());
            if here.is_empty() {
                waiting.remove(&self.position);
            }
        }
    }
}

/// Wakes those whose position is reached, and everybody at the end.
async fn wake<P: Progress>(reached: std::sync::Weak<Reached<P>>, mut progress: watch::Receiver<P>) {
    loop {
        let ended = progress.changed().await.is_err();
        let through = if ended { u64::MAX } else { progress.borrow_and_update().position() };
        let Some(reached) = reached.upgrade() else { return };
        for woken in reached.take(through).into_values().flatten() {
            // One that does not wait any more need not be woken.
            let _ = woken.send(());
        }
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn whoever_gives_up_leaves_nothing_behind() {
        let (progress, watched) = watch::channel(0);
        let reached = Reached::of(watched);
        {
            let (mut one, mut other) = (pin!(reached.wait(u64::MAX)), pin!(reached.wait(5)));
            let mut context = Context::from_waker(Waker::noop());
            assert!(one.as_mut().poll(&mut context).is_pending() && other.as_mut().poll(&mut context).is_pending());
            assert_eq!(reached.waiting().len(), 2);
        }
        assert_eq!(reached.waiting().len(), 0);
        let (woken, ()) = tokio::join!(reached.wait(7), async { progress.send(7).unwrap() });
        assert_eq!((woken, reached.waiting().len()), ((), 0));
    }
}
