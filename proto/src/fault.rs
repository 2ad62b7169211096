//! Fail points: places where a test may end the process, or shift its clock. In release builds both do nothing.
//!
//! `CHATD_FAULT=name:n` ends the process as `kill -9` does when it comes to the fail point for the n-th time (several are
//! separated by commas). `CHATD_CLOCK_FILE=path` adds the seconds in that file, read again at each look, to the wall clock;
//! `CHATD_UPTIME_FILE=path` adds those in that one to the clocks that count how long a process has run.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

/// A fail point: before or after something that must not be lost.
pub fn point(name: &str) {
    if cfg!(debug_assertions) {
        static ARMED: OnceLock<Mutex<HashMap<String, u64>>> = OnceLock::new();
        let armed = ARMED.get_or_init(|| Mutex::new(parse(&std::env::var("CHATD_FAULT").unwrap_or_default())));
        let mut armed = armed.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = armed.get_mut(name) else { return };
        *left = left.saturating_sub(1);
        if *left == 0 {
            eprintln!("fail point {name}");
            std::process::abort();
        }
    }
}

fn parse(text: &str) -> HashMap<String, u64> {
    let one = |part: &str| {
        let (name, count) = part.rsplit_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    text.split(',').filter_map(one).collect()
}

/// Seconds that a test adds to the wall clock.
pub(crate) fn clock_shift() -> i64 {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    seconds_in(&PATH, "CHATD_CLOCK_FILE")
}

/// Seconds that a test adds to the time for which this process has run.
pub fn uptime_shift() -> u64 {
    static PATH: OnceLock<Option<PathBuf>> = OnceLock::new();
    seconds_in(&PATH, "CHATD_UPTIME_FILE").max(0).unsigned_abs()
}

/// Whether a test moves clocks: then they are looked at more often.
pub fn clocks_move() -> bool {
    let set = |name| std::env::var_os(name).is_some();
    cfg!(debug_assertions) && (set("CHATD_CLOCK_FILE") || set("CHATD_UPTIME_FILE"))
}

fn seconds_in(path: &OnceLock<Option<PathBuf>>, variable: &str) -> i64 {
    if cfg!(debug_assertions) {
        let path = path.get_or_init(|| std::env::var_os(variable).map(Into::into));
        let Some(path) = path else { return 0 };
        return std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    }
    0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fail_points_are_named_with_a_count() {
        let armed = parse("store.commit.before:3,ack.after:1,nonsense,bad:x");
        assert_eq!(armed.len(), 2);
        assert_eq!((armed["store.commit.before"], armed["ack.after"]), (3, 1));
    }
}
