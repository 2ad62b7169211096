//! What one local user may take of a daemon's memory, threads and disk by way of backups, and who is told secrets.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proto::rpc::ErrorCode;
use proto::rpc::client::{Client, ClientError};
use proto::rpc::methods::{RestoreBegin, RestoreEnd, RestoreFinish, RestoreWrite, SystemHello};
use proto::rpc::types::{Empty, RestoreFinishParams, RestoreWriteParams, TransferParams};
use tests::daemon::resident_kib;
use tests::process::Process;
use tests::users;
use tests::wait::{wait_for, wait_until};
use tests::{Ctl, Daemon, DaemonOptions, Directory, Place};

use crate::storage::SmallDisk;

/// A file that asks for as much work as the daemon does for anybody, and that no passphrase opens.
fn expensive() -> Vec<u8> {
    let zeros = "A".repeat(43);
    let mut file =
        format!("age-encryption.org/v1\n-> scrypt {} 18\n{zeros}\n--- {zeros}\n", "A".repeat(22)).into_bytes();
    file.extend([0; 64]);
    file
}

fn is_limit(error: &ClientError) -> bool {
    matches!(error, ClientError::Rpc(error) if error.code == ErrorCode::LimitReached)
}

/// Uploads a file; its transfer.
async fn upload(client: &Client, data: Vec<u8>) -> Result<String, ClientError> {
    let transfer = client.call::<RestoreBegin>(&Empty {}).await?.transfer;
    client.call::<RestoreWrite>(&RestoreWriteParams { transfer: transfer.clone(), data }).await?;
    Ok(transfer)
}

fn finish(transfer: &str) -> RestoreFinishParams {
    RestoreFinishParams { transfer: transfer.to_owned(), passphrase: Some("guess".into()), ..Default::default() }
}

/// Threads of a process, and those among them that try passphrases.
fn threads(pid: u32) -> (u64, u64) {
    let mut count = (0, 0);
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        count = (count.0 + 1, count.1 + u64::from(name.trim() == "passphrase"));
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lets_passphrases_be_tried_takes_one_thread_and_waits_for_it() {
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let pid = daemon.pid().unwrap();
    let client = daemon.client().await;
    client.call::<SystemHello>(&Default::default()).await.unwrap();
    let before = threads(pid);
    let (stop, most) = (Arc::new(AtomicBool::new(false)), Arc::new([0, 0, 0].map(AtomicU64::new)));
    let watcher = {
        let (stop, most) = (Arc::clone(&stop), Arc::clone(&most));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let (all, trying) = threads(pid);
                most[0].fetch_max(all, Ordering::Relaxed);
                most[1].fetch_max(trying, Ordering::Relaxed);
                most[2].fetch_max(resident_kib(pid).unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        })
    };
    // Connections of one user, each of which wants a passphrase tried.
    let tried = Arc::new(AtomicU64::new(0));
    let refused = Arc::new(AtomicU64::new(0));
    let mut tasks = Vec::new();
    let until = Instant::now() + Duration::from_secs(4);
    for _ in 0..6 {
        let (client, tried, refused) = (daemon.client().await, Arc::clone(&tried), Arc::clone(&refused));
        tasks.push(tokio::spawn(async move {
            while Instant::now() < until {
                match upload(&client, expensive()).await {
                    Ok(transfer) => {
                        let error = client.call::<RestoreFinish>(&finish(&transfer)).await.unwrap_err();
                        assert!(!is_limit(&error), "{error}");
                        tried.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        assert!(is_limit(&error), "{error}");
                        refused.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
            }
        }));
    }
    // While a passphrase is tried, its place is taken; and others are answered.
    let mut slowest = Duration::ZERO;
    wait_for("a passphrase is tried", || threads(pid).1 == 1);
    while Instant::now() < until {
        let since = Instant::now();
        client.call::<SystemHello>(&Default::default()).await.unwrap();
        slowest = slowest.max(since.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for task in tasks {
        task.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    watcher.join().unwrap();
    let [all, trying, memory] = [0, 1, 2].map(|at| most[at].load(Ordering::Relaxed));
    println!(
        "figure: {} passphrases tried of one user's six connections, {} refused: {trying} thread at a time, {} in all ({} \
         before), {} MiB; others were answered after {} ms at most",
        tried.load(Ordering::Relaxed),
        refused.load(Ordering::Relaxed),
        all,
        before.0,
        memory >> 10,
        slowest.as_millis()
    );
    // The thread of one that has ended may still be listed when the next begins; memory for two is not there.
    assert!((1..=2).contains(&trying), "{trying}");
    assert!(all <= before.0 + 24, "{before:?}, then {all}");
    assert!(memory < 384 * 1024, "{memory} KiB");
    assert!(tried.load(Ordering::Relaxed) >= 1 && refused.load(Ordering::Relaxed) >= 1);
    // The place is free again when the work is done, not before.
    let transfer = upload(&client, expensive()).await.unwrap();
    client.call::<RestoreEnd>(&TransferParams { transfer }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_is_kept_until_the_passphrase_was_tried() {
    let directory = Directory::start();
    let daemon = Daemon::start(DaemonOptions::new("chatd", directory.url()));
    let (one, two) = (daemon.client().await, daemon.client().await);
    let transfer = upload(&one, expensive()).await.unwrap();
    let pid = daemon.pid().unwrap();
    let trying = tokio::spawn(async move { one.call::<RestoreFinish>(&finish(&transfer)).await.map(drop) });
    wait_for("the passphrase is tried", || threads(pid).1 == 1);
    // Root, and whoever has an account, has two places: one is taken by what is tried, this is the other.
    let second = upload(&two, expensive()).await.unwrap();
    let refused = upload(&two, expensive()).await;
    // Also of one whose client went away meanwhile.
    trying.abort();
    let again = upload(&two, expensive()).await;
    // Had it been done by now, nothing would be shown.
    assert_eq!(threads(pid).1, 1, "the work was done too soon");
    assert!(refused.as_ref().is_err_and(is_limit), "{refused:?}");
    assert!(again.as_ref().is_err_and(is_limit), "{again:?}");
    wait_for("it is done", || threads(pid).1 == 0);
    // The place is free a moment after the thread has ended.
    let third = wait_until("there is a place again", || async { upload(&two, expensive()).await.ok() }).await;
    for transfer in [second, third] {
        two.call::<RestoreEnd>(&TransferParams { transfer }).await.unwrap();
    }
}

#[test]
fn uploads_of_one_user_leave_most_of_the_disk_alone() {
    if !nix::unistd::geteuid().is_root() {
        tests::skip!("needs root, to mount a small file system");
    }
    let Some(it) = SmallDisk::start("48m") else {
        tests::skip!("cannot mount a tmpfs here");
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = it.bob_daemon.client().await;
        let free = nix::sys::statvfs::statvfs(&it.data).unwrap();
        let free = free.blocks_available() as u64 * free.fragment_size() as u64;
        let mut sent = 0;
        let mut transfers = Vec::new();
        // Two uploads are all that one user has, and both together have one share.
        for _ in 0..2 {
            let transfer = client.call::<RestoreBegin>(&Empty {}).await.unwrap().transfer;
            loop {
                let part = RestoreWriteParams { transfer: transfer.clone(), data: vec![7; 256 << 10] };
                match client.call::<RestoreWrite>(&part).await {
                    Ok(_) => sent += 256 << 10,
                    Err(error) => {
                        assert!(is_limit(&error), "{error}");
                        break;
                    }
                }
                assert!(sent <= free, "no bound");
            }
            transfers.push(transfer);
        }
        println!("figure: {} KiB free; one user's uploads took {} KiB", free >> 10, sent >> 10);
        assert!(sent > 0 && sent <= free / 4, "{sent} of {free}");
        assert!(client.call::<RestoreBegin>(&Empty {}).await.is_err_and(|error| is_limit(&error)));
        // Meanwhile there is room for messages, and afterwards for uploads.
        it.bob.ok(["send", "alice", "still there", "--wait", "delivered"]);
        for transfer in transfers {
            client.call::<RestoreEnd>(&TransferParams { transfer }).await.unwrap();
        }
        assert!(upload(&client, vec![7; 256 << 10]).await.is_ok());
    });
}

/// The system's own: one of root's shell may be closed to others.
const PYTHON: &str = "/usr/bin/python3";

/// Listens as another user, and says how many bytes each connection brought.
const LISTENER: &str = "import socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print('ready', flush=True)
while True:
    c, _ = s.accept()
    c.settimeout(2)
    n = 0
    try:
        n = len(c.recv(65536))
    except OSError:
        pass
    print('got', n, flush=True)
    c.close()
";

#[test]
fn nobody_else_who_listens_is_told_anything() {
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    if !std::path::Path::new(PYTHON).exists() {
        tests::skip!("{PYTHON} is missing, to listen as another user");
    }
    let directory = Directory::start();
    let place: &Arc<Place> = directory.place();
    let key = place.folder("keys").unwrap().join("recovery");
    std::fs::write(&key, "00".repeat(32)).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    // (uid of the listener, whether chatctl speaks to it): root is trusted wherever it listens.
    for (user, trusted) in [(23_001, false), (0, true)] {
        let folder = tempfile::Builder::new().prefix("impostor").tempdir_in("/tmp").unwrap();
        users::give(folder.path(), user).unwrap();
        users::set_mode(folder.path(), 0o755).unwrap();
        let (socket, output) =
            (folder.path().join("socket"), place.folder(&format!("said{user}")).unwrap().join("said"));
        let mut listener = users::command(user, std::path::Path::new(PYTHON));
        listener.args(["-c", LISTENER]).arg(&socket).stdin(Stdio::null());
        listener.stdout(std::fs::File::create(&output).unwrap());
        let _listener = Process::spawn(listener).unwrap();
        let said = || std::fs::read_to_string(&output).unwrap();
        wait_for("it listens", || said().contains("ready"));
        let ctl = Ctl::new(&socket, &place.folder("home").unwrap());
        let told = ctl.run(["key", "recover", "--recovery-file", &key.display().to_string()]);
        assert_ne!(told.code, Some(0), "{told:?}");
        wait_for("it was connected to", || said().contains("got"));
        let heard = said().lines().filter_map(|line| line.strip_prefix("got ")?.parse::<u64>().ok()).sum::<u64>();
        println!("figure: a listener of uid {user} heard {heard} bytes");
        if trusted {
            assert!(heard > 0, "the control: this one is spoken to");
        } else {
            told.says(&["user 23001 listens there"]);
            assert_eq!(heard, 0);
        }
    }
}
