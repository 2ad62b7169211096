//! Flipped bytes and a log that was cut short: nothing panics, and nothing that is handed out is another's or altered.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use common::mail::*;
use common::*;
use directoryd::cluster::{Cluster, Local, Monotonic};
use directoryd::store::{Checked, Fetch, Store};
use proto::directory::SignedRecord;
use tokio_util::sync::CancellationToken;

const PAGE: usize = 4_096;

/// Flips for each page: one here, many with the amount of a torture.
fn flips() -> usize {
    std::env::var("CHATD_TORTURE_FLIPS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What a database was found to hold.
enum Found {
    Refused,
    Open { records: Vec<Vec<u8>>, mail: BTreeMap<u64, Vec<u8>>, noticed: bool },
}

async fn open(folder: &Path) -> Found {
    let config = directoryd::Config { data_dir: folder.to_owned(), ..directoryd::Config::default() };
    let index: Arc<dyn Cluster> = Arc::new(Local::new(Monotonic::System));
    let opened = Store::open(&config.store(), Arc::clone(&index), Arc::default(), CancellationToken::new());
    let Ok((store, thread)) = opened else { return Found::Refused };
    let begun = Instant::now();
    while store.checked() == Checked::Running {
        assert!(begun.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let mut noticed = matches!(store.checked(), Checked::Damaged(_));
    let mut records = Vec::new();
    for name in ["alice", "bob"] {
        let entry = index.by_name(&proto::name::Name::parse(name).unwrap());
        records.extend(entry.and_then(|entry| entry.record.clone()).map(|bytes| bytes.to_vec()));
    }
    let bob = person("bob");
    let (account, device, (count, bytes)) = (bob.account(), bob.device_id(), (usize::MAX, usize::MAX));
    let fetch = Fetch { account, device, after: 0, except: Default::default(), count, bytes, now: 0 };
    let mail = store.readers().mail(fetch).await;
    noticed |= mail.is_err();
    let mail = mail.map(|mail| mail.envelopes.into_iter().collect()).unwrap_or_default();
    drop(store);
    tokio::task::spawn_blocking(move || thread.join()).await.unwrap();
    Found::Open { records, mail, noticed }
}

/// The database of alice, bob and bob's mail, and what it holds.
async fn made(folder: &Path) -> (Vec<Vec<u8>>, BTreeMap<u64, Vec<u8>>) {
    let directory = Directory::with(|config| config.data_dir = folder.to_owned()).await;
    assert!(directory.publish(&person("alice"), 1).await.status().is_success());
    let (bob, mut session) = bob_at(&directory).await;
    for n in 0..24u8 {
        let bytes = envelope(bob.device_id(), DAY, &vec![n; 100 + usize::from(n % 5) * 3_000]);
        left(directory.deposit(&bob, Some(&TOKEN), bytes).await).await;
    }
    let (mail, _) = session.drain().await;
    session.delete(&bob, &[mail[3].0, mail[11].0]).await;
    directory.stop().await;
    let Found::Open { records, mail, noticed: false } = open(folder).await else { panic!() };
    assert_eq!((records.len(), mail.len()), (2, 22));
    (records, mail)
}

/// Without its key a directory that members know does not start, whatever its database is like.
fn copy_key(from: &Path, to: &Path) {
    std::fs::copy(from.join("identity.pem"), to.join("identity.pem")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_in_any_page_is_no_wrong_answer() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let folder = tempfile::tempdir().unwrap();
    let (records, mail) = made(folder.path()).await;
    let whole = std::fs::read(folder.path().join("directory.db")).unwrap();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(info);
    }));
    let (mut looks, mut refusals, mut noticed, mut wrong, mut missing) = (0, 0, 0, 0, 0);
    for page in 0..whole.len() / PAGE {
        for turn in 0..flips() {
            let random = proto::ids::sha256(&[&page.to_be_bytes(), &turn.to_be_bytes()]);
            let at = page * PAGE + usize::from(u16::from_be_bytes([random[0], random[1]])) % PAGE;
            let mut bytes = whole.clone();
            bytes[at] ^= random[2] | 1;
            let damaged = tempfile::tempdir().unwrap();
            std::fs::write(damaged.path().join("directory.db"), bytes).unwrap();
            copy_key(folder.path(), damaged.path());
            // As after a crash, which is when the database is looked through.
            std::fs::write(damaged.path().join("directory.db-wal"), [0; 64]).unwrap();
            looks += 1;
            match open(damaged.path()).await {
                Found::Refused => refusals += 1,
                Found::Open { records: found, mail: lies, noticed: told } => {
                    noticed += usize::from(told);
                    // A reader of a record checks its signature; an altered one that passes would be a wrong answer.
                    let passes =
                        |bytes: &Vec<u8>| SignedRecord::decode(bytes).and_then(|signed| signed.verify()).is_ok();
                    wrong += found.iter().filter(|bytes| passes(bytes) && !records.contains(bytes)).count();
                    wrong += lies.values().filter(|bytes| !mail.values().any(|envelope| envelope == *bytes)).count();
                    if !told && lies.len() < mail.len() {
                        missing += 1;
                    }
                }
            }
        }
    }
    let panics = PANICS.load(Ordering::SeqCst);
    println!(
        "{looks} flipped bytes in {} pages: refused at the start {refusals}, noticed {noticed}, wrong answers = {wrong}, \
         panics = {panics}; an envelope missing, which its sender still has, {missing}",
        whole.len() / PAGE
    );
    assert_eq!((wrong, panics), (0, 0));
    assert!(refusals + noticed > 0);
}

#[tokio::test]
async fn a_log_that_is_cut_short_holds_a_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::with(|config| config.data_dir = folder.path().to_owned()).await;
    let (bob, session) = bob_at(&directory).await;
    drop(session);
    let numbers = fill(&directory, &bob, 0, 30).await;
    // As the disk is after a crash: the database, and a log that was not copied back.
    let files = ["directory.db", "directory.db-wal"].map(|name| std::fs::read(folder.path().join(name)).unwrap());
    directory.stop().await;
    let log = &files[1];
    let (mut cuts, mut wrong, mut lengths) = (0, 0, Vec::new());
    for cut in (0..24).map(|part| log.len() * part / 24 + part * 7).chain([log.len() - 1, log.len()]) {
        let damaged = tempfile::tempdir().unwrap();
        std::fs::write(damaged.path().join("directory.db"), &files[0]).unwrap();
        std::fs::write(damaged.path().join("directory.db-wal"), &log[..cut]).unwrap();
        copy_key(folder.path(), damaged.path());
        let Found::Open { mail, noticed, .. } = open(damaged.path()).await else { panic!("cut at {cut}") };
        cuts += 1;
        let found: Vec<u64> = mail.keys().copied().collect();
        wrong += usize::from(noticed || found != numbers[..found.len()]);
        lengths.push(found.len());
    }
    println!("{cuts} logs cut short: {} to 30 envelopes found, wrong or out of order = {wrong}", lengths[0]);
    assert!(wrong == 0 && lengths.is_sorted() && lengths.last() == Some(&30), "{lengths:?}");
}
