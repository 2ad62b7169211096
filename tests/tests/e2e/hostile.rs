//! A contact that breaks every rule: what it costs its victim for each byte, how soon it is closed, and what others notice.
//! `cargo xtask torture --only hostile` does it for longer and judges the times.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proto::ids::{DeviceId, MessageId, PrekeyId};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::SendParams;
use proto::wire::envelope::Outer;
use proto::wire::frame::{Frame, RefuseCode};
use tests::people::befriend;
use tests::process::cpu_time;
use tests::wait::{times_are_judged, wait_for};
use tests::{Ctl, Daemon, Pair};

use crate::hostile_peer::{Hostile, Mallory};
use crate::torture_flood::{MOST_MEMORY_KIB, Peace, honest, p99, watch_memory};
use crate::util::{bodies, send, state_of};

/// Processor time of the victim for each byte of the attacker, in microseconds, in a debug build. The dearest are envelopes of
/// twenty small cores (1.5 of a quiet machine: sealed box, signature, twenty rows, commit) and claims (1.6: a signature for 108
/// bytes); twice that is what a busy machine makes of it.
const MOST_US_PER_BYTE: u64 = 4;
/// And what it may cost in any case: what the limits let through before they close (at most 230 ms, of claims of nobody), and
/// what goes on by itself.
const MOST_US: u64 = 500_000;
/// What an honest message may take while somebody attacks.
pub const MOST_P99: Duration = Duration::from_millis(250);
/// A send that takes longer than the scheduler's whims waits for the victim.
const HELD_UP: Duration = Duration::from_millis(20);
/// What an attack may leave on the victim's disk for each byte of the attacker: a row, its indexes, the search index; and once,
/// the log of the database, which is copied back when it has so much.
const MOST_DISK_PER_BYTE: u64 = 4;
const MOST_DISK: u64 = 64 << 20;
/// Frames of each kind in the suite.
const FRAMES: u64 = 3_000;
/// What is sent in answer or again, beside eight times what came: eight windows, and what lies in queues.
const MOST_ANSWERED: u64 = 64 << 20;

/// What a hostile contact can send again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Attack {
    Hello,
    Ping,
    Pong,
    BadClaim,
    ClaimOfNobody,
    SameClaim,
    Record,
    Reach,
    AckInvented,
    AckIds,
    Resume,
    Refuse,
    JunkEnvelope,
    EnvelopeToNobody,
    Duplicates,
    UnknownKinds,
    Held,
    NewEpochs,
    Work,
    Knock,
    Welcome,
}

const ATTACKS: [Attack; 21] = [
    Attack::Hello,
    Attack::Ping,
    Attack::Pong,
    Attack::BadClaim,
    Attack::ClaimOfNobody,
    Attack::SameClaim,
    Attack::Record,
    Attack::Reach,
    Attack::AckInvented,
    Attack::AckIds,
    Attack::Resume,
    Attack::Refuse,
    Attack::JunkEnvelope,
    Attack::EnvelopeToNobody,
    Attack::Duplicates,
    Attack::UnknownKinds,
    Attack::Held,
    Attack::NewEpochs,
    Attack::Work,
    Attack::Knock,
    Attack::Welcome,
];

/// Kinds of frames that there are.
const KINDS: usize = 12;

/// Which attack sends frames of a kind. Whoever adds a kind is led here: it needs an attack in [`ATTACKS`], and counts in [`KINDS`].
fn attack_of(frame: &Frame) -> Attack {
    match frame {
        Frame::Hello { .. } => Attack::Hello,
        Frame::Claim { .. } => Attack::BadClaim,
        Frame::Record { .. } => Attack::Record,
        Frame::Reach { .. } => Attack::Reach,
        Frame::Envelope { .. } => Attack::JunkEnvelope,
        Frame::Ack { .. } => Attack::AckInvented,
        Frame::Resume { .. } => Attack::Resume,
        Frame::Refuse { .. } => Attack::Refuse,
        Frame::Work { .. } => Attack::Work,
        Frame::Ping { .. } => Attack::Ping,
        Frame::Knock { .. } => Attack::Knock,
        Frame::Welcome { .. } => Attack::Welcome,
    }
}

impl Attack {
    /// Whether an honest peer may do so, though slowly: it is slowed down or refused, not closed.
    fn is_slowed(self) -> bool {
        use Attack::{AckIds, AckInvented, Duplicates, Held, NewEpochs, UnknownKinds};
        matches!(self, AckInvented | AckIds | Duplicates | UnknownKinds | Held | NewEpochs)
    }

    fn frame(self, link: &Hostile, mallory: &Mallory, n: u64) -> Frame {
        let nobody = DeviceId([8; 16]);
        match self {
            Self::Hello => Frame::Hello { versions: vec![1], unix_time: n as i64 },
            Self::Ping => Frame::Ping { nonce: n, reply: false },
            Self::Pong => Frame::Ping { nonce: n, reply: true },
            Self::BadClaim => {
                Frame::Claim { from_device: mallory.device, to_device: mallory.bobs, signature: [n as u8; 64] }
            }
            Self::ClaimOfNobody => {
                Frame::Claim { from_device: nobody, to_device: mallory.bobs, signature: [n as u8; 64] }
            }
            Self::SameClaim => link.claim.clone(),
            Self::Record => link.record(vec![n as u8; 300]),
            Self::Reach => link.reach(vec![n as u8; 300]),
            Self::AckInvented => link.ack((0..4).map(|at| link.invented(n * 4 + at)).collect(), Vec::new()),
            Self::AckIds => link.ack(Vec::new(), (0..16).map(|_| MessageId::now()).collect()),
            Self::Resume => link.resume(),
            Self::Refuse => Frame::Refuse { code: RefuseCode::Busy, envelope: Some(n), device: Some(nobody) },
            Self::JunkEnvelope => Frame::Envelope { number: n, outer: vec![n as u8; 200] },
            Self::EnvelopeToNobody => {
                let prekey_id = PrekeyId([9; 8]);
                let outer =
                    Outer { suite: 2, to_device: nobody, prekey_id, ttl: 60, ciphertext: &[1; 200], work: None };
                Frame::Envelope { number: n, outer: outer.encode() }
            }
            Self::Duplicates => {
                let cores: Vec<_> = (0..20).map(|_| link.core("poke", 1, 1, b"")).collect();
                link.envelope(n, &cores)
            }
            Self::UnknownKinds => {
                let cores: Vec<_> = (1..=20).map(|at| link.core("poke", 2, n * 20 + at, b"")).collect();
                link.envelope(n, &cores)
            }
            Self::Held => {
                let cores: Vec<_> = (2..=21).map(|at| link.text(3, n * 20 + at, "held")).collect();
                link.envelope(n, &cores)
            }
            Self::NewEpochs => {
                let cores: Vec<_> = (0..20).map(|at| link.text(1_000 + n * 20 + at, 1, "new")).collect();
                link.envelope(n, &cores)
            }
            Self::Work => Frame::Work { envelope: n, device: mallory.device, bits: 255, window: n },
            Self::Knock => Frame::Knock { token: [n as u8; 32] },
            Self::Welcome => Frame::Welcome { token_hash: [n as u8; 32], record: vec![1; 300], reach: vec![1; 300] },
        }
    }
}

/// Bob, his honest friend carol, and mallory, who has taken over alice's keys; much waits for alice at bob's.
struct Scene {
    pair: Pair,
    carol_daemon: Daemon,
    carol: Ctl,
    mallory: Mallory,
}

async fn scene() -> Scene {
    let mut pair = Pair::start();
    let (carol_daemon, carol) = pair.join("carol");
    befriend(&carol, &pair.bob);
    pair.alice_daemon.stop();
    let client = pair.bob_daemon().client().await;
    let mut ids = Vec::new();
    for _ in 0..200 {
        let body = "b".repeat(60_000);
        let send = SendParams { to: "alice".into(), body, ..SendParams::default() };
        ids.push(client.call::<MessageSend>(&send).await.unwrap().id.to_string());
    }
    // What leaving it there costs is no attack's. It goes on: by parts, for a busy machine takes its time.
    for id in ids.iter().skip(19).step_by(20) {
        wait_for("all of it lies in her mailbox", || state_of(&pair.bob, id) == "mailboxed");
    }
    let data = pair.alice_daemon.data_dir();
    let mallory = Mallory::with_keys_of(&data, pair.bob_daemon());
    Scene { pair, carol_daemon, carol, mallory }
}

/// Waits until a process has nothing to do.
fn rests(pid: u32) {
    wait_for("it has nothing to do", || {
        let before = cpu_time(pid).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        cpu_time(pid).unwrap().saturating_sub(before) < Duration::from_millis(20)
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn no_frame_of_a_contact_costs_its_victim_much_more_than_it_weighs() {
    let mut scene = scene().await;
    let pid = scene.pair.bob_daemon().pid().unwrap();
    // A contact that lost what it had is sent everything anew, which mallory claims once: the bytes that this may cost in a day
    // are used up then, whatever she claims later.
    let mut first = scene.mallory.link().await.unwrap();
    let _ = first.send(Attack::AckInvented.frame(&first, &scene.mallory, u64::from(u32::MAX))).await;
    first.settled().await;
    first.close().await;
    rests(pid);
    let mut kinds = BTreeSet::new();
    for attack in ATTACKS {
        let mut link = scene.mallory.link().await.unwrap_or_else(|| panic!("{attack:?}: no link"));
        let (before, since) = (cpu_time(pid).unwrap(), Instant::now());
        let mut frames = 0;
        while frames < FRAMES && since.elapsed() < Duration::from_secs(3) {
            let frame = attack.frame(&link, &scene.mallory, frames);
            kinds.insert(format!("{:?}", attack_of(&frame)));
            if !link.send(frame).await {
                break;
            }
            frames += 1;
        }
        link.settled().await;
        let used = cpu_time(pid).unwrap().saturating_sub(before).as_micros() as u64;
        let (sent, heard) = (link.sent, link.heard());
        let closed = link.ended_at().map(|at| at.saturating_duration_since(since));
        println!(
            "figure: {attack:?}: {frames} frames, {sent} bytes: {} ms of processor, {:.2} us a byte, {heard} bytes \
             back, {}",
            used / 1_000,
            used as f64 / sent.max(1) as f64,
            closed.map_or("open".into(), |after| format!("closed after {} ms", after.as_millis())),
        );
        assert!(used <= MOST_US + MOST_US_PER_BYTE * sent, "{attack:?}: {used} us for {sent} bytes");
        assert!(heard <= MOST_ANSWERED + 8 * sent, "{attack:?}: {heard} bytes for {sent}");
        if !attack.is_slowed() {
            assert!(closed.is_some_and(|after| after < Duration::from_secs(5)), "{attack:?} goes on");
        }
        link.close().await;
    }
    assert_eq!(kinds.len(), KINDS, "an attack for each kind of frame: {kinds:?}");
    // Bob's own part is unharmed.
    scene.carol.ok(["send", "bob", "still there?", "--wait", "delivered"]);
    assert!(scene.pair.bob_daemon().is_running());
}

/// Bytes of all files below a folder.
pub fn disk_bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
            meta => meta.map_or(0, |meta| meta.len()),
        })
        .sum()
}

/// What the attacker saw of itself.
#[derive(Debug, Default)]
struct Flood {
    links: u64,
    sent: u64,
    /// The longest that a link lasted before it was closed.
    closed_after: Duration,
    /// When the victim first read so slowly that sending had to wait.
    held_up_after: Option<Duration>,
    /// After the last frame, what was still to be read of what had been sent.
    backlog: Duration,
}

async fn flood(mallory: Mallory, attack: Attack, stop: Arc<AtomicBool>) -> Flood {
    let mut seen = Flood::default();
    while !stop.load(Ordering::Relaxed) {
        let Some(mut link) = mallory.link().await else { continue };
        seen.links += 1;
        let mut n = seen.links * 100_000;
        let since = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let frame = attack.frame(&link, &mallory, n);
            let before = Instant::now();
            let sent = link.send(frame).await;
            if before.elapsed() > HELD_UP {
                seen.held_up_after.get_or_insert(since.elapsed());
            }
            if !sent {
                break;
            }
            n += 1;
        }
        let last = Instant::now();
        link.settled().await;
        seen.backlog = seen.backlog.max(last.elapsed());
        if let Some(at) = link.ended_at() {
            seen.closed_after = seen.closed_after.max(at.saturating_duration_since(since));
        }
        seen.sent += link.sent;
        link.close().await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_contact_with_any_number_of_nodes_stops_nobody() {
    let seconds: u64 = std::env::var("CHATD_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let judged = times_are_judged();
    let mut scene = scene().await;
    let pid = scene.pair.bob_daemon().pid().unwrap();
    let data = scene.pair.bob_daemon().data_dir();
    let carol = scene.carol_daemon.client().await;
    let (mut failed, mut peace) = (Vec::new(), Peace::default());
    for attack in ATTACKS {
        // Before each: what the attacks before have left behind is no excuse.
        let quiet = peace.add(honest(&carol, if judged { 100 } else { 10 }, &AtomicBool::new(true)).await);
        let disk = disk_bytes(&data);
        let stop = Arc::new(AtomicBool::new(false));
        let attacker = tokio::spawn(flood(scene.mallory.clone(), attack, Arc::clone(&stop)));
        let timer = {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                stop.store(true, Ordering::Relaxed);
            })
        };
        let memory = watch_memory(pid, &stop);
        let (times, memory) = tokio::join!(honest(&carol, 10, &stop), memory);
        timer.await.unwrap();
        let seen = attacker.await.unwrap();
        let (during, grown) = (p99(&times), disk_bytes(&data).saturating_sub(disk));
        // One that costs the attacker as much as us may never have to wait: then nothing may be left to be read.
        let ends = match (attack.is_slowed(), seen.held_up_after) {
            (false, _) => seen.closed_after,
            (true, held_up) => held_up.unwrap_or(seen.backlog),
        };
        println!(
            "figure: {attack:?} for {seconds} s over {} links, {} KiB: an honest message {:.1} ms p99 ({} of them), {:.1} ms in \
             peace; memory {} MiB; disk {} KiB more; {} {} ms",
            seen.links,
            seen.sent >> 10,
            during.as_secs_f64() * 1e3,
            times.len(),
            quiet.as_secs_f64() * 1e3,
            memory >> 10,
            grown >> 10,
            match (attack.is_slowed(), seen.held_up_after) {
                (false, _) => "closed after",
                (true, Some(_)) => "slowed after",
                (true, None) => "never slowed, all was read after",
            },
            ends.as_millis(),
        );
        let mut judge = |held: bool, what: String| {
            if !held {
                println!("NOT HELD: {attack:?}: {what}");
                failed.push(format!("{attack:?}: {what}"));
            }
        };
        judge(memory < MOST_MEMORY_KIB, format!("{memory} KiB of memory"));
        judge(grown <= MOST_DISK + MOST_DISK_PER_BYTE * seen.sent, format!("{grown} bytes of disk for {}", seen.sent));
        if judged {
            judge(during < MOST_P99, format!("an honest message took {during:?}"));
            peace.compare(format!("{attack:?}"), during);
            judge(ends <= Duration::from_secs(5), format!("it went on for {ends:?}"));
        }
    }
    failed.extend(peace.longer_in_war());
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(scene.pair.bob_daemon().is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_over_its_quota_is_told_so() {
    let config = "[space]\ncontact_messages_per_day = 3\n";
    let pair = Pair::strangers_with(config, tests::DirectoryOptions::default());
    befriend(&pair.alice, &pair.bob);
    for n in 1..=3 {
        pair.alice.ok(["send", "bob", &format!("{n}"), "--wait", "delivered"]);
    }
    let id = send(&pair.alice, "bob", "one too many");
    wait_for("alice sees why", || pair.alice.json(["trace", &id]).to_string().contains("recipient_quota"));
    assert_ne!(state_of(&pair.alice, &id), "delivered");
    assert_eq!(bodies(&pair.bob, "alice", 10), ["1", "2", "3"]);
    // The other way is another quota.
    pair.bob.ok(["send", "alice", "back", "--wait", "delivered"]);
}
