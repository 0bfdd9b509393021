//! Every test that needs more than one crate, in one binary: it links once.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails, and says where")]

mod backlog;
mod backup;
mod bad_input;
mod battery_readings;
mod bitrun;
mod connections;
mod cors;
mod crash;
mod documents;
mod faults;
mod golden_events;
mod hashinsight;
mod limits;
mod log_contract;
mod log_lines;
mod miner_gateway;
mod operations;
mod owl;
mod plain_texts;
mod platform;
mod projecting;
mod replay;
mod routes;
mod settings;
mod strangers;
mod tidy;
mod tree;
mod two_servers;
mod zinnia;
