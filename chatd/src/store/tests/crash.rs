//! Power cuts and failing disks at every IO of a store: whatever was answered as stored is there afterwards, and nothing
//! that is read was never written. Each test runs its work in child processes, over the layer of `shim`.
//!
//! A few points of each by default; all of them with `CHATD_TORTURE=1`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use proto::ids::MessageId;

use crate::crypto::prekey::PrekeySecret;
use crate::model::MessageState;
use crate::model::ids::{PeerDevice, PeerId};
use crate::store::account::prekeys::PrekeyStore;
use crate::store::delivery::trace;
use crate::store::engine::migrate;
use crate::store::history::search::Indexer;
use crate::store::log::{acks, incoming, outgoing};
use crate::store::tests::fixture::{Person, dump, message, run};
use crate::store::tests::shim::{self, Disk, Entry, Mode};
use crate::store::{Store, peers};

/// Which work a child process does, and where.
const WORK: &str = "CHATD_TEST_CRASH";
const ROUNDS: usize = 14;

fn torture() -> bool {
    std::env::var_os("CHATD_TORTURE").is_some()
}

/// Its folders are in the one that is answered, and go with it: a process that ends does not clean up.
fn child(work: &str) -> (Output, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::crash::child_that_works", "--nocapture"])
        .env(WORK, work)
        .env("TMPDIR", place.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked at"), "{}", shown(&output));
    (output, place)
}

fn shown(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The number after a word in what a child printed.
fn figure(output: &Output, word: &str) -> u64 {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let at = text.find(&format!("{word}=")).unwrap_or_else(|| panic!("{word}: {}", shown(output)));
    text[at + word.len() + 1..].split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn child_that_works() {
    let Ok(work) = std::env::var(WORK) else { return };
    let words: Vec<&str> = work.split(' ').collect();
    shim::install();
    match words[0] {
        "cut" => cuts(words[1] == "control"),
        "fail" => failures(words[1] == "full", words[2] == "lasting", words[3].parse().unwrap()),
        "prekeys" => {
            let prekeys = PrekeyStore::open(Path::new(words[1])).unwrap();
            shim::set(Mode::Fail { left: words[2].parse().unwrap(), full: false, lasting: false, hit: None });
            let secret = PrekeySecret::generate(1_800_000_000).unwrap();
            let stored = prekeys.insert(&secret, 0);
            println!("{} {}", if stored.is_ok() { "stored" } else { "refused" }, shim::hit().unwrap_or("the end"));
        }
        "folder" => {
            // The folder's sync is what fails: a socket stands there when the WAL is first synced.
            let folder = Path::new(words[1]).canonicalize().unwrap();
            let conn = migrate::open(&folder.join("messages.db")).unwrap();
            std::fs::rename(&folder, folder.with_extension("moved")).unwrap();
            let _socket = std::os::unix::net::UnixListener::bind(&folder).unwrap();
            conn.execute_batch("DELETE FROM events").unwrap();
            println!("went on");
        }
        "upgrade" => {
            shim::set(Mode::End { left: words[2].parse().unwrap() });
            migrate::open(&Path::new(words[1]).join("messages.db")).unwrap();
            println!("upgraded");
        }
        _ => unreachable!(),
    }
}

/// Alice with bob as a contact, her store closed; and what bob will have sent her.
fn prepared() -> (Person, Person, Vec<Vec<u8>>) {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    for round in 0..ROUNDS {
        bob.send(&alice, &[&format!("from bob {round}"), &"long ".repeat(round * 300)]);
    }
    let cores = bob.outbox(&alice);
    run(alice.store.close());
    (alice, bob, cores)
}

/// Opens alice's store with small checkpoints, so that there are many.
fn open(folder: &Path, indexer: &Indexer, control: bool) -> Store {
    let path = folder.canonicalize().unwrap().join("messages.db");
    let conn = migrate::open(&path).unwrap();
    conn.pragma_update(None, "wal_autocheckpoint", 24).unwrap();
    if control {
        conn.pragma_update(None, "synchronous", "NORMAL").unwrap();
    }
    Store::start(path, conn, indexer, None).unwrap()
}

/// Sends, receives and acknowledges, and tells what was answered as stored.
fn work(store: &Store, contact: PeerId, cores: &[Vec<u8>], mut told: impl FnMut(String)) {
    for round in 0..ROUNDS {
        let texts: Vec<_> =
            (0..1 + round % 3).map(|n| message(&format!("{round}/{n} {}", "w ".repeat(n * 4_000)))).collect();
        if let Ok(stored) = run(store.write(move |tx| outgoing::send(tx, contact, &texts))) {
            stored.iter().for_each(|stored| told(format!("sent {}", stored.id)));
        }
        let two: Vec<Vec<u8>> = cores[round * 2..round * 2 + 2].to_vec();
        let received = run(store.write(move |tx| {
            let list: Vec<_> = two.iter().map(|bytes| proto::wire::envelope::Core::decode(bytes).unwrap()).collect();
            let refs: Vec<_> = two.iter().map(Vec::as_slice).zip(&list).collect();
            incoming::receive(tx, contact, &refs, &Default::default())
                .map(|received| (received, list.iter().map(|core| core.id).collect::<Vec<_>>()))
        }));
        if let Ok((received, ids)) = received {
            // Only what is acknowledged is promised.
            if received.entries.iter().any(|entry| entry.contiguous >= (round as u64 + 1) * 2) {
                ids.iter().for_each(|id| told(format!("received {id}")));
            }
        }
        if round % 4 == 3 {
            acknowledge(store, contact, &mut told);
        }
    }
}

/// Bob has everything.
fn acknowledge(store: &Store, contact: PeerId, told: &mut impl FnMut(String)) {
    let own = store.read_blocking(|conn| {
        let mut select = conn.prepare("SELECT msgid FROM messages WHERE sender = 0 ORDER BY id")?;
        let ids: Vec<Vec<u8>> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        let (epoch, seq): (Vec<u8>, i64) =
            conn.query_row("SELECT epoch, seq FROM streams_out ORDER BY id DESC LIMIT 1", [], |r| {
                Ok((r.get(0)?, r.get(1)?))
            })?;
        let own = crate::store::account::load(conn)?;
        let row = peers::load(conn, contact)?;
        Ok((ids, epoch, seq, own.device, row.conversation))
    });
    let Ok((ids, epoch, seq, from_device, conversation)) = own else { return };
    let entry = proto::wire::envelope::AckEntry {
        from_device,
        conversation,
        epoch: proto::ids::Epoch::from_slice(&epoch).unwrap(),
        contiguous: seq as u64,
        ranges: Vec::new(),
        head: None,
    };
    let from = PeerDevice { peer: contact, device: proto::ids::DeviceId([2; 16]) };
    if run(store.write(move |tx| acks::acknowledged(tx, from, &[entry]))).is_ok() {
        ids.iter().for_each(|id| told(format!("delivered {}", MessageId::from_slice(id).unwrap())));
    }
}

/// What of the promises is not kept by the store in this folder. Opened as every start does.
fn broken(folder: &Path, indexer: &Indexer, told: &BTreeSet<String>, control: bool) -> Vec<String> {
    let store = match Store::open(folder, indexer) {
        Ok(store) => store,
        // Commits that no sync separated are torn apart, and the start says that some are gone.
        Err(error) if control && error.is_damage() => return told.iter().cloned().collect(),
        Err(error) => panic!("a start after a crash: {error}"),
    };
    // Reads every row and every index.
    dump(&store).unwrap();
    let mut broken = Vec::new();
    for what in told {
        let (kind, id) = what.split_once(' ').unwrap();
        let id: MessageId = id.parse().unwrap();
        let kept = store
            .read_blocking(|conn| {
                let there: i64 = conn.query_row(
                    "SELECT count(*) FROM messages WHERE msgid = ?1 AND (sender = 0) = ?2",
                    rusqlite::params![id.as_bytes(), kind != "received"],
                    |row| row.get(0),
                )?;
                Ok(there == 1 && (kind != "delivered" || trace::own_state(conn, &id)?.0 == MessageState::Delivered))
            })
            .unwrap();
        if !kept {
            broken.push(what.clone());
        }
    }
    run(store.close());
    assert_eq!(store.damage(), None);
    broken
}

/// In the child: one run that is recorded, then a power cut at each of its points.
fn cuts(control: bool) {
    let (alice, bob, cores) = prepared();
    let contact = alice.id(&bob);
    let start = std::fs::read(alice.folder.path().join("messages.db")).unwrap();
    let indexer = Indexer::start();
    shim::set(Mode::Record(Vec::new()));
    let store = open(alice.folder.path(), &indexer, control);
    work(&store, contact, &cores, shim::told);
    let Mode::Record(log) = shim::set(Mode::Pass) else { unreachable!() };
    run(store.close());

    let mut disk = Disk::new(start);
    let mut told = BTreeSet::new();
    let mut random = 0x1234_5678_9abc_def0_u64;
    let every = if torture() && !control { 1 } else { log.len() / 12 };
    let (mut points, mut lost, mut checkpoints) = (0, 0, 0);
    for (at, entry) in log.iter().enumerate() {
        disk.play(entry);
        match entry {
            Entry::Told(what) => drop(told.insert(what.clone())),
            Entry::Sync { wal: false } => checkpoints += 1,
            _ => {}
        }
        // The places where it matters most, whatever `every` says.
        let edge = matches!(entry, Entry::Sync { wal: false });
        if at % every != 0 && !(edge && checkpoints % 8 == 1) {
            continue;
        }
        for lucky in [false, true] {
            let mut luck = || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                lucky && random >> 62 == 0
            };
            let [database, wal] = disk.cut(&mut luck);
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("messages.db"), database).unwrap();
            std::fs::write(folder.path().join("messages.db-wal"), wal).unwrap();
            points += 1;
            lost += broken(folder.path(), &indexer, &told, control).len();
        }
    }
    println!("ios={} checkpoints={checkpoints} told={} cuts={points} lost={lost}", log.len(), told.len());
}

#[test]
fn a_power_cut_at_any_io_loses_nothing_that_was_answered() {
    let (full, _place) = child("cut full");
    assert!(full.status.success(), "{}", shown(&full));
    let (points, lost) = (figure(&full, "cuts"), figure(&full, "lost"));
    let (control, _place) = child("cut control");
    assert!(control.status.success(), "{}", shown(&control));
    let control_lost = figure(&control, "lost");
    println!(
        "figure: power cuts: {} ios with {} checkpoints, {points} points, lost = {lost}; control at synchronous=NORMAL lost {control_lost}",
        figure(&full, "ios"),
        figure(&full, "checkpoints")
    );
    assert_eq!(lost, 0, "{}", shown(&full));
    assert!(control_lost > 0 && figure(&full, "checkpoints") > 3 && points > 20);
}

/// In the child: the work again and again, each time with another IO that fails, from `first` on.
fn failures(full: bool, lasting: bool, first: u64) {
    let indexer = Indexer::start();
    let (alice, bob, cores) = prepared();
    let contact = alice.row(&bob).id;
    let step = if torture() { 1 } else { 149 };
    for left in (first..).step_by(step) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::copy(alice.folder.path().join("messages.db"), folder.path().join("messages.db")).unwrap();
        let folder = folder.keep();
        println!("index {left} {}", folder.display());
        let store = open(&folder, &indexer, false);
        let mut told = BTreeSet::new();
        shim::set(Mode::Fail { left, full, lasting, hit: None });
        work(&store, contact, &cores, |what| {
            println!("told {what}");
            told.insert(what);
        });
        let hit = shim::hit();
        run(store.close());
        shim::set(Mode::Pass);
        drop(store);
        let broken = broken(&folder, &indexer, &told, false);
        println!("done {left} {} told={} broken={}", hit.unwrap_or("nothing"), told.len(), broken.len());
        // Its parent goes with the test; the index's thread may still be closing a file here.
        let _ = std::fs::remove_dir_all(&folder);
        if hit.is_none() {
            println!("the end");
            return;
        }
    }
}

fn failing_disk(full: bool, lasting: bool) {
    let indexer = Indexer::start();
    let (mut first, mut points, mut syncs, mut violations) = (1, 0_u64, 0_u64, 0);
    loop {
        let kind = if full { "full" } else { "error" };
        let (output, _place) = child(&format!("fail {kind} {} {first}", if lasting { "lasting" } else { "once" }));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let done: Vec<&str> = text.lines().filter(|line| line.starts_with("done ")).collect();
        points += done.len() as u64;
        violations += done.iter().filter(|line| !line.ends_with("broken=0")).count();
        if output.status.success() {
            assert!(text.contains("the end"), "{}", shown(&output));
            break;
        }
        // A process ends for a failed sync, and for nothing else; what it had answered is there.
        let last = text.rsplit("index ").next().unwrap();
        assert!(last.contains("failed sync"), "{}", shown(&output));
        let mut words = last.lines().next().unwrap().split(' ');
        let (left, folder) = (words.next().unwrap().parse::<u64>().unwrap(), words.next().unwrap().to_owned());
        let told: BTreeSet<String> =
            last.lines().filter_map(|line| line.strip_prefix("told ")).map(str::to_owned).collect();
        violations += broken(Path::new(&folder), &indexer, &told, false).len();
        points += 1;
        syncs += 1;
        first = left + if torture() { 1 } else { 149 };
    }
    let kind = if full { "ENOSPC" } else { "EIO" };
    let how = if lasting { "from there on" } else { "once" };
    println!(
        "figure: {kind} {how}: {points} points, {syncs} of them a sync that ended the process, violations = {violations}"
    );
    assert_eq!(violations, 0);
    assert!(points > 2);
}

#[test]
fn an_io_error_anywhere_loses_nothing_that_was_answered() {
    failing_disk(false, false);
    failing_disk(false, true);
}

#[test]
fn a_failed_sync_ends_the_process_whichever_file_it_was_of() {
    // Of the secrets: no prekey is offered whose secret may be gone.
    let mut ended = 0;
    for left in 1.. {
        let folder = tempfile::tempdir().unwrap();
        let (output, _place) = child(&format!("prekeys {} {left}", folder.path().display()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            assert!(text.contains("failed sync"), "{}", shown(&output));
            ended += 1;
        } else if text.contains("the end") {
            break;
        }
    }
    assert!(ended > 0);
    // Of the folder, so that the WAL is there after a power cut.
    // Nothing of the store is left open here: one process has a database at a time.
    let (Person { folder, .. }, ..) = prepared();
    let (output, _place) = child(&format!("folder {}", folder.path().display()));
    assert!(!output.status.success() && shown(&output).contains("fsync of its folder failed"), "{}", shown(&output));
    println!("figure: failed syncs: each of {ended} of the prekeys and that of the folder ended the process");
    let moved = folder.path().canonicalize().unwrap().with_extension("moved");
    std::fs::remove_dir_all(moved).unwrap();
    std::fs::remove_file(folder.path()).unwrap();
}

#[test]
fn no_room_anywhere_loses_nothing_that_was_answered() {
    failing_disk(true, false);
    failing_disk(true, true);
}

#[test]
fn an_upgrade_that_ends_at_any_io_is_made_by_the_next_start() {
    let step = if torture() { 1 } else { 97 };
    let mut killed = 0;
    for left in (1..).step_by(step) {
        let folder = tempfile::tempdir().unwrap();
        let (known, written) = super::upgrade::first_schema(folder.path(), 60);
        let (output, _place) = child(&format!("upgrade {} {left}", folder.path().display()));
        super::upgrade::is_whole(folder.path(), &known, &written);
        if output.status.success() {
            break;
        }
        assert!(shown(&output).contains("ended at "), "{}", shown(&output));
        killed += 1;
    }
    println!("figure: upgrades ended at an io: {killed}, failures: 0");
    assert!(killed > 2);
}
