//! Messages of format `markdown`, as text for a terminal: `**bold**`, `*italic*`, `` `code` `` and `[text](url)`.
//!
//! The text is neutralised first and styled afterwards, so the only sequences in the result are the ones made here. A link
//! is shown as `text (url)`: nobody is led to another place than the one written, and nothing is opened. Without colour
//! the marks of emphasis stay as typed. Time is linear in the text's length.

use crate::term::escape::{self, Place};
use crate::term::style::{self, BOLD, CYAN, ITALIC};

/// Emphasis within emphasis at most.
const MAX_DEPTH: usize = 3;

/// The body as it is shown.
pub fn render(body: &str, colour: bool) -> String {
    let body = escape::neutralise(body, Place::Body);
    let mut out = String::with_capacity(body.len() + 32);
    for line in body.split_inclusive('\n') {
        inline(line, colour, MAX_DEPTH, &mut out);
    }
    out
}

fn inline(text: &str, colour: bool, depth: usize, out: &mut String) {
    // A mark that is not closed further on is not closed for any later opening either: looking for it again would make
    // the time quadratic.
    let (mut code, mut bold, mut italic, mut link) = (true, true, true, true);
    let mut rest = text;
    while let Some(at) = rest.find(['`', '*', '[']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let consumed = match rest.as_bytes()[0] {
            b'`' => span(rest, "`", &mut code, out, |inner, out| mark(inner, "`", CYAN, colour, out)),
            b'*' if rest.starts_with("**") => span(rest, "**", &mut bold, out, |inner, out| {
                nested(inner, "**", BOLD, colour, depth, out);
            }),
            b'*' => span(rest, "*", &mut italic, out, |inner, out| nested(inner, "*", ITALIC, colour, depth, out)),
            _ => hyperlink(rest, &mut link, out),
        };
        if consumed == 0 {
            let step = if rest.starts_with("**") { 2 } else { 1 };
            out.push_str(&rest[..step]);
            rest = &rest[step..];
        } else {
            rest = &rest[consumed..];
        }
    }
    out.push_str(rest);
}

/// Handles `rest` if it begins with a closed, non-empty pair of marks that hugs its text; how many bytes that took.
fn span(rest: &str, with: &str, possible: &mut bool, out: &mut String, put: impl FnOnce(&str, &mut String)) -> usize {
    let inside = &rest[with.len()..];
    if !*possible || inside.starts_with([' ', '\t', '\n']) {
        return 0;
    }
    match inside.find(with) {
        None => {
            *possible = false;
            0
        }
        // `2 * 3 * 4` is no emphasis.
        Some(end) if end == 0 || inside[..end].ends_with([' ', '\t']) => 0,
        Some(end) => {
            put(&inside[..end], out);
            end + 2 * with.len()
        }
    }
}

fn mark(inner: &str, with: &str, code: u8, colour: bool, out: &mut String) {
    if colour {
        out.push_str(&style::paint(inner, code, true));
    } else {
        out.push_str(with);
        out.push_str(inner);
        out.push_str(with);
    }
}

fn nested(inner: &str, with: &str, code: u8, colour: bool, depth: usize, out: &mut String) {
    if depth == 0 {
        return mark(inner, with, code, colour, out);
    }
    let mut text = String::with_capacity(inner.len());
    inline(inner, colour, depth - 1, &mut text);
    if colour {
        // An inner style ends with a reset, which would end this one too.
        text = text.replace("\x1b[0m", &format!("\x1b[0m\x1b[{code}m"));
    }
    mark(&text, with, code, colour, out);
}

/// Handles `[text](url)`.
fn hyperlink(rest: &str, possible: &mut bool, out: &mut String) -> usize {
    if !*possible {
        return 0;
    }
    let found = rest.find("](").and_then(|middle| Some((middle, rest[middle..].find(')')? + middle)));
    let Some((middle, end)) = found else {
        *possible = false;
        return 0;
    };
    let (text, url) = (&rest[1..middle], &rest[middle + 2..end]);
    if text.is_empty() || text == url {
        out.push_str(url);
    } else {
        out.push_str(text);
        out.push_str(" (");
        out.push_str(url);
        out.push(')');
    }
    end + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn with_colour() {
        let cases = [
            ("a **b** c", "a \x1b[1mb\x1b[0m c"),
            ("*b*", "\x1b[3mb\x1b[0m"),
            ("`a * b * c`", "\x1b[36ma * b * c\x1b[0m"),
            ("**a *b* c**", "\x1b[1ma \x1b[3mb\x1b[0m\x1b[1m c\x1b[0m"),
            ("2 * 3 * 4", "2 * 3 * 4"),
            ("** not bold", "** not bold"),
            ("**open", "**open"),
            ("*line\nbreak*", "*line\nbreak*"),
            ("see [the page](https://example.org/a) now", "see the page (https://example.org/a) now"),
            ("[https://example.org](https://example.org)", "https://example.org"),
            ("[no link]", "[no link]"),
            ("**\x1b[31mred**", "\x1b[1m\\u{1b}[31mred\x1b[0m"),
        ];
        for (body, shown) in cases {
            assert_eq!(render(body, true), shown, "{body:?}");
        }
    }

    #[test]
    fn without_colour_the_marks_stay() {
        assert_eq!(render("**b** *i* `c` [t](u)", false), "**b** *i* `c` t (u)");
    }

    #[test]
    fn long_lines_of_open_marks_take_linear_time() {
        for mark in ["[", "*", "**a", "`", "[](", "*a ", "**a *b `c ["] {
            let body = mark.repeat(61_440 / mark.len());
            assert!(render(&body, true).len() >= body.len() / 2);
        }
    }

    proptest! {
        #[test]
        fn only_our_own_styles_come_out(body in "[ab*`\\[\\]() \n\x1b\u{9b}\u{202e}]{0,40}") {
            let styled = render(&body, true);
            let ours = ["\x1b[0m", "\x1b[1m", "\x1b[3m", "\x1b[36m"].iter().fold(styled, |t, code| t.replace(code, ""));
            prop_assert!(!ours.chars().any(|c| c != '\n' && escape::acts(c)), "{:?}", ours);
            prop_assert!(!render(&body, false).chars().any(|c| c != '\n' && escape::acts(c)));
        }
    }
}
