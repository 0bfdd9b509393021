//! A real MQTT broker (mosquitto) on a loopback port, for one test.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const START_MAX: Duration = Duration::from_secs(20);
/// Where Debian puts it; it is not in the path of a plain user.
const PLACES: [&str; 3] = ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"];

/// A running broker. It stops with this value.
pub struct Broker {
    process: Child,
    port: u16,
    directory: TempDir,
}

impl Broker {
    /// Starts a broker that lets everybody in.
    ///
    /// # Panics
    /// When mosquitto is not installed; the tests fail then and are never skipped.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = TempDir::new().unwrap();
        let process = run(&directory, port);
        Self { process, port, directory }
    }

    /// Host and port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once, and starts it anew at the same port with nothing remembered.
    pub fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = run(&self.directory, self.port);
    }
}

fn run(directory: &TempDir, port: u16) -> Child {
    let settings = directory.path().join("mosquitto.conf");
    let text = format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n");
    std::fs::write(&settings, text).unwrap();
    let program = PLACES.iter().map(PathBuf::from).find(|place| place.is_file());
    let program = program.expect("mosquitto is missing: apt-get install mosquitto, or run tests/run, which does it");
    let process =
        Command::new(program).arg("-c").arg(settings).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < START_MAX, "mosquitto does not listen");
        std::thread::yield_now();
    }
    process
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
