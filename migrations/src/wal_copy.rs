//! Copies SQLite's write-ahead log back into its file beside the connection that writes.
//!
//! Left alone, SQLite copies within a commit, and whoever waits for that commit waits for tens of megabytes. Here a
//! thread with a connection of its own copies most of it before; the commit that finds the log full copies the rest, and
//! the log begins anew. Nothing depends on the thread: without it that commit copies everything.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How a connection that writes is set up: the log is full after 64 MiB rather than 4, which spares the busiest pages
/// most of their copies.
pub const SET_UP: &str =
    "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 16000; PRAGMA journal_size_limit = 67108864;";
/// Frames (of one page each) after which the thread copies: sooner than a commit does.
const NEARLY_FULL: u32 = 12_000;
/// Where the index of the log has the number of its last frame, and of the last that was copied
/// (<https://www.sqlite.org/walformat.html>, "mxFrame" and "nBackfill").
const LAST_FRAME: u64 = 16;
const LAST_COPIED: u64 = 96;

/// How long the last copy waits for others.
const BUSY: Duration = Duration::from_secs(5);

/// Copies the whole log of the database at `path` back and empties it, so that the file has everything by itself. For
/// when nobody writes any more. Whether that could be done: somebody may still read what an older part of the log has.
///
/// # Errors
/// What SQLite said.
pub fn copy_everything(path: &Path) -> rusqlite::Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let held_up: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok(!held_up)
}

/// What a connection that writes tells of its commits.
#[derive(Debug)]
pub struct WalCopy {
    index: PathBuf,
    opened: Option<File>,
    due: SyncSender<()>,
}

impl WalCopy {
    /// Copies the log of the database at `path`, which is in WAL mode, as long as this lives.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn beside(path: &Path) -> io::Result<Self> {
        let (due, told) = sync_channel(1);
        let database = path.to_owned();
        std::thread::Builder::new().name("wal-copy".to_owned()).spawn(move || copy_when_told(&database, &told))?;
        let mut index = path.as_os_str().to_owned();
        index.push("-shm");
        Ok(Self { index: index.into(), opened: None, due })
    }

    /// To be called after each commit.
    pub fn committed(&mut self) {
        if self.uncopied().is_ok_and(|frames| frames >= NEARLY_FULL) {
            // One that waits already is enough.
            let _ = self.due.try_send(());
        }
    }

    fn uncopied(&mut self) -> io::Result<u32> {
        let index = match &self.opened {
            Some(index) => index,
            None => self.opened.insert(File::open(&self.index)?),
        };
        Ok(number(index, LAST_FRAME)?.saturating_sub(number(index, LAST_COPIED)?))
    }
}

fn number(index: &File, at: u64) -> io::Result<u32> {
    let mut bytes = [0; 4];
    index.read_exact_at(&mut bytes, at)?;
    Ok(u32::from_ne_bytes(bytes))
}

fn copy_when_told(database: &Path, told: &Receiver<()>) {
    let mut connection = None;
    while told.recv().is_ok() {
        if connection.is_none() {
            connection = Connection::open(database).ok();
        }
        if let Some(connection) = &connection {
            // Waits for nobody. What it could not copy is left to the next commit.
            let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tempfile::TempDir;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// A database whose commits copy nothing, with a table of one page a row, in a directory of its own.
    fn database() -> (TempDir, Connection, WalCopy) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(SET_UP).unwrap();
        connection.execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF").unwrap();
        connection.execute_batch("CREATE TABLE pages (content BLOB)").unwrap();
        let copy = WalCopy::beside(&path).unwrap();
        (directory, connection, copy)
    }

    fn add_pages(connection: &mut Connection, pages: u32) {
        let transaction = connection.transaction().unwrap();
        let mut insert = transaction.prepare("INSERT INTO pages VALUES (zeroblob(3000))").unwrap();
        for _ in 0..pages {
            insert.execute([]).unwrap();
        }
        drop(insert);
        transaction.commit().unwrap();
    }

    #[test]
    fn the_index_tells_what_sqlite_tells() {
        let (_directory, mut connection, mut copy) = database();
        add_pages(&mut connection, 100);
        let uncopied = copy.uncopied().unwrap();
        let frames = |row: &rusqlite::Row<'_>| Ok((row.get(1)?, row.get(2)?));
        let told: (u32, u32) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], frames).unwrap();
        assert_eq!((told.0, told.1, copy.uncopied().unwrap()), (uncopied, uncopied, 0));
        assert!(uncopied >= 100);
    }

    #[test]
    fn the_last_copy_makes_the_file_whole_while_connections_are_open() {
        let (directory, mut connection, _copy) = database();
        add_pages(&mut connection, 100);
        let path = directory.path().join("a.db");
        assert!(copy_everything(&path).unwrap());
        assert_eq!(std::fs::metadata(directory.path().join("a.db-wal")).unwrap().len(), 0);
        let alone = directory.path().join("b.db");
        std::fs::copy(&path, &alone).unwrap();
        let count = |row: &rusqlite::Row<'_>| row.get(0);
        let pages: u32 = Connection::open(alone).unwrap().query_row("SELECT count(*) FROM pages", [], count).unwrap();
        assert_eq!(pages, 100);
        assert!(copy_everything(&directory.path().join("nothing.db")).is_err());
    }

    #[test]
    fn a_log_that_is_nearly_full_is_copied_beside_the_connection_that_writes() {
        let (_directory, mut connection, mut copy) = database();
        for pages in [100, NEARLY_FULL] {
            add_pages(&mut connection, pages);
            copy.committed();
        }
        let began = Instant::now();
        while copy.uncopied().unwrap() > 0 {
            assert!(began.elapsed() < LONG, "{} frames are still to be copied", copy.uncopied().unwrap());
            std::thread::yield_now();
        }
    }
}
