//! Who is meant, without saying who: names, ids and keys in lines above DEBUG become pseudonyms.
//!
//! The same value has the same pseudonym as long as the process lives, so that lines can be told together; a line at DEBUG
//! or below shows both, which is how an operator who must know finds out.
//!
//! Not the job: texts of people, which are never logged.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

/// Digits from which on a run of hexadecimal ones is an id or a key.
const HEX_DIGITS: usize = 32;

/// Which fields hold names, ids or keys. Empty: nothing is veiled, ids in texts included.
pub type Private = &'static [&'static str];

/// Fields that name a place on the operator's own disk: without it nobody can look there.
const PLACES: [&str; 5] = ["path", "database", "folder", "data_dir", "socket"];

/// `#1a2b3c4d`: of one process, so that nobody finds out by trying names.
fn pseudonym(value: &str) -> String {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    format!("#{:08x}", KEY.hash_one(value) >> 32)
}

/// A value as a line may show it; `loud`: above DEBUG.
pub(super) fn value(private: Private, field: &str, value: String, loud: bool) -> String {
    if private.is_empty() || PLACES.contains(&field) {
        return value;
    }
    match (private.contains(&field) && !value.is_empty(), loud) {
        (true, true) => pseudonym(&value),
        (true, false) => format!("{value} {}", pseudonym(&value)),
        (false, true) => without_ids(value),
        (false, false) => value,
    }
}

/// A text with a pseudonym for each long run of hexadecimal digits.
fn without_ids(text: String) -> String {
    if text.len() < HEX_DIGITS {
        return text;
    }
    let (mut out, mut run) = (String::with_capacity(text.len()), String::new());
    for c in text.chars().chain(['\0']) {
        if c.is_ascii_hexdigit() {
            run.push(c);
            continue;
        }
        if run.len() < HEX_DIGITS {
            out.push_str(&run)
        } else {
            out.push_str(&pseudonym(&run))
        }
        run.clear();
        out.push(c);
    }
    out.pop();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_named_is_veiled_above_debug() {
        let shown = |field: &str, text: &str, loud| value(&["name", "account"], field, text.to_owned(), loud);
        let alice = shown("name", "alice", true);
        assert!(alice.starts_with('#') && alice.len() == 9 && !alice.contains("alice"), "{alice}");
        assert_eq!(alice, shown("account", "alice", true), "lines can be told together");
        assert_ne!(alice, shown("name", "bob", true));
        assert_eq!(shown("name", "alice", false), format!("alice {alice}"));
        let id = "0123456789abcdef".repeat(2);
        let text = format!("{id}: not found in {id}{id}, 5 of deadbeef");
        let veiled = shown("error", &text, true);
        assert!(!veiled.contains(&id) && veiled.ends_with(", 5 of deadbeef"), "{veiled}");
        assert_eq!(shown("error", &text, false), text);
        assert_eq!(shown("path", &id, true), id, "where to look is said");
        assert_eq!(value(&[], "name", "alice".into(), true), "alice");
    }
}
