//! Text of other people on its way to a terminal. Written apart from the code under test: of control characters only
//! newline and tab pass, and only in a body; nothing that reorders text passes; JSON says the same to a parser.
#![no_main]

use chatctl::term::escape::{Place, escape_json, neutralise};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    for place in [Place::Body, Place::Line] {
        let shown = neutralise(&text, place);
        for c in shown.chars() {
            let layout = place == Place::Body && (c == '\n' || c == '\t');
            assert!(layout || !(c.is_control() || reorders(c)), "{c:?} passed");
        }
        assert_eq!(neutralise(&shown, place), shown, "twice is once");
    }
    let json = serde_json::to_string(&*text).expect("text is JSON");
    let escaped = escape_json(&json);
    assert!(!escaped.chars().any(|c| c.is_control() || reorders(c)), "{escaped:?}");
    assert_eq!(serde_json::from_str::<String>(&escaped).expect("still JSON"), text);
});

/// The explicit directional formatting characters of Unicode TR 9, and the separators that end a line.
fn reorders(c: char) -> bool {
    matches!(c as u32, 0x61c | 0x200e..=0x200f | 0x2028..=0x202e | 0x2066..=0x2069)
}
