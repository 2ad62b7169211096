//! A contact that breaks every rule: what it costs its victim for each byte, how soon it is closed, and what others notice.
//! `cargo xtask torture --only hostile` does it for longer and judges the times.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proto::ids::{DeviceId, MessageId, PrekeyId};
use proto::rpc::methods::MessageSend;
use proto::rpc::types::SendParams;
use proto::wire::envelope::Outer;
use proto::wire::frame::{Frame, RefuseCode};
use tests::daemon::resident_kib;
use tests::people::befriend;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, Pair};

use crate::hostile_peer::{Hostile, Mallory};
use crate::torture_flood::{honest, p99};
use crate::util::{bodies, send, state_of};

/// Processor time of the victim for each byte of the attacker, in microseconds (debug build; an envelope of one small
/// message costs about half of it: sealed box, signature, commit).
const MOST_US_PER_BYTE: u64 = 10;
/// And what it may cost in any case: what the limits let through before they close, and what goes on by itself.
const MOST_US: u64 = 2_000_000;
/// Frames of each kind in the suite.
const FRAMES: u64 = 3_000;
/// What is sent in answer or again, beside eight times what came: eight windows, and what lies in queues.
const MOST_ANSWERED: u64 = 64 << 20;

/// Processor time that a process has used.
fn cpu(pid: u32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text[text.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

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
}

const ATTACKS: [Attack; 18] = [
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
];

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
                    Outer { suite: 1, to_device: nobody, prekey_id, ttl: 60, ciphertext: &[1; 200], work: None };
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
    for _ in 0..200 {
        let body = "b".repeat(60_000);
        let send = SendParams { to: "alice".into(), body, ..SendParams::default() };
        client.call::<MessageSend>(&send).await.unwrap();
    }
    let data = pair.alice_daemon.data_dir();
    let mallory = Mallory::with_keys_of(&data, pair.bob_daemon());
    Scene { pair, carol_daemon, carol, mallory }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_frame_of_a_contact_costs_its_victim_much_more_than_it_weighs() {
    let mut scene = scene().await;
    let pid = scene.pair.bob_daemon().pid().unwrap();
    for attack in ATTACKS {
        let mut link = scene.mallory.link().await.unwrap_or_else(|| panic!("{attack:?}: no link"));
        let (before, since) = (cpu(pid), Instant::now());
        let mut frames = 0;
        while frames < FRAMES && since.elapsed() < Duration::from_secs(3) {
            let frame = attack.frame(&link, &scene.mallory, frames);
            if !link.send(frame).await {
                break;
            }
            frames += 1;
        }
        link.settled().await;
        let used = cpu(pid).saturating_sub(before).as_micros() as u64;
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
    // Bob's own part is unharmed.
    scene.carol.ok(["send", "bob", "still there?", "--wait", "delivered"]);
    assert!(scene.pair.bob_daemon().is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_contact_with_any_number_of_nodes_stops_nobody() {
    let seconds: u64 = std::env::var("CHATD_TORTURE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let judged = std::env::var_os("CHATD_TORTURE").is_some();
    let mut scene = scene().await;
    let pid = scene.pair.bob_daemon().pid().unwrap();
    let carol = scene.carol_daemon.client().await;
    let quiet = honest(&carol, 50, &AtomicBool::new(true)).await;
    for attack in ATTACKS {
        let stop = Arc::new(AtomicBool::new(false));
        let flood = {
            let (mallory, stop) = (scene.mallory.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut sent, mut links) = (0, 0);
                while !stop.load(Ordering::Relaxed) {
                    let Some(mut link) = mallory.link().await else { continue };
                    links += 1;
                    let mut n = links * 100_000;
                    while !stop.load(Ordering::Relaxed) {
                        let frame = attack.frame(&link, &mallory, n);
                        if !link.send(frame).await {
                            break;
                        }
                        n += 1;
                    }
                    sent += link.sent;
                    link.close().await;
                }
                (sent, links)
            })
        };
        let timer = {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                stop.store(true, Ordering::Relaxed);
            })
        };
        let during = honest(&carol, 10, &stop).await;
        timer.await.unwrap();
        let (sent, links) = flood.await.unwrap();
        let memory = resident_kib(pid).unwrap();
        println!(
            "figure: {attack:?} for {seconds} s over {links} links, {} KiB: an honest message {:.1} ms p99 ({} of them), \
             {:.1} ms in peace; bob's memory {} MiB",
            sent >> 10,
            p99(&during).as_secs_f64() * 1e3,
            during.len(),
            p99(&quiet).as_secs_f64() * 1e3,
            memory >> 10,
        );
        assert!(memory < 256 * 1024, "{attack:?}: {memory} KiB");
        if judged {
            assert!(p99(&during) < Duration::from_millis(250), "{attack:?}: {:?}", p99(&during));
        }
    }
    assert!(scene.pair.bob_daemon().is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_over_its_quota_is_told_so() {
    let config = "[limits]\ncontact_messages_per_day = 3\n";
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
