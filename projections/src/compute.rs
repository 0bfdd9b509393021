//! Read models of GPU tasks and servers.

pub mod gpu_servers;
pub mod task_counts;
pub mod tasks;
