//! What the tests and the benchmarks share: a running server with a client, throw-away databases, simulated miners.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test that cannot go on fails, and says where")]

pub mod agent;
pub mod answer;
pub mod broker;
pub mod clock;
pub mod cluster;
pub mod container_engine;
pub mod engine;
pub mod events;
pub mod many_tasks;
pub mod postgres;
pub mod processor_time;
pub mod program;
pub mod proxy;
pub mod server;
pub mod simulators;
pub mod small_disk;

/// An id that nothing else has.
pub fn fresh_id() -> uuid::Uuid {
    commands::Clock::system().new_id()
}
