//! Counters for `GET /metrics`, in Prometheus' text format. Labels are of fixed sets: nobody outside can make new
//! series.

use std::fmt::Write;
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
    /// Everything else: the page, the description, health, metrics, and paths that do not exist
    Other,
}

impl Op {
    const ALL: [(Self, &str); 9] = [
        (Self::Nonce, "nonce"),
        (Self::Publish, "publish"),
        (Self::Unregister, "unregister"),
        (Self::Lookup, "lookup"),
        (Self::PublishReach, "publish_reach"),
        (Self::Reach, "reach"),
        (Self::Users, "users"),
        (Self::Session, "session"),
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

/// See the module.
#[derive(Debug, Default)]
pub struct Metrics {
    operations: [[AtomicU64; 3]; 9],
    micros: [AtomicU64; 9],
    transactions: AtomicU64,
    writes: AtomicU64,
    /// TCP connections that are open.
    pub connections: AtomicUsize,
    /// Connections that were closed at once, because there were too many.
    pub connections_refused: AtomicU64,
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

    /// The text, with the gauges that others keep.
    pub fn render(&self, accounts: usize, sessions: usize) -> String {
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
            ("directoryd_transactions_total", "counter", "Committed transactions.", get(&self.transactions)),
            ("directoryd_writes_total", "counter", "Commands within committed transactions.", get(&self.writes)),
        ] {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
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
        let text = metrics.render(3, 2);
        assert!(text.contains("directoryd_operations_total{operation=\"users\",outcome=\"refused\"} 1\n"));
        assert!(text.contains("directoryd_accounts 3\n"));
    }
}
