//! Real text: this repository's own sources and documents, and hostile strings, piped through `chatctl`.

use tests::Pair;
use tests::binaries::repository;
use tests::wait::wait_for;

use crate::util::{bodies, follow, status, text};

/// Lines of the repository that are sent: enough to fill many envelopes, few enough for a debug build.
const LINES: usize = 6_000;

/// Lines of the repository's own files.
fn own_lines() -> Vec<String> {
    fn walk(folder: &std::path::Path, lines: &mut Vec<String>) {
        let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, lines);
            } else if [".rs", ".md", ".toml"].iter().any(|ending| name.ends_with(ending)) {
                let text = std::fs::read_to_string(&path).unwrap();
                lines.extend(text.split('\n').map(str::to_owned));
            }
        }
    }
    let mut lines = Vec::new();
    walk(&repository(), &mut lines);
    assert!(lines.len() > 3_000, "only {} lines found", lines.len());
    lines.truncate(LINES);
    lines
}

#[test]
fn own_sources_and_hostile_strings_arrive_whole_in_order_once() {
    let pair = Pair::start();
    let mut lines = own_lines();
    let middle = lines.len() / 2;
    lines.splice(middle..middle, tests::hostile::lines());
    lines.push("the end".into());
    let mut watch = follow(&pair.bob, &["--type", "message.received"]);

    let output = pair.alice.run_with(["send", "bob", "--stdin-lines"], (lines.join("\n") + "\n").as_bytes());
    output.expect_code(0);
    // A CRLF ends a line, too, and a blank line is no message.
    let ended = lines.iter().map(|line| line.strip_suffix('\r').unwrap_or(line));
    let lines: Vec<String> = ended.filter(|line| !line.is_empty()).map(str::to_owned).collect();
    for (number, line) in lines.iter().enumerate() {
        let event = watch.next_json();
        assert_eq!(text(&event["message"]["body"]), line, "line {number} in the live feed");
    }
    assert_eq!(bodies(&pair.bob, "alice", 1_000_000), lines, "as bob has it");
    assert_eq!(bodies(&pair.alice, "bob", 1_000_000), lines, "as alice has it");
    wait_for("everything is acknowledged", || status(&pair.alice)["queued"] == 0);
    assert_eq!(pair.bob.json(["unread"])["total"], lines.len());
}
