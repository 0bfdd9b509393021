//! A disk of a few megabytes that can be filled up: a file system in memory, in a mount namespace of its own, where the
//! real program runs. Nothing outside sees it, and it goes with its last process.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

const BALLAST: &str = "ballast";
/// Blocks of the file system.
const BLOCK_BYTES: usize = 4_096;

/// The disk. It goes with this value.
pub struct SmallDisk {
    /// Keeps the namespace while no program runs in it; ends when its input does.
    holder: Child,
    directory: TempDir,
}

impl SmallDisk {
    /// An empty disk of `megabytes`.
    ///
    /// # Panics
    /// When this machine lets nobody mount a file system in a namespace of their own. The tests fail then; they are never
    /// skipped.
    pub fn of(megabytes: u32) -> Self {
        let directory = TempDir::new().unwrap();
        let mount = format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$0\" && echo ready && exec cat");
        let mut command = Command::new("/usr/bin/unshare");
        command.arg("--mount").args(as_root("--map-root-user")).args(["sh", "-c", &mount]).arg(directory.path());
        let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare (util-linux)");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "no file system could be mounted in a namespace of its own");
        Self { holder, directory }
    }

    /// Where it is mounted, for whoever runs in its namespace.
    pub fn path(&self) -> PathBuf {
        self.directory.path().to_owned()
    }

    /// The same command line, run where the disk is.
    pub fn inside(&self, command: &Command) -> Command {
        let holder = self.holder.id();
        let mut inside = Command::new("/usr/bin/nsenter");
        inside.arg(format!("--mount=/proc/{holder}/ns/mnt"));
        inside.args(as_root("--preserve-credentials")).args(as_root(&format!("--user=/proc/{holder}/ns/user")));
        inside.arg("--").arg(command.get_program()).args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        inside
    }

    /// Fills it up to the last block.
    pub fn fill(&self) {
        let mut ballast = File::create(self.outside().join(BALLAST)).unwrap();
        loop {
            match ballast.write(&[0; BLOCK_BYTES]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Makes room again.
    pub fn free(&self) {
        fs::remove_file(self.outside().join(BALLAST)).unwrap();
    }

    /// The same directory, reached through the process that keeps it.
    fn outside(&self) -> PathBuf {
        let path = self.directory.path();
        Path::new(&format!("/proc/{}/root", self.holder.id())).join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Ended already: nothing to do.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// What a user who is not root has to add.
fn as_root(argument: &str) -> Option<String> {
    (fs::metadata("/proc/self").unwrap().uid() != 0).then(|| argument.to_owned())
}
