//! Everybody at once: a directory was gone for a moment, and all its clients come back. `cargo xtask torture` does it with a thousand of
//! them; the suite with fewer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chatd::directory::DirectoryClient;
use chatd::directory::session::{self, Member, Outlets, SessionEvent};
use ed25519_dalek::Signer;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proto::ids::DeviceId;
use tests::directory::ORIGIN;
use tests::http::Http;
use tests::registry::Registrant;
use tests::tls::{Trust, client};
use tests::wait::{times_are_judged, wait_for};
use tests::{Directory, DirectoryOptions};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::torture_flood::amount;

/// The directory is down for so long each time.
const GONE: Duration = Duration::from_secs(5);
/// By then all are back.
const BACK: Duration = Duration::from_secs(10);
/// More than that is no chance of an allocator, after the first time.
const GROWN_KIB: u64 = 16 * 1024;

/// Keeps a session as a daemon does, over a connection of its own, and counts while it stands.
fn keep(person: &Registrant, url: &str, up: &Arc<AtomicUsize>, stop: &CancellationToken) {
    let (events, mut news) = mpsc::channel(8);
    let (mail, _mail) = mpsc::channel(session::MAIL_QUEUE);
    let (to_session, commands) = mpsc::channel(1);
    let key = person.device.clone();
    let member = Member {
        account: person.account(),
        device: DeviceId::of_key(&key.verifying_key().to_bytes()),
        origin: ORIGIN.to_owned(),
    };
    let sign: session::SessionSign = Arc::new(move |message: &[u8]| key.sign(message).to_bytes());
    let number: session::SessionNumber = Arc::new(|| Box::pin(async { None }));
    let client = DirectoryClient::new(url).unwrap();
    tokio::spawn(session::run(client, member, (sign, number), commands, Outlets { events, mail }, stop.clone()));
    let up = Arc::clone(up);
    tokio::spawn(async move {
        let (mut stands, _to_session, _mail) = (false, to_session, _mail);
        while let Some(event) = news.recv().await {
            match event {
                SessionEvent::Up { .. } if !stands => stands = up.fetch_add(1, Ordering::Relaxed) < usize::MAX,
                SessionEvent::Down { .. } if stands => stands = up.fetch_sub(1, Ordering::Relaxed) == 0,
                _ => {}
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_come_back_to_a_directory_that_was_gone() {
    let count = amount("CHATD_TORTURE_CLIENTS", 200) as usize;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let own = DirectoryOptions { config: Some("tls = \"own\"\n".to_owned()), ..DirectoryOptions::default() };
    let mut directory = Directory::try_start(own).unwrap();
    let host = directory.address().rsplit_once(':').unwrap().0.to_owned();
    let config = client(Trust::Anybody).unwrap();
    let mut http = Http::connect_tls(directory.address(), &host, &config).await.unwrap();
    let (up, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    for number in 0..count {
        let person = Registrant::new(&format!("h{number}"), "herd", ORIGIN).unwrap();
        person.register(&mut http).await.unwrap();
        keep(&person, directory.url(), &up, &stop);
    }
    let all_stand = |what: &str| wait_for(what, || up.load(Ordering::Relaxed) == count);
    tokio::task::block_in_place(|| all_stand("all are there"));
    let mut resident = Vec::new();
    for round in 0..3 {
        if round % 2 == 0 {
            directory.stop();
        } else {
            directory.kill9();
        }
        // Not a wait for something to happen: so long it is gone.
        tokio::time::sleep(GONE).await;
        let begun = Instant::now();
        tokio::task::block_in_place(|| {
            directory.restart();
            assert!(up.load(Ordering::Relaxed) < count, "nobody was missed");
            all_stand("all are back");
        });
        let took = begun.elapsed();
        let memory = directory.resident_kib().unwrap();
        println!(
            "figure: {count} clients, a directory gone for {GONE:?}: all back {took:?} after its start, it has {memory} KiB"
        );
        assert!(!times_are_judged() || took < BACK, "{took:?}");
        resident.push(memory);
    }
    assert!(resident[2] <= resident[0] + GROWN_KIB, "it grows: {resident:?}");
    stop.cancel();
}
