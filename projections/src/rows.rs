//! Rows of one table in memory: what was touched and waits to be written, and what was used of late.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

/// Rows of one generation. Two are kept, so what is used again within that many others is not read again.
const GENERATION_ROWS_MAX: usize = 10_000;

/// Rows by key; `None` stands for a row that is known not to be there.
pub(crate) struct Rows<K, R> {
    touched: HashMap<K, Option<R>>,
    recent: HashMap<K, Option<R>>,
    older: HashMap<K, Option<R>>,
    /// Whatever is not in memory does not exist: true from an empty table on, until rows are let go.
    complete: bool,
}

impl<K: Eq + Hash + Ord + Clone, R> Rows<K, R> {
    pub(crate) fn new() -> Self {
        Self { touched: HashMap::new(), recent: HashMap::new(), older: HashMap::new(), complete: false }
    }

    /// Whether nothing is in memory, and nothing is known of the table.
    pub(crate) fn knows_nothing(&self) -> bool {
        !self.complete && self.touched.is_empty() && self.recent.is_empty() && self.older.is_empty()
    }

    /// The table is empty.
    pub(crate) fn begin_empty(&mut self) {
        self.complete = true;
    }

    /// Whether the row under `key` has to be read before it can change.
    pub(crate) fn misses(&self, key: &K) -> bool {
        !self.complete
            && !self.touched.contains_key(key)
            && !self.recent.contains_key(key)
            && !self.older.contains_key(key)
    }

    /// Takes in a row as it is in the table.
    pub(crate) fn read(&mut self, key: K, row: R) {
        self.remember(key, Some(row));
    }

    /// Changes the row under `key`, which is then to be written.
    pub(crate) fn change(&mut self, key: &K, fold: impl FnOnce(Option<R>) -> Option<R>) {
        if let Some(row) = self.touched.get_mut(key) {
            *row = fold(row.take());
            return;
        }
        let row = self.recent.remove(key).or_else(|| self.older.remove(key)).flatten();
        self.touched.insert(key.clone(), fold(row));
    }

    /// How many rows wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.touched.len()
    }

    /// Hands what waits to be written to `write`, in order of the keys; it counts as written from now on.
    pub(crate) fn written(&mut self, mut write: impl FnMut(&K, Option<&R>)) {
        let mut touched: Vec<(K, Option<R>)> = mem::take(&mut self.touched).into_iter().collect();
        touched.sort_unstable_by(|(first, _), (second, _)| first.cmp(second));
        for (key, row) in touched {
            write(&key, row.as_ref());
            self.remember(key, row);
        }
    }

    fn remember(&mut self, key: K, row: Option<R>) {
        self.recent.insert(key, row);
        if self.recent.len() >= GENERATION_ROWS_MAX {
            self.complete &= self.older.is_empty();
            self.older = mem::take(&mut self.recent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rows: &mut Rows<usize, usize>) -> Vec<(usize, Option<usize>)> {
        let mut all = Vec::new();
        rows.written(|key, row| all.push((*key, row.copied())));
        all
    }

    #[test]
    fn a_row_is_written_once_however_often_it_changed() {
        let mut rows = Rows::new();
        rows.read(2, 20);
        rows.change(&2, |row| row.map(|row| row + 1));
        rows.change(&2, |row| row.map(|row| row + 1));
        rows.change(&1, |row| row.or(Some(7)));
        assert_eq!(rows.unwritten(), 2);
        assert_eq!(written(&mut rows), [(1, Some(7)), (2, Some(22))]);
        assert_eq!(written(&mut rows), []);
    }

    #[test]
    fn a_row_that_was_removed_is_known_to_be_gone() {
        let mut rows = Rows::new();
        rows.read(1, 10);
        rows.change(&1, |_| None);
        assert_eq!(written(&mut rows), [(1, None)]);
        assert!(!rows.misses(&1));
        rows.change(&1, |row| row.or(Some(3)));
        assert_eq!(written(&mut rows), [(1, Some(3))]);
    }

    #[test]
    fn what_was_let_go_is_read_again() {
        let mut rows = Rows::new();
        rows.begin_empty();
        assert!(!rows.misses(&0));
        for key in 0..3 * GENERATION_ROWS_MAX {
            rows.change(&key, |_| Some(key));
            written(&mut rows);
        }
        assert!(rows.misses(&0));
        assert!(!rows.misses(&(3 * GENERATION_ROWS_MAX - 1)));
    }

    #[test]
    fn what_waits_to_be_written_is_never_let_go() {
        let mut rows = Rows::new();
        for key in 0..3 * GENERATION_ROWS_MAX {
            rows.change(&key, |_| Some(key));
        }
        assert!(!rows.misses(&0));
        assert_eq!(rows.unwritten(), 3 * GENERATION_ROWS_MAX);
    }
}
