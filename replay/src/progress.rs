//! How far a piece of work has come.

/// Is told how work goes on. `()` listens to nothing.
pub trait Progress: Send + Sync {
    /// `done` of `total` positions (or rows, or lines) of `work`, a phrase such as "folding", are done.
    fn at(&self, work: &'static str, done: u64, total: u64);
}

impl Progress for () {
    fn at(&self, _: &'static str, _: u64, _: u64) {}
}
