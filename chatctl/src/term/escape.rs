//! Text of other people, made harmless for a terminal.
//!
//! A terminal obeys what it is shown: an escape sequence in a message could retitle the window, rewrite what stands
//! above, or answer as if the user had typed; a bidi control could make a name read as another. Such characters are
//! shown as visible escapes, `\u{1b}`. The job is done on the way out; what is stored stays as it came.
//!
//! Invariants (property tests below): no character of the forbidden set is left, everything else is untouched, and doing
//! it twice changes nothing.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Where a text will stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A message's body: newline and tab pass.
    Body,
    /// Inside of one line (names, labels, tags, errors): they do not.
    Line,
}

/// Whether a character can act on a terminal or on the order in which text is read: C0, DEL and C1 controls (ESC, CSI and
/// OSC among them), bidi controls (Unicode TR 9), line and paragraph separators, interlinear annotation, tag characters.
pub fn acts(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}'
        | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        | '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a character takes no room and means nothing to a reader of one line: zero-width space and its like, fillers. Joiners
/// (U+200C, U+200D) have meaning in many scripts.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}')
}

fn forbidden(c: char, place: Place) -> bool {
    match place {
        Place::Body => acts(c) && !matches!(c, '\n' | '\t'),
        Place::Line => acts(c) || invisible(c),
    }
}

/// Marks that stand on one another at most; the most that a language writes is less than half of it, and thousands would
/// cover the lines around.
const MAX_MARKS: usize = 16;
/// Characters that a line of somebody else's words has at most where it is a part of ours.
const MAX_FOREIGN: usize = 1_000;

/// The text without the marks beyond [`MAX_MARKS`] in a row; `…` stands for them.
fn bounded(text: &str) -> Cow<'_, str> {
    let mark = |c: char| c > '\u{2ff}' && unicode_width::UnicodeWidthChar::width(c) == Some(0);
    let mut run = 0;
    let too_many = |c: char| {
        run = if mark(c) { run + 1 } else { 0 };
        run > MAX_MARKS
    };
    if !text.chars().any(too_many) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut run) = (String::new(), 0);
    for c in text.chars() {
        run = if mark(c) { run + 1 } else { 0 };
        match run {
            0..=MAX_MARKS => out.push(c),
            n if n == MAX_MARKS + 1 => out.push('…'),
            _ => {}
        }
    }
    Cow::Owned(out)
}

/// Words of the daemon, or of somebody behind it, that become part of what this program says: one line of bounded length.
pub fn foreign(text: &str) -> String {
    let line = line(text);
    match line.char_indices().nth(MAX_FOREIGN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into_owned(),
    }
}

/// The text with every acting character shown as `\u{..}`.
pub fn neutralise(text: &str, place: Place) -> Cow<'_, str> {
    let text = bounded(text);
    let Some(first) = text.find(|c| forbidden(c, place)) else { return text };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    for c in text[first..].chars() {
        if forbidden(c, place) {
            // Writing to a String does not fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// One line of text: [`neutralise`] with [`Place::Line`].
pub fn line(text: &str) -> Cow<'_, str> {
    neutralise(text, Place::Line)
}

/// JSON text in which acting characters beyond those that JSON itself escapes are written as `\uXXXX`, so that a
/// terminal is safe from it and a parser reads the same strings.
pub fn escape_json(json: &str) -> Cow<'_, str> {
    if json.bytes().all(|b| b.is_ascii() && b != 0x7f) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        // Raw control characters below 0x20 cannot be in JSON text but as white space between tokens.
        if acts(c) && c >= '\x7f' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn table() {
        let cases = [
            ("hello, bob", "hello, bob"),
            ("two\nlines\tand a tab", "two\nlines\tand a tab"),
            ("\x1b[2J", "\\u{1b}[2J"),
            ("\x1b]0;title\x07", "\\u{1b}]0;title\\u{7}"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{9d}8;;http://x\u{9c}", "\\u{9d}8;;http://x\\u{9c}"),
            ("over\rwritten", "over\\u{d}written"),
            ("back\x08space\x7f", "back\\u{8}space\\u{7f}"),
            ("\u{202e}txt.exe", "\\u{202e}txt.exe"),
            ("\u{2066}a\u{2069}\u{200f}\u{61c}", "\\u{2066}a\\u{2069}\\u{200f}\\u{61c}"),
            ("a\u{2028}b\u{2029}c", "a\\u{2028}b\\u{2029}c"),
            ("\u{e0041}", "\\u{e0041}"),
            ("👩‍👩‍👧 שלום привет é", "👩‍👩‍👧 שלום привет é"),
            ("nul\0", "nul\\u{0}"),
        ];
        for (text, shown) in cases {
            assert_eq!(neutralise(text, Place::Body), shown, "{text:?}");
        }
        assert_eq!(line("bo\nb\t"), "bo\\u{a}b\\u{9}", "no newline or tab inside of a line");
        assert_eq!(line("bo\u{200b}b"), "bo\\u{200b}b", "what nobody sees is shown in a name");
        let pile = format!("e{}x", "\u{301}".repeat(20_000));
        assert_eq!(line(&pile), format!("e{}…x", "\u{301}".repeat(MAX_MARKS)));
        assert_eq!(foreign(&format!("no\n{}", "x".repeat(5_000))), format!("no\\u{{a}}{}…", "x".repeat(993)));
    }

    #[test]
    fn json_stays_the_same_to_a_parser() {
        let text = "\x1b \x7f \u{9b} \u{202e} \u{e0041} é 👩";
        let json = serde_json::to_string(text).unwrap();
        let escaped = escape_json(&json);
        assert_eq!(escaped, r#""\u001b \u007f \u009b \u202e \udb40\udc41 é 👩""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
    }

    /// Text in which the characters that matter are frequent.
    fn hostile() -> impl Strategy<Value = String> {
        let acting = prop::sample::select(vec![
            '\0',
            '\x07',
            '\x08',
            '\t',
            '\n',
            '\r',
            '\x1b',
            '\x7f',
            '\u{80}',
            '\u{9b}',
            '\u{9f}',
            '\u{61c}',
            '\u{200e}',
            '\u{202a}',
            '\u{202e}',
            '\u{2028}',
            '\u{2029}',
            '\u{2066}',
            '\u{2069}',
            '\u{e0000}',
            '\u{e007f}',
            '\\',
        ]);
        prop::collection::vec(prop_oneof![acting, any::<char>()], 0..64).prop_map(|chars| chars.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in hostile(), body: bool) {
            let place = if body { Place::Body } else { Place::Line };
            let shown = neutralise(&text, place).into_owned();
            prop_assert!(!shown.chars().any(|c| acts(c) && !(body && (c == '\n' || c == '\t'))));
            prop_assert_eq!(neutralise(&shown, place), shown.as_str(), "twice is once");
            if !text.chars().any(|c| forbidden(c, place)) && bounded(&text) == text {
                prop_assert_eq!(shown, text, "harmless text is untouched");
            }
        }

        #[test]
        fn json_is_safe_and_unchanged(text in hostile()) {
            let json = serde_json::to_string(&text).unwrap();
            let escaped = escape_json(&json).into_owned();
            prop_assert!(!escaped.chars().any(acts));
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
    }
}
