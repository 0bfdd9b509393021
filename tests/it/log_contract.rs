//! What every engine of the log promises. The cases are here, and hold for each engine below; what only one engine
//! can do or get wrong is with that engine.

mod appending;
mod keys;
mod reading;
mod surviving;

mod memory;
mod postgres;
mod sqlite;

use std::sync::Arc;

use domain::Recorded;
use domain::log::{Append, Appended, Log};

/// A place where a log is kept, and opened as often as one likes.
trait Engine {
    /// A new place with nothing in it.
    async fn create() -> Self;
    /// The log at this place.
    async fn open(&self) -> Arc<dyn Log>;
    /// The same log as somebody finds it who was not there when it was written, if that is possible.
    async fn reopen(&self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        assert_eq!(Arc::strong_count(&log), 1, "somebody still uses the log");
        drop(log);
        self.open().await
    }
}

/// An engine whose log outlives the program.
trait Durable: Engine {
    /// Runs `sql` on the database behind the log's back; says why when it is refused.
    async fn sql(&self, sql: &str) -> Result<(), String>;
    /// Puts the first event into an empty log, recorded on the first of January of `year` by a clock that was wrong.
    fn insert_in(&self, year: i32) -> String;
}

/// One test for each case.
macro_rules! holds_for {
    ($engine:ty: $($module:ident::{$($case:ident),+ $(,)?}),+ $(,)?) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $case() {
                crate::log_contract::$module::$case(&<$engine as crate::log_contract::Engine>::create().await).await;
            }
        )+)+
    };
}
/// The cases for every engine.
macro_rules! contract {
    ($engine:ty) => {
        crate::log_contract::holds_for!($engine:
            appending::{
                an_append_names_the_sequence_it_saw, of_two_writers_one_wins, losers_do_not_fail_their_neighbours,
                many_writers_fill_the_log_without_gaps, what_is_too_large_is_refused, odd_texts_come_back_unchanged,
            },
            keys::{
                a_repeated_key_appends_nothing, a_key_is_used_once_by_racing_writers, keys_belong_to_a_tenant,
                a_refused_append_keeps_no_key, an_answer_is_kept_once, a_command_without_events_is_kept,
            },
            reading::{
                an_empty_log_has_an_end, reading_resumes_after_any_position, a_reader_is_woken,
                a_reader_at_the_end_misses_nothing, time_never_goes_back, pages_are_bounded,
            },
        );
    };
}
/// The cases for engines whose log outlives the program.
macro_rules! durable_contract {
    ($engine:ty) => {
        crate::log_contract::holds_for!($engine:
            surviving::{
                everything_is_there_after_reopening, keys_are_kept_for_good, the_database_refuses_changes,
                the_database_refuses_changes_of_keys, a_guard_that_is_gone_is_missed, heavy_pages_end_early,
                time_stands_still_rather_than_going_back,
                a_rare_event_is_found_behind_many_others,
            },
        );
    };
}
use {contract, durable_contract, holds_for};

/// Appends where that must succeed.
async fn done(log: &dyn Log, append: Append) -> Vec<Recorded> {
    match log.append(append).await.unwrap() {
        Appended::Done(events) => events,
        refused @ (Appended::Conflict | Appended::Repeated(_)) => panic!("not appended: {refused:?}"),
    }
}

/// The whole log, page by page.
async fn read_everything(log: &dyn Log, aggregate_types: &[&str], limit: usize) -> Vec<Recorded> {
    read_after(log, 0, aggregate_types, limit).await
}

/// The log after `position`, page by page. Every page must look further than the one before.
async fn read_after(log: &dyn Log, position: u64, aggregate_types: &[&str], limit: usize) -> Vec<Recorded> {
    let head = log.head().await.unwrap();
    let mut events = Vec::new();
    let mut through = position;
    while through < head {
        let page = log.read_all(through, aggregate_types, limit).await.unwrap();
        assert!(page.events.len() <= limit, "{} events in a page of {limit}", page.events.len());
        assert!(page.through > through, "a page after {through} ended at {}", page.through);
        assert!(page.events.iter().all(|event| through < event.position && event.position <= page.through));
        through = page.through;
        events.extend(page.events);
    }
    events
}

fn positions(events: &[Recorded]) -> Vec<u64> {
    events.iter().map(|event| event.position).collect()
}
