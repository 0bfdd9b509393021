//! The real agent in a process of its own, which can be killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::program::binary;

/// A running `corelog agent`. Killed with this value.
pub struct Agent(Child);

impl Agent {
    /// Starts an agent for the server at `url`, with further arguments.
    pub fn start(url: &str, token: &str, work_dir: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.env_clear().env("CORELOG_LOG", "error").current_dir(work_dir);
        command.args(["agent", "--server", url, "--token", token, "--work-dir"]).arg(work_dir).args(more);
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Sends it a signal such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.0.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn terminate(mut self) {
        self.signal("TERM");
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
