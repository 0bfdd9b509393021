//! A PostgreSQL server of a test's own, which can be stopped and started.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// How often a port is tried that somebody else may take first.
const PORTS_TRIED: usize = 5;

/// The server. It goes with this value.
pub struct Cluster {
    directory: TempDir,
    programs: PathBuf,
    password: String,
    port: u16,
}

impl Cluster {
    /// Makes a cluster in a directory of its own and starts it on a free loopback port.
    ///
    /// # Panics
    /// When this machine has no PostgreSQL server. The tests fail then; they are never skipped.
    pub fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let password = format!("{:032x}", rand::random::<u128>());
        let mut cluster = Self { directory, programs: programs(), password, port: 0 };
        cluster.create();
        for _ in 0..PORTS_TRIED {
            cluster.port = free_port();
            if cluster.try_resume() {
                return cluster;
            }
        }
        panic!("{}", fs::read_to_string(cluster.log()).unwrap_or_default());
    }

    /// `postgres://…` of its first database.
    pub fn url(&self) -> String {
        format!("postgres://postgres:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    /// Stops it at once, as a crash would: connections break and it has to recover when it comes back.
    pub fn crash(&self) {
        assert!(self.control(&["--mode=immediate", "stop"]), "the server does not stop");
    }

    /// Stops it in good order, ending what its clients are doing.
    pub fn stop(&self) {
        assert!(self.control(&["--mode=fast", "stop"]), "the server does not stop");
    }

    /// Starts it again, on the same port.
    pub fn resume(&self) {
        assert!(self.try_resume(), "{}", fs::read_to_string(self.log()).unwrap_or_default());
    }

    fn create(&self) {
        let password = self.directory.path().join("password");
        fs::write(&password, &self.password).unwrap();
        if is_root() {
            let owner = format!("{}:", user());
            assert!(Command::new("chown").arg("-R").arg(owner).arg(self.directory.path()).status().unwrap().success());
        }
        // Passwords go over loopback in the clear: any other way costs an unoptimised build time on each connection.
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(self.data()).arg("--pwfile").arg(password);
        initdb.args(["--username=postgres", "--auth=password", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        let made = initdb.output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    }

    fn try_resume(&self) -> bool {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c shared_buffers=16MB -c fsync=on",
            self.port
        );
        let log = self.log();
        self.control(&["--log", &log.to_string_lossy(), "--options", &options, "start"])
    }

    fn control(&self, arguments: &[&str]) -> bool {
        let mut command = self.command("pg_ctl");
        command.arg("--pgdata").arg(self.data()).args(["--silent", "--wait", "--timeout=60"]).args(arguments);
        command.status().unwrap().success()
    }

    /// One of the server's programs, run by whoever may: PostgreSQL refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", user(), "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.directory.path());
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("server.log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Stopped already: nothing to do.
        if self.data().join("postmaster.pid").exists() {
            let _ = self.control(&["--mode=immediate", "stop"]);
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Who runs the server when this user is root.
fn user() -> &'static str {
    let has_postgres =
        fs::read_to_string("/etc/passwd").is_ok_and(|users| users.lines().any(|line| line.starts_with("postgres:")));
    if has_postgres { "postgres" } else { "nobody" }
}

/// Where the programs of the newest server are.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let number = |path: &Path| path.file_name().and_then(|name| name.to_string_lossy().parse::<u32>().ok());
    let newest = versions
        .map(|entry| entry.path())
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| number(path));
    newest.expect("no PostgreSQL server under /usr/lib/postgresql: run tests/run, which installs one").join("bin")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
