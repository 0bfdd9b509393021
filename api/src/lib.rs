//! The HTTP surfaces of four products and of the platform, and the composition root. Only this crate knows the wire.

mod amount;
mod app;
mod as_of;
mod auth;
mod bitrun;
pub mod config;
mod error;
mod extract;
mod hashinsight;
mod limits;
mod owl;
mod pipeline;
mod platform;
mod request;
mod router;
mod secrets;
pub mod server;
mod surface;
mod zinnia;

pub use router::openapi_documents;
