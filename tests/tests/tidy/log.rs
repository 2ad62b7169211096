//! Lines of the log that operators see: each has words that are the same each time, by which its id is known, and stands in
//! docs/log-events.md. `UPDATE_DOCS=1` writes that anew.

use std::collections::BTreeMap;
use std::fmt::Write;

use daemonkit::log::event::{COUNTED, DROPPED, id};
use tests::binaries::repository;
use tests::sources::sources;

use crate::{code, is_test_file};

const PAGE: &str = "docs/log-events.md";
const HEAD: &str = "# Lines of the log\n
Each line from `info` on has an id, `event=` in text and `event` in JSON, by which a program may look for it: it stays over restarts and
upgrades, and when a line's words change its id does not (`daemonkit/src/log/event.rs`). What differs from time to time stands in fields. Names
and keys in them are pseudonyms (docs/operating.md).

```sh
journalctl -u chatd -o cat | grep event=ID
```

Written by `UPDATE_DOCS=1 cargo test --workspace --test tidy`, out of the sources.

| id | level | program | words |
| --- | --- | --- | --- |
";

/// The arguments of a macro's call that begins here, up to its end.
fn arguments(text: &str) -> Vec<String> {
    let (mut out, mut depth, mut quoted, mut escaped) = (vec![String::new()], 0, false, false);
    for c in text.chars() {
        let last = out.len() - 1;
        if !quoted && depth == 0 && (c == ')' || c == ',') {
            if c == ')' {
                break;
            }
            out.push(String::new());
            continue;
        }
        out[last].push(c);
        match c {
            '"' if !escaped => quoted = !quoted,
            '(' | '[' | '{' if !quoted => depth += 1,
            ')' | ']' | '}' if !quoted => depth -= 1,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    out.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// The words of a string that may go on over a line's end.
fn words(literal: &str) -> String {
    let text = literal.trim_matches('"').replace("\\\"", "\"");
    let parts: Vec<&str> = text.split("\\\n").collect();
    parts.iter().enumerate().map(|(n, part)| if n == 0 { part } else { part.trim_start() }).collect()
}

/// Where, how grave, and what is said, of each line from INFO on.
fn lines() -> Vec<(String, &'static str, String)> {
    let mut found = Vec::new();
    for (name, text) in sources().filter(|(name, _)| !is_test_file(name)) {
        let Some(program) =
            ["chatd", "directoryd", "daemonkit"].iter().find(|own| name.starts_with(&format!("{own}/src/")))
        else {
            continue;
        };
        let code = code(&text);
        for level in ["info", "warn", "error"] {
            for (at, call) in code.match_indices(&format!("tracing::{level}!(")) {
                let arguments = arguments(&code[at + call.len()..]);
                let literal = arguments.iter().find(|argument| argument.starts_with('"'));
                let literal = literal.unwrap_or_else(|| panic!("{name}: a line without words: {arguments:?}"));
                assert!(!literal.contains('{'), "{name}: what differs belongs into a field: {literal}");
                found.push(((*program).to_owned(), level, words(literal)));
            }
        }
    }
    found.extend([DROPPED, COUNTED].map(|words| ("daemonkit".to_owned(), "warn", words.to_owned())));
    found
}

#[test]
fn every_line_of_the_log_has_an_id_that_stands_in_the_documents() {
    let mut known = BTreeMap::<String, (String, &str, String)>::new();
    for (program, level, words) in lines() {
        let id = id(&program, &words).unwrap();
        if let Some((other, _, said)) = known.get(&id) {
            assert_eq!((other, said), (&program, &words), "two lines have the id {id}");
        }
        known.insert(id, (program, level, words));
    }
    assert!(known.len() > 80, "{}", known.len());
    let mut rows: Vec<_> = known.into_iter().collect();
    rows.sort_by(|(_, a), (_, b)| (&a.0, &a.2).cmp(&(&b.0, &b.2)));
    let mut page = HEAD.to_owned();
    for (id, (program, level, words)) in rows {
        let _ = writeln!(page, "| `{id}` | {level} | {program} | {} |", words.replace('|', "\\|"));
    }
    let path = repository().join(PAGE);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stands = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stands == page, "{PAGE} is not what the sources say: UPDATE_DOCS=1 cargo test --workspace --test tidy");
}

#[test]
fn calls_are_taken_apart() {
    let call = r#"often = "a, b", error = f(x, ")"), %other, "said \"so\"" ); more("x")"#;
    assert_eq!(arguments(call), [r#"often = "a, b""#, r#"error = f(x, ")")"#, "%other", r#""said \"so\"""#]);
    assert_eq!(words("\"one \\\n   two\""), "one two");
}
