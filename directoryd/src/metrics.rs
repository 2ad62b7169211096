//! Counters for `GET /metrics`, in Prometheus' text format. Labels are of fixed sets: nobody outside can make new
//! series.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// What a client asked for; also the `operation` of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `GET /v1/nonce`
    Nonce,
    /// `PUT /v1/records/{name}`
    Publish,
    /// `DELETE /v1/records/{name}`
    Unregister,
    /// `GET /v1/records/{name}` and `GET /v1/accounts/{id}`
    Lookup,
    /// `PUT /v1/reach`
    PublishReach,
    /// `GET /v1/reach/{account}`
    Reach,
    /// `GET /v1/users`
    Users,
    /// `GET /v1/session`, until it ends
    Session,
    /// `POST /v1/mailbox/{account}`
    Deposit,
    /// `/v1/groups/{log}`: made, told, changed, dropped from, given up
    Group,
    /// `POST /v1/groups/{log}/entries` and `POST /v1/groups/{log}/staged`
    Append,
    /// `GET /v1/groups/{log}/entries`
    ReadGroup,
    /// `/v1/groups/{log}/slots`
    Slots,
    /// `GET /relay`, until the node is let in or not
    Relay,
    /// Everything else: the page, the description, health, metrics, and paths that do not exist
    Other,
}

const OPERATIONS: usize = 15;

impl Op {
    const ALL: [(Self, &str); OPERATIONS] = [
        (Self::Nonce, "nonce"),
        (Self::Publish, "publish"),
        (Self::Unregister, "unregister"),
        (Self::Lookup, "lookup"),
        (Self::PublishReach, "publish_reach"),
        (Self::Reach, "reach"),
        (Self::Users, "users"),
        (Self::Session, "session"),
        (Self::Deposit, "deposit"),
        (Self::Group, "group"),
        (Self::Append, "append"),
        (Self::ReadGroup, "read_group"),
        (Self::Slots, "slots"),
        (Self::Relay, "relay"),
        (Self::Other, "other"),
    ];

    /// The label.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// The client's request was not granted.
    Refused,
    /// It could not be done.
    Failed,
}

const OUTCOMES: [&str; 3] = ["ok", "refused", "failed"];

/// Why a deposit was refused, where that says something of the mailboxes; the rest is in the operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepositRefused {
    /// The token does not hold.
    Token,
    /// No room.
    Full,
    /// The account takes nothing from strangers, or from this one.
    Policy,
}

const REFUSED: [&str; 3] = ["token", "full", "policy"];

/// What lies in mailboxes, and what became of the rest.
#[derive(Debug, Default)]
pub struct MailboxMetrics {
    envelopes: AtomicU64,
    bytes: AtomicU64,
    deleted: AtomicU64,
    expired: AtomicU64,
    refused: [AtomicU64; 3],
    /// Envelopes that were pushed to devices, repetitions included.
    pub pushed: AtomicU64,
}

impl MailboxMetrics {
    /// Sets what lies there after a commit, and counts what it deleted.
    pub fn committed(&self, envelopes: u64, bytes: u64, deleted: u64, expired: u64) {
        self.envelopes.store(envelopes, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.deleted.fetch_add(deleted, Ordering::Relaxed);
        self.expired.fetch_add(expired, Ordering::Relaxed);
    }

    /// Counts a refused deposit.
    pub fn refused(&self, reason: DepositRefused) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn render(&self, out: &mut String) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("directoryd_mailbox_envelopes", "gauge", "Envelopes that lie in mailboxes.", get(&self.envelopes)),
            ("directoryd_mailbox_bytes", "gauge", "Bytes of envelopes that lie in mailboxes.", get(&self.bytes)),
            ("directoryd_mailbox_pushed_total", "counter", "Envelopes pushed to devices.", get(&self.pushed)),
            ("directoryd_mailbox_deleted_total", "counter", "Envelopes deleted by devices.", get(&self.deleted)),
            ("directoryd_mailbox_expired_total", "counter", "Envelopes that expired.", get(&self.expired)),
        ] {
            head(out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        head(out, "directoryd_deposits_refused_total", "counter", "Deposits refused, by reason.");
        for (reason, count) in REFUSED.iter().zip(&self.refused) {
            let _ = writeln!(out, "directoryd_deposits_refused_total{{reason=\"{reason}\"}} {}", get(count));
        }
    }
}

/// What lies in logs of groups, and what became of the rest.
#[derive(Debug, Default)]
pub struct GroupMetrics {
    logs: AtomicU64,
    entries: AtomicU64,
    bytes: AtomicU64,
    appended: AtomicU64,
    dropped: AtomicU64,
    races: AtomicU64,
    /// Appends that found no room.
    pub full: AtomicU64,
    /// Appends that came too often.
    pub often: AtomicU64,
    /// Entries that were pushed to sessions, repetitions included.
    pub pushed: AtomicU64,
}

impl GroupMetrics {
    /// Sets what there is after a commit (logs, entries, bytes), and counts what it did (appended, dropped, lost races).
    pub fn committed(&self, there: (u64, u64, u64), did: (u64, u64, u64)) {
        self.logs.store(there.0, Ordering::Relaxed);
        self.entries.store(there.1, Ordering::Relaxed);
        self.bytes.store(there.2, Ordering::Relaxed);
        self.appended.fetch_add(did.0, Ordering::Relaxed);
        self.dropped.fetch_add(did.1, Ordering::Relaxed);
        self.races.fetch_add(did.2, Ordering::Relaxed);
    }

    fn render(&self, out: &mut String) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("logs", "gauge", "Logs of groups.", get(&self.logs)),
            ("entries", "gauge", "Entries that lie in logs.", get(&self.entries)),
            ("bytes", "gauge", "Bytes of all that lies in logs.", get(&self.bytes)),
            ("appended_total", "counter", "Entries appended to logs.", get(&self.appended)),
            ("dropped_total", "counter", "Entries that have expired, or were dropped.", get(&self.dropped)),
            ("races_lost_total", "counter", "Events that were not the next.", get(&self.races)),
            ("full_total", "counter", "Appends that found no room.", get(&self.full)),
            ("too_often_total", "counter", "Appends that came too often.", get(&self.often)),
            ("pushed_total", "counter", "Entries pushed to sessions.", get(&self.pushed)),
        ] {
            head(out, &format!("directoryd_group_{name}"), kind, help);
            let _ = writeln!(out, "directoryd_group_{name} {value}");
        }
    }
}

/// What the relay did.
#[derive(Debug, Default)]
pub struct RelayMetrics {
    /// Nodes that are connected.
    pub nodes: AtomicUsize,
    /// Connections that were let in.
    pub connections: AtomicU64,
    /// Connections that were not.
    pub refused: AtomicU64,
    /// Times that a node was made to wait because it sent too fast.
    pub limited: AtomicU64,
    /// Bytes taken of nodes.
    pub bytes: AtomicU64,
    /// Packets passed on.
    pub packets: AtomicU64,
    /// Packets that nobody was there for.
    pub dropped: AtomicU64,
    /// Connections to the discovery port.
    pub discoveries: AtomicU64,
}

impl RelayMetrics {
    fn render(&self, out: &mut String) {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, kind, help, value) in [
            ("nodes", "gauge", "Nodes at the relay.", self.nodes.load(Ordering::Relaxed) as u64),
            ("connections_total", "counter", "Connections let into the relay.", get(&self.connections)),
            ("refused_total", "counter", "Connections not let into the relay.", get(&self.refused)),
            ("limited_total", "counter", "Times that a node had to wait because it sent too fast.", get(&self.limited)),
            ("bytes_total", "counter", "Bytes of packets taken of nodes.", get(&self.bytes)),
            ("packets_total", "counter", "Packets passed on.", get(&self.packets)),
            ("dropped_total", "counter", "Packets for nodes that were not there.", get(&self.dropped)),
            ("discoveries_total", "counter", "Connections to the discovery port.", get(&self.discoveries)),
        ] {
            head(out, &format!("directoryd_relay_{name}"), kind, help);
            let _ = writeln!(out, "directoryd_relay_{name} {value}");
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Metrics {
    operations: [[AtomicU64; 3]; OPERATIONS],
    micros: [AtomicU64; OPERATIONS],
    transactions: AtomicU64,
    writes: AtomicU64,
    /// Of mailboxes.
    pub mailbox: MailboxMetrics,
    /// Of logs of groups.
    pub groups: GroupMetrics,
    /// Of the relay.
    pub relay: Arc<RelayMetrics>,
    /// TCP connections that are open.
    pub connections: AtomicUsize,
    /// Connections that were closed at once, because there were too many.
    pub connections_refused: AtomicU64,
    /// Connections that got no TLS.
    pub handshakes_failed: AtomicU64,
}

impl Metrics {
    /// Counts one operation.
    pub fn operation(&self, op: Op, outcome: Outcome, took: Duration) {
        self.operations[op as usize][outcome as usize].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros[op as usize].fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a committed transaction and the commands in it.
    pub fn committed(&self, commands: usize) {
        self.transactions.fetch_add(1, Ordering::Relaxed);
        self.writes.fetch_add(commands as u64, Ordering::Relaxed);
    }

    /// The text, with the gauges that others keep; `certificate_ends`: when the operator's does, in Unix seconds.
    pub fn render(&self, accounts: usize, sessions: usize, certificate_ends: Option<i64>) -> String {
        let mut out = String::with_capacity(4_096);
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        head(&mut out, "directoryd_operations_total", "counter", "Operations by outcome.");
        for (op, name) in Op::ALL {
            for (outcome, count) in OUTCOMES.iter().zip(&self.operations[op as usize]) {
                let count = get(count);
                let _ =
                    writeln!(out, "directoryd_operations_total{{operation=\"{name}\",outcome=\"{outcome}\"}} {count}");
            }
        }
        head(&mut out, "directoryd_operation_seconds_total", "counter", "Time spent in operations.");
        for (op, name) in Op::ALL {
            let seconds = Duration::from_micros(get(&self.micros[op as usize])).as_secs_f64();
            let _ = writeln!(out, "directoryd_operation_seconds_total{{operation=\"{name}\"}} {seconds}");
        }
        for (name, kind, help, value) in [
            ("directoryd_accounts", "gauge", "Registered accounts.", accounts as u64),
            ("directoryd_sessions", "gauge", "Open sessions.", sessions as u64),
            (
                "directoryd_connections",
                "gauge",
                "Open TCP connections.",
                self.connections.load(Ordering::Relaxed) as u64,
            ),
            (
                "directoryd_connections_refused_total",
                "counter",
                "Connections closed at once because there were too many.",
                get(&self.connections_refused),
            ),
            (
                "directoryd_handshakes_failed_total",
                "counter",
                "Connections that got no TLS.",
                get(&self.handshakes_failed),
            ),
            ("directoryd_transactions_total", "counter", "Committed transactions.", get(&self.transactions)),
            ("directoryd_writes_total", "counter", "Commands within committed transactions.", get(&self.writes)),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        if let Some(ends) = certificate_ends {
            let name = "directoryd_certificate_ends_timestamp_seconds";
            head(&mut out, name, "gauge", "When the certificate that is shown ends.");
            let _ = writeln!(out, "{name} {ends}");
        }
        self.mailbox.render(&mut out);
        self.groups.render(&mut out);
        self.relay.render(&mut out);
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_belong_to_their_operations() {
        for (index, (op, name)) in Op::ALL.iter().enumerate() {
            assert_eq!((*op as usize, op.name()), (index, *name));
        }
        let metrics = Metrics::default();
        metrics.operation(Op::Users, Outcome::Refused, Duration::from_micros(5));
        let text = metrics.render(3, 2, None);
        assert!(text.contains("directoryd_operations_total{operation=\"users\",outcome=\"refused\"} 1\n"));
        assert!(text.contains("directoryd_accounts 3\n"));
    }
}
