//! The log in memory.

use std::sync::Arc;

use commands::log::MemoryLog;
use domain::log::Log;

use super::{Engine, contract};

struct Memory(Arc<MemoryLog>);

impl Engine for Memory {
    async fn create() -> Self {
        Self(Arc::new(MemoryLog::new()))
    }
    async fn open(&self) -> Arc<dyn Log> {
        self.0.clone()
    }
    async fn reopen(&self, log: Arc<dyn Log>) -> Arc<dyn Log> {
        log
    }
}

contract!(Memory);
