//! What strangers and a member do to a directory, and local users to a daemon, and what honest people notice of it.
//! `cargo xtask torture --only hostile` does it for longer and judges the times.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use proto::directory::SignedRecord;
use proto::directory::api::RecordAnswer;
use proto::ids::{AccountId, DeviceId, PrekeyId, sha256};
use proto::rpc::client::Client;
use proto::rpc::methods::DirectoryUsers;
use proto::rpc::types::UsersParams;
use proto::wire::envelope::Outer;
use tests::http::{Http, connect_from};
use tests::people::befriend;
use tests::process::Process;
use tests::registry::Registrant;
use tests::users;
use tests::wait::times_are_judged;
use tests::{DirectoryOptions, Pair};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error as WsError;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::hostile::{MOST_P99, disk_bytes};
use crate::torture_flood::{MOST_MEMORY_KIB, Peace, amount, one_arrives, p99, watch_memory};

/// By which all attackers come.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Connections of an attack.
const AT_ONCE: u64 = 8;
/// What any attack may leave on the disk, its log included.
const MOST_DISK: u64 = 32 << 20;
/// An answer that takes longer is one that is withheld.
const HELD_UP: Duration = Duration::from_millis(500);

/// What somebody does to a directory again and again.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Attack {
    /// A member with another device in every record.
    Devices,
    LongNames,
    Nonces,
    Lookups,
    /// Each from another network.
    LookupsFromEverywhere,
    ForgedProxies,
    JunkToMailbox,
    UnreadAnswers,
    SilentSockets,
}

impl Attack {
    const ALL: [Self; 9] = [
        Self::Devices,
        Self::LongNames,
        Self::Nonces,
        Self::Lookups,
        Self::LookupsFromEverywhere,
        Self::ForgedProxies,
        Self::JunkToMailbox,
        Self::UnreadAnswers,
        Self::SilentSockets,
    ];

    /// What it tells of where it comes from; the directory believes it.
    fn source(self, n: u64) -> String {
        match self {
            Self::LookupsFromEverywhere => format!("{}.{}.{}.1", 11 + (n >> 16) % 100, (n >> 8) & 255, n & 255),
            Self::ForgedProxies => {
                let forged = ["unknown", "[::1]", "127.0.0.1:80", "localhost", "::1%lo", "-", "0x7f.1", ""];
                forged[n as usize % forged.len()].into()
            }
            _ => "192.0.2.1".into(),
        }
    }
}

/// One attacker.
struct Attacker {
    attack: Attack,
    address: String,
    victim: (AccountId, DeviceId),
    number: u64,
    /// Those that say nothing.
    held: Vec<tokio_tungstenite::WebSocketStream<TcpStream>>,
    unread: Option<TcpStream>,
}

/// How one request was answered.
#[derive(Debug, PartialEq)]
enum Got {
    /// As such a request is answered that is not too much.
    Taken,
    Refused,
}

impl Attacker {
    /// Does it once.
    ///
    /// # Errors
    /// When the connection ends.
    async fn once(&mut self, http: &mut Http, n: u64) -> anyhow::Result<Got> {
        let (account, device) = self.victim;
        http.headers = format!("x-forwarded-for: {}\r\n", self.attack.source(n));
        let (answer, taken) = match self.attack {
            Attack::Devices => {
                let mut mallory = Registrant::new(&format!("mallory{}", self.number), "8.7", "example.org")?;
                mallory.device = ed25519_dalek::SigningKey::from_bytes(&sha256(&[b"device", &n.to_be_bytes()]));
                (mallory.publish(http, n).await?, &[200, 201][..])
            }
            Attack::LongNames => (http.get(&format!("/v1/records/{}", "a".repeat(30_000))).await?, &[400][..]),
            Attack::Nonces => (http.get("/v1/nonce").await?, &[200][..]),
            Attack::Lookups | Attack::LookupsFromEverywhere | Attack::ForgedProxies => {
                (http.get(&format!("/v1/accounts/{n:032x}")).await?, &[404][..])
            }
            Attack::JunkToMailbox => {
                let prekey_id = PrekeyId((self.number << 32 | n).to_be_bytes());
                let junk =
                    Outer { suite: 2, to_device: device, prekey_id, ttl: 60, ciphertext: &[1; 4_000], work: None };
                let path = format!("/v1/mailbox/{account}");
                (http.request("POST", &path, "", Some(&junk.encode())).await?, &[201][..])
            }
            Attack::UnreadAnswers => {
                let stream = match &mut self.unread {
                    Some(stream) => stream,
                    None => self.unread.insert(connect_from(PROXY, &self.address).await?),
                };
                let ask = "GET /v1/users?limit=1000 HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: 192.0.2.1\r\n\r\n";
                if let Err(error) = stream.write_all(ask.repeat(100).as_bytes()).await {
                    self.unread = None;
                    return Err(error.into());
                }
                return Ok(Got::Taken);
            }
            Attack::SilentSockets => {
                if self.held.len() >= 100 {
                    self.held.clear();
                }
                let stream = connect_from(PROXY, &self.address).await?;
                let mut request = format!("ws://{}/v1/session", self.address).into_client_request()?;
                request.headers_mut().insert("x-forwarded-for", "192.0.2.1".parse()?);
                return match client_async(request, stream).await {
                    Ok((socket, _)) => {
                        self.held.push(socket);
                        Ok(Got::Taken)
                    }
                    Err(WsError::Http(answer)) if answer.status() == 429 => Ok(Got::Refused),
                    Err(error) => Err(error.into()),
                };
            }
        };
        match answer.status {
            status if taken.contains(&status) => Ok(Got::Taken),
            429 | 507 => Ok(Got::Refused),
            status => panic!("{:?} is no such attack: {status} {}", self.attack, answer.text()),
        }
    }

    /// Goes on until told to stop.
    async fn run(mut self, stop: Arc<AtomicBool>) -> Seen {
        let (since, mut seen, mut n) = (Instant::now(), Seen::default(), 0);
        while !stop.load(Ordering::Relaxed) {
            // A connection that was closed is made anew.
            let Ok(mut http) = Http::connect_from(PROXY, &self.address).await else { continue };
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                let got = tokio::time::timeout(HELD_UP, self.once(&mut http, n)).await;
                match got {
                    Ok(Ok(Got::Taken)) => {
                        seen.taken += 1;
                        continue;
                    }
                    Ok(Ok(Got::Refused)) => seen.refused += 1,
                    Ok(Err(_)) => seen.closed += 1,
                    Err(_) => seen.held_up += 1,
                }
                seen.stopped_after.get_or_insert(since.elapsed());
                if !matches!(got, Ok(Ok(_))) {
                    break;
                }
            }
        }
        seen
    }
}

/// What an attacker saw.
#[derive(Debug, Default)]
struct Seen {
    taken: u64,
    refused: u64,
    /// Connections that ended.
    closed: u64,
    /// What was not answered, or not read, within [`HELD_UP`].
    held_up: u64,
    /// When it was first refused, closed or held up.
    stopped_after: Option<Duration>,
}

/// One look into the directory and one message that arrives, again and again; how long each of them took.
async fn honest(client: &Client, least: usize, stop: &AtomicBool) -> Vec<Duration> {
    let mut times = Vec::new();
    while times.len() < least || !stop.load(Ordering::Relaxed) {
        let since = Instant::now();
        let users = UsersParams { name: Some("bob".into()), ..UsersParams::default() };
        let found = client.call::<DirectoryUsers>(&users).await.unwrap().users;
        assert_eq!(found.len(), 1, "an honest look finds bob");
        one_arrives(client).await;
        times.push(since.elapsed());
    }
    times.sort_unstable();
    times
}

/// What honest people see before and during an attack, which `stop` ends.
struct Watch {
    quiet: Duration,
    during: Duration,
    memory: u64,
}

fn seconds() -> Duration {
    Duration::from_secs(amount("CHATD_TORTURE_SECONDS", 1))
}

async fn in_peace(client: &Client, peace: &mut Peace) -> Duration {
    let least = if times_are_judged() { 100 } else { 10 };
    peace.add(honest(client, least, &AtomicBool::new(true)).await)
}

async fn watch(client: &Client, pid: u32, quiet: Duration, stop: &AtomicBool) -> Watch {
    let timer = async {
        tokio::time::sleep(seconds()).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (times, memory, ()) = tokio::join!(honest(client, 10, stop), watch_memory(pid, stop), timer);
    Watch { quiet, during: p99(&times), memory }
}

impl Watch {
    /// What did not hold. Times are judged by torture alone.
    fn judge(&self, what: &str, grown: u64, ends: Option<Duration>, (failed, peace): (&mut Vec<String>, &mut Peace)) {
        println!(
            "figure: {what} for {} s: an honest look and message {:.1} ms p99, {:.1} ms in peace; memory {} MiB; disk {} KiB more; \
             stopped {}",
            seconds().as_secs(),
            self.during.as_secs_f64() * 1e3,
            self.quiet.as_secs_f64() * 1e3,
            self.memory >> 10,
            grown >> 10,
            ends.map_or("never".into(), |after| format!("after {} ms", after.as_millis())),
        );
        let mut judge = |held: bool, of: &str| {
            if !held {
                println!("NOT HELD: {what}: {of}");
                failed.push(format!("{what}: {of}"));
            }
        };
        judge(self.memory < MOST_MEMORY_KIB, "memory");
        judge(grown < MOST_DISK, "disk");
        if times_are_judged() {
            judge(self.during < MOST_P99, "an honest one waits");
            peace.compare(what.to_owned(), self.during);
            judge(ends.is_some_and(|after| after < Duration::from_secs(5)), "it goes on");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_a_member_of_a_directory_stop_nobody() {
    // Who comes by the proxy is believed where it comes from; and members ask more often than people do.
    let config = "proxies = ['127.0.0.2']\n[limits]\nmember_per_minute = 600000\n";
    let options =
        DirectoryOptions { config: Some(config.into()), ..DirectoryOptions::default() }.args(&["--list", "public"]);
    let mut pair = Pair::strangers_with("first_contact = 'open'\n", options);
    befriend(&pair.alice, &pair.bob);
    let (pid, data) = (pair.directory.pid().unwrap(), pair.directory.data_dir());
    let client = pair.alice_daemon.client().await;
    let mut http = Http::connect(pair.directory.address()).await.unwrap();
    let record = http.get("/v1/records/bob").await.unwrap().json::<RecordAnswer>().unwrap().record;
    let bob = SignedRecord::decode(&record.0).unwrap().verify().unwrap();
    let victim = (bob.account(), bob.devices[0].id);
    let (mut failed, mut peace) = (Vec::new(), Peace::default());
    for attack in Attack::ALL {
        let quiet = in_peace(&client, &mut peace).await;
        let size = || disk_bytes(&data) + pair.directory.log_text().len() as u64;
        let (before, stop) = (size(), Arc::new(AtomicBool::new(false)));
        let attackers: Vec<_> = (0..AT_ONCE)
            .map(|number| {
                let address = pair.directory.address().to_owned();
                let attacker = Attacker { attack, address, victim, number, held: Vec::new(), unread: None };
                tokio::spawn(attacker.run(Arc::clone(&stop)))
            })
            .collect();
        let watch = watch(&client, pid, quiet, &stop).await;
        let mut seen = Vec::new();
        for attacker in attackers {
            seen.push(attacker.await.unwrap());
        }
        let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
        let (taken, refused, closed) = (sum(|seen| seen.taken), sum(|seen| seen.refused), sum(|seen| seen.closed));
        println!("{attack:?}: {taken} taken, {refused} refused, {closed} closed, {} held up", sum(|seen| seen.held_up));
        assert!(taken > 0, "{attack:?} never began");
        let ends = match attack {
            // From each network a few: that is what honest crowds do, and each is answered.
            Attack::LookupsFromEverywhere => Some(Duration::ZERO),
            // The last of them, if all were stopped.
            _ => seen
                .iter()
                .map(|seen| seen.stopped_after)
                .collect::<Option<Vec<_>>>()
                .and_then(|all| all.into_iter().max()),
        };
        watch.judge(&format!("{attack:?}"), size().saturating_sub(before), ends, (&mut failed, &mut peace));
    }
    // Nothing of others was refused, and a stranger from elsewhere is served.
    let mut http = Http::connect_from(PROXY, pair.directory.address()).await.unwrap();
    http.headers = "x-forwarded-for: 198.51.100.7\r\n".into();
    assert_eq!(http.get("/v1/records/bob").await.unwrap().status, 200);
    let (_daemon, carol) = pair.join("carol");
    carol.ok(["users", "bob"]);
    assert!(pair.directory.is_running() && pair.alice_daemon.is_running());
    pair.bob_daemon().stop();
    failed.extend(peace.longer_in_war());
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Another user of the machine, who connects as often as it can for some seconds, and says how often it did; `elsewhere` only
/// burns as much of the processor. `system.status`, as MessagePack.
const USER: &str = include_str!("local_user.py");

#[tokio::test(flavor = "multi_thread")]
async fn other_users_of_the_machine_stop_nobody() {
    const PYTHON: &str = "/usr/bin/python3";
    if let Some(reason) = users::missing() {
        tests::skip!("{reason}");
    }
    if !std::path::Path::new(PYTHON).exists() {
        tests::skip!("{PYTHON} is missing, to connect as other users");
    }
    let pair = Pair::strangers_with("system = true\n", DirectoryOptions::default());
    befriend(&pair.alice, &pair.bob);
    users::open_folders(&pair.alice_daemon).unwrap();
    let (pid, data) = (pair.alice_daemon.pid().unwrap(), pair.alice_daemon.data_dir());
    let client = pair.alice_daemon.client().await;
    let (mut failed, mut peace) = (Vec::new(), Peace::default());
    for what in ["elsewhere", "silent", "half", "unread", "asks"] {
        let quiet = in_peace(&client, &mut peace).await;
        let size = || disk_bytes(&data) + pair.alice_daemon.log_text().len() as u64;
        let (before, stop) = (size(), AtomicBool::new(false));
        let mut users: Vec<Process> = (23_201..23_205)
            .map(|user| {
                let mut command = users::command(user, std::path::Path::new(PYTHON));
                command.args(["-c", USER]).arg(pair.alice_daemon.socket()).arg(what);
                command.arg(seconds().as_secs().to_string());
                command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
                Process::spawn(command).unwrap()
            })
            .collect();
        // Who comes now finds the door open, too.
        let alice = pair.alice.clone();
        let newcomer = tokio::task::spawn_blocking(move || (0..5).for_each(|_| drop(alice.ok(["status"]))));
        let watch = watch(&client, pid, quiet, &stop).await;
        newcomer.await.unwrap();
        for user in &mut users {
            let mut connected = String::new();
            user.take_stdout().unwrap().read_to_string(&mut connected).unwrap();
            assert_eq!(connected.trim() != "0", what != "elsewhere", "{what}: {connected} connections");
        }
        // They have shares of places, memory and turns from the first moment.
        watch.judge(
            &format!("four users, {what}"),
            size().saturating_sub(before),
            Some(Duration::ZERO),
            (&mut failed, &mut peace),
        );
    }
    pair.alice.ok(["status"]);
    failed.extend(peace.longer_in_war());
    assert!(failed.is_empty(), "{failed:#?}");
}
