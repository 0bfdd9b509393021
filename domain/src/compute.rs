//! Work on GPUs: tasks, the servers that run them, and what fits where.

pub mod capabilities;
pub mod gpu_server;
pub mod scheduling;
pub mod task;
