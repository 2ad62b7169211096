//! Nodes that send rubbish again and again are left alone for a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::limits::Limits;

/// Failures are counted over this long.
const WINDOW: Duration = Duration::from_secs(60);
/// When the table is full, what has expired is looked for at most this often: the search costs time of its own.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Tolerate,
    /// Close the link.
    Drop,
}

#[derive(Debug)]
struct Entry {
    /// The failures within the window, oldest first; never more than the limit.
    failures: Vec<Instant>,
    banned_until: Option<Instant>,
}

impl Entry {
    fn is_over(&self, now: Instant) -> bool {
        self.banned_until.is_none_or(|until| until <= now)
            && self.failures.last().is_none_or(|last| now.saturating_duration_since(*last) >= WINDOW)
    }
}

/// Counts failures by key and bans. One task owns it.
///
/// Remembers a bounded number of keys; when all of them are in use, a key that is not among them is dropped at its first
/// failure, and not banned.
#[derive(Debug)]
pub struct FailureGate<K> {
    entries: HashMap<K, Entry>,
    per_minute: usize,
    ban: Duration,
    max_keys: usize,
    swept: Option<Instant>,
}

impl<K: Hash + Eq> FailureGate<K> {
    /// With the figures of the configuration.
    pub fn new(limits: &Limits) -> Self {
        Self {
            entries: HashMap::new(),
            per_minute: limits.failures_per_minute.get() as usize,
            ban: Duration::from_secs(limits.failure_ban_seconds.get().into()),
            max_keys: limits.limiter_keys.get() as usize,
            swept: None,
        }
    }

    /// Other figures from here on; what was counted stays.
    pub fn configure(&mut self, limits: &Limits) {
        self.per_minute = limits.failures_per_minute.get() as usize;
        self.ban = Duration::from_secs(limits.failure_ban_seconds.get().into());
        self.max_keys = limits.limiter_keys.get() as usize;
    }

    /// Whether the key is banned now, and for how long still.
    pub fn banned(&self, key: &K, now: Instant) -> Option<Duration> {
        let until = self.entries.get(key)?.banned_until?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// Counts a failure.
    pub fn failed(&mut self, key: K, now: Instant) -> Verdict {
        if !self.entries.contains_key(&key) && !self.make_room(now) {
            return Verdict::Drop;
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry { failures: Vec::new(), banned_until: None });
        entry.failures.retain(|failure| now.saturating_duration_since(*failure) < WINDOW);
        entry.failures.push(now);
        if entry.failures.len() < self.per_minute {
            return Verdict::Tolerate;
        }
        entry.failures.clear();
        entry.banned_until = Some(now + self.ban);
        Verdict::Drop
    }

    /// Bans a key whatever it did before.
    pub fn ban(&mut self, key: K, now: Instant) {
        if self.entries.contains_key(&key) || self.make_room(now) {
            let until = Some(now + self.ban);
            self.entries.insert(key, Entry { failures: Vec::new(), banned_until: until });
        }
    }

    /// Forgets what has expired. For a housekeeping timer; it also happens when room is needed.
    pub fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.entries.retain(|_, entry| !entry.is_over(now));
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is remembered.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn make_room(&mut self, now: Instant) -> bool {
        if self.entries.len() < self.max_keys {
            return true;
        }
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= SWEEP_EVERY) {
            self.sweep(now);
        }
        self.entries.len() < self.max_keys
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> FailureGate<u64> {
        FailureGate::new(&Limits::default())
    }

    #[test]
    fn ten_failures_a_minute_ban_for_ten_minutes() {
        let (mut gate, start) = (gate(), Instant::now());
        for second in 0..9 {
            assert_eq!(gate.failed(1, start + Duration::from_secs(second)), Verdict::Tolerate);
        }
        let tenth = start + Duration::from_secs(59);
        assert_eq!(gate.banned(&1, tenth), None);
        assert_eq!(gate.failed(1, tenth), Verdict::Drop);
        assert_eq!(gate.banned(&1, tenth), Some(Duration::from_secs(600)));
        assert_eq!(gate.banned(&2, tenth), None, "others are not concerned");
        assert_eq!(gate.banned(&1, tenth + Duration::from_secs(599)), Some(Duration::from_secs(1)));
        let after = tenth + Duration::from_secs(600);
        assert_eq!(gate.banned(&1, after), None);
        assert_eq!(gate.failed(1, after), Verdict::Tolerate, "the count starts anew");
    }

    #[test]
    fn nine_a_minute_are_tolerated_for_ever() {
        let (mut gate, start) = (gate(), Instant::now());
        for failure in 0..1_000 {
            assert_eq!(gate.failed(1, start + Duration::from_millis(failure * 6_700)), Verdict::Tolerate);
        }
    }

    #[test]
    fn a_million_sources_leave_the_table_bounded() {
        let (mut gate, start) = (gate(), Instant::now());
        let cap = gate.max_keys;
        // `cargo xtask torture` asks for ten million.
        let sources = std::env::var("CHATD_TORTURE_SOURCES").ok().and_then(|text| text.parse().ok());
        let sources: u32 = sources.unwrap_or(1_000_000);
        let step = Duration::from_secs(10) / sources;
        for key in 0..sources {
            gate.failed(key.into(), start + step * key);
            assert!(gate.len() <= cap);
        }
        println!("figure: {sources} failing sources: {} keys kept", gate.len());
        assert_eq!(gate.len(), cap);
        // They expire, and room is made for others.
        let later = start + Duration::from_secs(100);
        assert_eq!(gate.failed(u64::MAX, later), Verdict::Tolerate);
        assert_eq!(gate.len(), 1);
        gate.sweep(later + WINDOW);
        assert!(gate.is_empty());
    }
}
