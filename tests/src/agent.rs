//! The real agent in a process of its own, which can be killed.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::program::binary;

/// How long a test waits for an agent to end by itself.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// A running `corelog agent`. Killed with this value.
pub struct Agent {
    child: Child,
    /// Hears what it complains of, until it has ended.
    listener: Option<JoinHandle<String>>,
}

impl Agent {
    /// Starts an agent for the server at `url`, with further arguments.
    pub fn start(url: &str, token: &str, work_dir: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.env_clear().env("CORELOG_LOG", "error").current_dir(work_dir);
        command.args(["agent", "--server", url, "--token", token, "--work-dir"]).arg(work_dir).args(more);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listener = std::thread::spawn(move || {
            let lines = lines.map_while(Result::ok).inspect(|line| eprintln!("agent: {line}"));
            lines.collect::<Vec<_>>().join("\n")
        });
        Self { child, listener: Some(listener) }
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn terminate(mut self) {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success());
    }

    /// Waits until it ends by itself; answers how, and what it complained of.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.listener.take().unwrap().join().unwrap());
            }
            assert!(since.elapsed() < WAIT_MAX, "the agent goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
