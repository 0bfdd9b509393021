//! Rows of one table in memory: what was touched and waits to be written, and what was used of late.

use std::collections::HashMap;
use std::hash::Hash;
use std::mem;

use sea_orm::Value;

/// Rows of one generation. Two are kept, so what is used again within that many others is not read again.
const GENERATION_ROWS_MAX: usize = 25_000;

/// Rows by key; `None` stands for a row that is known not to be there.
pub(crate) struct Rows<K, R> {
    touched: HashMap<K, Touched<R>>,
    recent: HashMap<K, Option<R>>,
    older: HashMap<K, Option<R>>,
    /// Whatever is not in memory does not exist: true from an empty table on, until rows are let go.
    complete: bool,
}

/// A row that waits to be written.
pub(crate) struct Touched<R> {
    pub(crate) row: Option<R>,
    /// What the indexes of the table know of the row as it is there now; `None` when it is not there.
    pub(crate) stored: Option<Vec<Value>>,
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

    /// Whether the row under `key` has to be read before it can change. One that need not be stays until what changes is
    /// [written](Self::written).
    pub(crate) fn misses(&mut self, key: &K) -> bool {
        if let Some((key, row)) = self.older.remove_entry(key) {
            self.recent.insert(key, row);
        }
        !self.complete && !self.touched.contains_key(key) && !self.recent.contains_key(key)
    }

    /// Takes in a row as it is in the table.
    pub(crate) fn read(&mut self, key: K, row: R) {
        self.recent.insert(key, Some(row));
    }

    /// Changes the row under `key`, which is then to be written. `indexed` says what the indexes know of a row.
    pub(crate) fn change(
        &mut self,
        key: &K,
        indexed: impl FnOnce(&R) -> Vec<Value>,
        fold: impl FnOnce(Option<R>) -> Option<R>,
    ) {
        if let Some(touched) = self.touched.get_mut(key) {
            touched.row = fold(touched.row.take());
            return;
        }
        let row = self.recent.remove(key).or_else(|| self.older.remove(key)).flatten();
        let stored = row.as_ref().map(indexed);
        self.touched.insert(key.clone(), Touched { row: fold(row), stored });
    }

    /// How many rows wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.touched.len()
    }

    /// Hands what waits to be written to `write`, in order of the keys; it counts as written from now on.
    pub(crate) fn written(&mut self, mut write: impl FnMut(&K, &Touched<R>)) {
        let mut touched: Vec<(K, Touched<R>)> = mem::take(&mut self.touched).into_iter().collect();
        touched.sort_unstable_by(|(first, _), (second, _)| first.cmp(second));
        for (key, touched) in touched {
            write(&key, &touched);
            self.recent.insert(key, touched.row);
        }
        self.let_go();
    }

    /// Forgets what was not used of late. Never between reading rows and changing them: a row that was let go would be
    /// taken for one that is not there.
    fn let_go(&mut self) {
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
        rows.written(|key, touched| all.push((*key, touched.row)));
        all
    }

    fn change(rows: &mut Rows<usize, usize>, key: usize, fold: impl FnOnce(Option<usize>) -> Option<usize>) {
        rows.change(&key, |row| vec![(*row as u64).into()], fold);
    }

    #[test]
    fn a_row_is_written_once_however_often_it_changed() {
        let mut rows = Rows::new();
        rows.read(2, 20);
        change(&mut rows, 2, |row| row.map(|row| row + 1));
        change(&mut rows, 2, |row| row.map(|row| row + 1));
        change(&mut rows, 1, |row| row.or(Some(7)));
        assert_eq!(rows.unwritten(), 2);
        assert_eq!(written(&mut rows), [(1, Some(7)), (2, Some(22))]);
        assert_eq!(written(&mut rows), []);
    }

    #[test]
    fn a_row_that_was_removed_is_known_to_be_gone() {
        let mut rows = Rows::new();
        rows.read(1, 10);
        change(&mut rows, 1, |_| None);
        assert_eq!(written(&mut rows), [(1, None)]);
        assert!(!rows.misses(&1));
        change(&mut rows, 1, |row| row.or(Some(3)));
        assert_eq!(written(&mut rows), [(1, Some(3))]);
    }

    #[test]
    fn what_was_let_go_is_read_again() {
        let mut rows = Rows::new();
        rows.begin_empty();
        assert!(!rows.misses(&0));
        for key in 0..3 * GENERATION_ROWS_MAX {
            change(&mut rows, key, |_| Some(key));
            written(&mut rows);
        }
        assert!(rows.misses(&0));
        assert!(!rows.misses(&(3 * GENERATION_ROWS_MAX - 1)));
    }

    #[test]
    fn what_waits_to_be_written_is_never_let_go() {
        let mut rows = Rows::new();
        for key in 0..3 * GENERATION_ROWS_MAX {
            change(&mut rows, key, |_| Some(key));
        }
        assert!(!rows.misses(&0));
        assert_eq!(rows.unwritten(), 3 * GENERATION_ROWS_MAX);
    }

    #[test]
    fn what_the_table_has_is_known_of_each_row_that_is_written() {
        let stored = |rows: &mut Rows<usize, usize>| {
            let mut all = Vec::new();
            rows.written(|key, touched| all.push((*key, touched.stored.clone())));
            all
        };
        let mut rows = Rows::new();
        rows.read(1, 10);
        change(&mut rows, 1, |_| Some(11));
        change(&mut rows, 1, |_| Some(12));
        change(&mut rows, 2, |_| Some(20));
        assert_eq!(stored(&mut rows), [(1, Some(vec![10_u64.into()])), (2, None)]);
        change(&mut rows, 1, |_| None);
        change(&mut rows, 2, |_| Some(21));
        assert_eq!(stored(&mut rows), [(1, Some(vec![12_u64.into()])), (2, Some(vec![20_u64.into()]))]);
        change(&mut rows, 1, |_| Some(13));
        assert_eq!(stored(&mut rows), [(1, None)]);
    }

    #[test]
    fn what_a_batch_needs_is_not_let_go_for_what_it_reads() {
        let mut rows = Rows::new();
        for key in 0..2 * GENERATION_ROWS_MAX - 1 {
            rows.read(key, key);
            written(&mut rows);
        }
        // The first is in the older generation, which is let go when there is one row more.
        let (known, unknown) = (0, 2 * GENERATION_ROWS_MAX);
        assert!(!rows.misses(&known));
        assert!(rows.misses(&unknown));
        rows.read(unknown, unknown);
        change(&mut rows, known, |row| row.map(|row| row + 1));
        change(&mut rows, unknown, |row| row.map(|row| row + 1));
        assert_eq!(written(&mut rows), [(known, Some(known + 1)), (unknown, Some(unknown + 1))]);
    }
}
