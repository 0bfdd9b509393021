//! The real program in a process of its own, which can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::json;

use crate::server::Client;

/// How the first administrator of every test installation signs in.
pub const ADMIN_EMAIL: &str = "admin@example.com";
/// The password.
pub const ADMIN_PASSWORD: &str = "Correct-horse-7";

/// An installation: where its data are, and which database it uses.
#[derive(Debug, Clone)]
pub struct Installation {
    pub data_dir: PathBuf,
    /// SQLite in `data_dir` when there is none.
    pub database_url: Option<String>,
}

impl Installation {
    /// A command line of the program on this installation.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary());
        command
            .env_clear()
            .env("CORELOG_LISTEN", "127.0.0.1:0")
            .env("CORELOG_DATA_DIR", &self.data_dir)
            .env("CORELOG_ADMIN_EMAIL", ADMIN_EMAIL)
            .env("CORELOG_ADMIN_PASSWORD", ADMIN_PASSWORD)
            .env("CORELOG_RATE_LIMITS", "off")
            .env("CORELOG_LOG", "warn")
            .current_dir(&self.data_dir);
        if let Some(url) = &self.database_url {
            command.env("CORELOG_DATABASE_URL", url);
        }
        command
    }

    /// Runs the program with `arguments` to its end.
    pub fn run(&self, arguments: &[&str]) -> (ExitStatus, String) {
        let output = self.command().args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status, text)
    }

    /// Starts a server; returns when it listens.
    pub fn serve(&self) -> Program {
        Program::spawn(self.command())
    }
}

/// A running server process. Killed with this value.
pub struct Program {
    child: Child,
    address: SocketAddr,
}

impl Program {
    /// Starts a server; returns when it listens.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening =
            lines.find_map(|line| line.unwrap().strip_prefix("corelog listens on http://").map(str::to_owned));
        // The pipe is read on, so that the program never waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let address = listening.expect("the program ended before it listened").parse().unwrap();
        Self { child, address }
    }

    /// A client that is not signed in.
    pub fn anonymous(&self) -> Client {
        Client::anonymous(self.address)
    }

    /// The administrator, signed in to Owl Factory.
    pub async fn admin(&self) -> Client {
        self.sign_in(ADMIN_EMAIL, ADMIN_PASSWORD).await
    }

    /// A new user, registered and signed in to Owl Factory.
    pub async fn new_user(&self, name: &str) -> Client {
        let (email, password) = (format!("{name}@example.com"), "Battery-staple-9");
        let body = json!({ "email": email, "username": name, "password": password });
        self.anonymous().post("/api/auth/register", body).await.expect(200);
        self.sign_in(&email, password).await
    }

    async fn sign_in(&self, email: &str, password: &str) -> Client {
        let body = json!({ "email": email, "password": password });
        let answer = self.anonymous().post("/api/auth/login", body).await.expect(200);
        self.anonymous().with_token(answer.at("/data/access_token").as_str().unwrap())
    }

    /// The same user, calling this process.
    #[must_use]
    pub fn reached_by(&self, client: &Client) -> Client {
        client.at(self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
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

    /// Ends it at once (SIGKILL), as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn terminate(mut self) -> ExitStatus {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program that was built beside the tests; `tests/run` builds it first.
pub fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("corelog");
    assert!(path.is_file(), "{} is missing: cargo build --bins", path.display());
    path
}
