//! "Did you mean ...?": the nearest known word to one that is unknown.

/// Longer words are no typing errors of each other that anyone wants to hear of; it also bounds the work.
const MAX_CHARS: usize = 64;

/// The candidate that takes the fewest insertions, deletions, replacements and swaps of neighbours to become `wanted`,
/// if these are few for its length (one, or a third of it); of equally near ones the first. Case does not count.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted: Vec<char> = wanted.to_lowercase().chars().take(MAX_CHARS + 1).collect();
    if wanted.is_empty() || wanted.len() > MAX_CHARS {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let other: Vec<char> = candidate.to_lowercase().chars().take(MAX_CHARS + 1).collect();
        let allowed = (wanted.len().max(other.len()) / 3).max(1);
        if other.len() > MAX_CHARS || wanted.len().abs_diff(other.len()) > allowed {
            continue;
        }
        let distance = distance(&wanted, &other);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let names = ["alice", "bob", "carol", "listen", "limits"];
        for (typed, expected) in [
            ("alcie", Some("alice")),
            ("alise", Some("alice")),
            ("Alice", Some("alice")),
            ("bobb", Some("bob")),
            ("bo", Some("bob")),
            ("lsiten", Some("listen")),
            ("limit", Some("limits")),
            ("x", None),
            ("", None),
            ("zebra", None),
        ] {
            assert_eq!(nearest(typed, names), expected, "{typed}");
        }
        let words = ["listen", "origin", "data_dir", "list"];
        for (typed, expected) in
            [("orgin", Some("origin")), ("listn", Some("listen")), ("data-dir", Some("data_dir")), ("tls", None)]
        {
            assert_eq!(nearest(typed, words), expected, "{typed}");
        }
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest(&"a".repeat(1_000_000), names), None);
        assert_eq!(nearest("bob", []), None);
    }

    #[test]
    fn distances() {
        for (a, b, expected) in
            [("", "", 0), ("abc", "", 3), ("ab", "ba", 1), ("kitten", "sitting", 3), ("ca", "abc", 3)]
        {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            assert_eq!(distance(&chars(a), &chars(b)), expected, "{a} {b}");
            assert_eq!(distance(&chars(b), &chars(a)), expected, "{b} {a}");
        }
    }
}
