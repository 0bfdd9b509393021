//! What a scenario runs on.

/// Which engine keeps the log and the read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}
