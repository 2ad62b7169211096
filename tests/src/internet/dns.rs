//! The least of a DNS server, on a port of loopback: it says what its test wants, and remembers what it was asked.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const SRV: u16 = 33;
/// Seconds for which answers hold, unless a test says otherwise.
const TTL: u32 = 60;
/// How long its thread may take to notice its end.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
struct Record {
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
    /// Where an alias leads.
    leads: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    /// By the name in lower case, without a final dot.
    records: HashMap<String, Vec<Record>>,
    asked: Vec<(String, u16)>,
    ttl: Option<u32>,
    /// Aliases are not followed, as some servers do not.
    lazy: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    silent: AtomicBool,
    stop: AtomicBool,
}

/// See the module. Its thread ends with it.
#[derive(Debug)]
pub struct Dns {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Dns {
    /// On any port.
    ///
    /// # Errors
    /// When there is none.
    pub fn start() -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(TICK))?;
        let (address, shared) = (socket.local_addr()?, Arc::new(Shared::default()));
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while !serving.stop.load(Ordering::SeqCst) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if serving.silent.load(Ordering::SeqCst) {
                    continue;
                }
                if let Some(answer) = serving.answer(&buffer[..length]) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Ok(Self { shared, address })
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on a machine has these addresses.
    pub fn a(&self, host: &str, addresses: &[Ipv4Addr]) {
        let data = addresses.iter().map(|ip| (ip.octets().to_vec(), None));
        self.set(host, A, data.collect());
    }

    /// From now on the directory of a domain is there: priority, weight, port, machine.
    pub fn srv(&self, domain: &str, records: &[(u16, u16, u16, &str)]) {
        self.service(&format!("_chatd-directory._tcp.{domain}"), records);
    }

    /// The same for a name as it stands in the DNS.
    pub fn service(&self, name: &str, records: &[(u16, u16, u16, &str)]) {
        let data = records.iter().map(|(priority, weight, port, host)| {
            let numbers = [*priority, *weight, *port].map(u16::to_be_bytes).concat();
            ([numbers, encoded(host)].concat(), None)
        });
        self.set(name, SRV, data.collect());
    }

    /// From now on a name is an alias.
    pub fn alias(&self, name: &str, leads: &str) {
        self.set(name, CNAME, vec![(encoded(leads), Some(leads.to_lowercase()))]);
    }

    /// Answers hold for so many seconds.
    pub fn ttl(&self, seconds: u32) {
        self.state().ttl = Some(seconds);
    }

    /// An alias is told, and not where it leads.
    pub fn be_lazy(&self) {
        self.state().lazy = true;
    }

    /// Says nothing any more, or speaks again.
    pub fn be_silent(&self, silent: bool) {
        self.shared.silent.store(silent, Ordering::SeqCst);
    }

    /// How often it was asked for the directory of a domain.
    pub fn asked_for(&self, domain: &str) -> usize {
        let name = format!("_chatd-directory._tcp.{domain}");
        self.state().asked.iter().filter(|(asked, kind)| *asked == name && *kind == SRV).count()
    }

    fn set(&self, name: &str, kind: u16, data: Vec<(Vec<u8>, Option<String>)>) {
        let mut state = self.state();
        let ttl = state.ttl.unwrap_or(TTL);
        let records = state.records.entry(name.to_lowercase()).or_default();
        records.retain(|record| record.kind != kind);
        records.extend(data.into_iter().map(|(data, leads)| Record { kind, ttl, data, leads }));
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    /// The answer to a packet; `None` to one that is no question.
    fn answer(&self, packet: &[u8]) -> Option<Vec<u8>> {
        let (mut at, mut labels) = (12, Vec::new());
        loop {
            let length = usize::from(*packet.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
            at += length;
        }
        let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
        let question = packet.get(12..at + 4)?;
        let name = labels.join(".");
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.asked.push((name.clone(), kind));
        let (mut answers, mut next, mut exists) = (Vec::new(), Some(name.clone()), false);
        while let Some(name) = next.take().filter(|_| answers.len() < 16) {
            let Some(records) = state.records.get(&name) else { break };
            exists = true;
            let wanted = records.iter().filter(|record| record.kind == kind);
            answers.extend(wanted.map(|record| encode(&name, record)));
            if let Some(alias) = records.iter().find(|record| record.kind == CNAME && kind != CNAME) {
                answers.push(encode(&name, alias));
                next = alias.leads.clone().filter(|_| !state.lazy);
            }
        }
        let (mut flags, mut authority) = ([0x81, 0x80], Vec::new());
        if answers.is_empty() {
            flags[1] |= if exists { 0 } else { 3 };
            let ttl = state.ttl.unwrap_or(TTL);
            // How long a refusal holds is the last number (RFC 2308).
            let numbers = [1, 3_600, 600, 86_400, ttl].map(u32::to_be_bytes).concat();
            let data = [encoded("ns.test"), encoded("root.test"), numbers].concat();
            let zone = name.rsplit('.').next().unwrap_or_default().to_owned();
            authority = encode(&zone, &Record { kind: SOA, ttl, data, leads: None });
        }
        let counts = [1, answers.len() as u16, u16::from(!authority.is_empty()), 0].map(u16::to_be_bytes).concat();
        Some([&packet[..2], &flags, &counts, question, &answers.concat(), &authority].concat())
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(label.len() as u8);
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}

fn encode(name: &str, record: &Record) -> Vec<u8> {
    let Record { kind, ttl, data, .. } = record;
    let length = data.len() as u16;
    let head = [kind.to_be_bytes(), 1_u16.to_be_bytes()].concat();
    [encoded(name), head, ttl.to_be_bytes().to_vec(), length.to_be_bytes().to_vec(), data.clone()].concat()
}
