//! The HTTP surfaces of four products and of the platform, and the composition root. Only this crate knows the wire.

pub mod agent;
pub mod amount;
pub mod app;
pub mod as_of;
pub mod auth;
pub mod bitrun;
pub mod cli;
pub mod config;
mod cors;
pub mod current;
pub mod error;
pub mod extract;
pub mod fault;
pub mod hashinsight;
pub mod limits;
pub mod log_lines;
pub mod market;
mod metrics;
mod openapi;
pub mod owl;
mod pipeline;
pub mod platform;
mod readings;
pub mod request;
mod router;
pub mod secrets;
pub mod server;
pub mod storage;
pub mod surface;
mod unread;
pub mod zinnia;

pub use openapi::openapi_documents;
