//! A real container engine (dockerd), for one test, with one small image.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::{CreateImageOptions, ListContainersOptions};
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use futures::TryStreamExt as _;
use tempfile::TempDir;

/// The image: busybox, and nothing besides.
pub const IMAGE: &str = "corelog-test:busybox";
/// An engine that runs already, for users who are not root.
const SOCKET: &str = "CORELOG_TEST_DOCKER_SOCKET";
const START_MAX: Duration = Duration::from_secs(60);
const ANSWER_SECONDS_MAX: u64 = 60;
/// Where distributions put them; they are not in the path of a plain user.
const ENGINES: [&str; 3] = ["/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd"];
const BUSYBOXES: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What of busybox the tests call.
const PROGRAMS: [&str; 11] = ["sh", "cat", "env", "grep", "head", "id", "ln", "ls", "sleep", "tail", "wget"];
/// Ends the engine, and the containerd that it started, when the test lets go of the pipe: also when it is killed.
const SUPERVISE: &str = r#"
exec 3<&0 </dev/null
"$@" & engine=$!
read -r _ <&3
kill -TERM $engine
wait $engine
rm -rf "$0"
"#;

/// A running engine. It ends with this value.
pub struct ContainerEngine {
    docker: Docker,
    socket: PathBuf,
    /// Nobody supervises an engine that ran already.
    supervisor: Option<Child>,
    _directory: TempDir,
}

impl ContainerEngine {
    /// An engine that has the image.
    ///
    /// # Panics
    /// When no engine can be started and none is named; the tests fail then and are never skipped.
    pub async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let named = std::env::var_os(SOCKET).map(PathBuf::from);
        let supervisor = named.is_none().then(|| run(directory.path()));
        let socket = named.unwrap_or_else(|| socket_in(directory.path()));
        let docker = reached(&socket, directory.path()).await;
        let engine = Self { docker, socket, supervisor, _directory: directory };
        if engine.docker.inspect_image(IMAGE).await.is_err() {
            engine.import().await;
        }
        engine
    }

    /// Where it listens.
    pub fn socket(&self) -> &str {
        self.socket.to_str().unwrap()
    }

    /// The names of all containers that were made for a task, and whether each runs.
    pub async fn containers_of(&self, task: &str) -> Vec<(String, bool)> {
        let filters = Some(HashMap::from([("label".to_owned(), vec![format!("corelog.task={task}")])]));
        let every = ListContainersOptions { all: true, filters, ..Default::default() };
        let found = self.docker.list_containers(Some(every)).await.unwrap();
        let name = |names: Option<Vec<String>>| names.unwrap().swap_remove(0).trim_start_matches('/').to_owned();
        found
            .into_iter()
            .map(|container| (name(container.names), container.state == Some(ContainerSummaryStateEnum::RUNNING)))
            .collect()
    }

    async fn import(&self) {
        let root = TempDir::new().unwrap();
        let programs = root.path().join("bin");
        fs::create_dir(&programs).unwrap();
        let busybox = BUSYBOXES.iter().find(|place| Path::new(place).is_file());
        fs::copy(busybox.expect("busybox is missing: apt-get install busybox-static"), programs.join("busybox"))
            .unwrap();
        PROGRAMS.iter().for_each(|program| symlink("busybox", programs.join(program)).unwrap());
        let packed = Command::new("tar").arg("-C").arg(root.path()).args(["-c", "."]).output().unwrap();
        assert!(packed.status.success(), "tar: {}", String::from_utf8_lossy(&packed.stderr));
        let (repository, tag) = IMAGE.split_once(':').unwrap();
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            ..Default::default()
        };
        let imported = self.docker.create_image(Some(options), Some(body_full(packed.stdout.into())), None);
        imported.try_collect::<Vec<_>>().await.unwrap();
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("docker.sock")
}

fn run(directory: &Path) -> Child {
    let program = ENGINES.iter().find(|place| Path::new(place).is_file());
    let program = program.expect("dockerd is missing: apt-get install docker.io, or run tests/run, which does it");
    let log = File::create(directory.join("log")).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", SUPERVISE]).arg(directory).arg(program);
    for (option, place) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(option).arg(directory.join(place));
    }
    command.arg(format!("--host=unix://{}", socket_in(directory).display()));
    // Nothing of the machine's network is touched, and every file system will do.
    command.args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver=vfs"]);
    command.args(["--shutdown-timeout=1"]).env_clear().env("PATH", PATH).stdin(Stdio::piped());
    // A signal for everything that belongs to the test would end the engine without its supervisor.
    command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0).spawn().unwrap()
}

async fn reached(socket: &Path, directory: &Path) -> Docker {
    let begun = Instant::now();
    loop {
        if let Ok(docker) = Docker::connect_with_unix(socket.to_str().unwrap(), ANSWER_SECONDS_MAX, API_DEFAULT_VERSION)
            && let Ok(docker) = docker.negotiate_version().await
        {
            return docker;
        }
        if begun.elapsed() > START_MAX {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            panic!(
                "no container engine answers at {}: only root can start one, others name one in {SOCKET}\n{log}",
                socket.display()
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for ContainerEngine {
    fn drop(&mut self) {
        let Some(supervisor) = &mut self.supervisor else { return };
        drop(supervisor.stdin.take());
        let _ = supervisor.wait();
    }
}
