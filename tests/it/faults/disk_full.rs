//! The disk fills up and has room again, under the real program on a real, small file system.

use serde_json::json;
use tests::program::{Installation, Program};
use tests::server::Client;
use tests::small_disk::SmallDisk;

use super::PATIENCE;

const MEGABYTES: u32 = 24;
/// Codes of one command.
const BATCH: u64 = 20;
/// Commands that find the disk full.
const REFUSED: usize = 5;

/// Issues a batch of codes; answers the status.
async fn issue(admin: &Client) -> u16 {
    admin.post("/api/recharge/codes", json!({ "amount": 1, "batch_size": BATCH })).await.status
}

async fn codes(admin: &Client) -> u64 {
    let list = admin.get("/api/recharge/codes?page_size=1").await.expect(200);
    list.at("/total").as_u64().unwrap()
}

fn serve(disk: &SmallDisk, installation: &Installation) -> Program {
    Program::spawn(disk.inside(&installation.command()))
}

/// Gives commands until the disk has no more room for one. Answers how many were acknowledged.
async fn issue_until_refused(admin: &Client) -> u64 {
    let mut acknowledged = 0;
    let issuing = async {
        loop {
            match issue(admin).await {
                200 => acknowledged += 1,
                503 => return,
                status => panic!("a full disk is answered with {status}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, issuing).await.expect("the disk is never full");
    acknowledged
}

/// Gives commands until `/health` says this of the log: of those that a full disk meets, a small one may fit.
async fn until_told(admin: &Client, word: &str) {
    let told = async {
        while admin.get("/health").await.at("/components/log") != word {
            issue(admin).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("/health never says {word} of the log"));
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_commands_are_refused_and_reads_go_on_until_there_is_room() {
    let disk = SmallDisk::of(MEGABYTES);
    let installation = Installation { data_dir: disk.path(), database_url: None };
    let mut program = serve(&disk, &installation);
    let admin = program.admin().await;
    let mut acknowledged = 0;
    for _ in 0..3 {
        disk.fill();
        acknowledged += issue_until_refused(&admin).await;
        for _ in 0..REFUSED {
            assert_eq!(issue(&admin).await, 503);
            codes(&admin).await;
        }
        until_told(&admin, "takes_no_events").await;
        disk.free();
        let recovered = async { while issue(&admin).await != 200 {} };
        tokio::time::timeout(PATIENCE, recovered).await.expect("the server does not recover by itself");
        acknowledged += 1;
        until_told(&admin, "ok").await;
        // What was acknowledged is there. Codes are issued one by one: of a batch that was refused some may be there too.
        let shown = async { while codes(&admin).await < BATCH * acknowledged {} };
        let shown = tokio::time::timeout(PATIENCE, shown).await;
        assert!(shown.is_ok(), "{} codes of {acknowledged} batches", codes(&admin).await);
    }
    disk.fill();
    acknowledged += issue_until_refused(&admin).await;
    program.kill();
    disk.free();
    let program = serve(&disk, &installation);
    assert!(codes(&program.admin().await).await >= BATCH * acknowledged);
    assert!(program.terminate().success());
    let verified = disk.inside(installation.command().args(["replay", "verify"])).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
