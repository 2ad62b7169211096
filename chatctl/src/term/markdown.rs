//! Messages of format `markdown`, as lines of spans: `**bold**`, `*italic*`, `` `code` `` and `[text](url)`.
//!
//! The only styles in the result are the ones made here. A link is shown as `text (url)`: nobody is led to another place than
//! the one written, and nothing is opened. The marks of emphasis are spans of their own, for those who cannot draw what
//! they mean. Time is linear in the text's length.

use super::span::{Line, Span, Style, Tone};

/// Emphasis within emphasis at most.
const MAX_DEPTH: usize = 3;

/// The lines of a body.
pub fn lines(body: &str) -> Vec<Line> {
    body.split('\n').map(|line| inline(line, Style::default(), MAX_DEPTH).into_iter().collect()).collect()
}

/// What is in one line, or in emphasised text of one.
fn inline(text: &str, style: Style, depth: usize) -> Vec<Span> {
    let mut out = Vec::new();
    // A mark that is not closed further on is not closed for any later opening either: looking for it again would make
    // the time quadratic.
    let (mut code, mut bold, mut italic, mut link) = (true, true, true, true);
    let (mut rest, mut plain) = (text, String::new());
    while let Some(at) = rest.find(['`', '*', '[']) {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let found = match rest.as_bytes()[0] {
            b'`' => span(rest, "`", &mut code).map(|inner| (inner, "`", Style { tone: Tone::Code, ..style })),
            b'*' if rest.starts_with("**") => {
                span(rest, "**", &mut bold).map(|inner| (inner, "**", Style { bold: true, ..style }))
            }
            b'*' => span(rest, "*", &mut italic).map(|inner| (inner, "*", Style { italic: true, ..style })),
            _ => {
                let consumed = hyperlink(rest, &mut link, &mut plain);
                if consumed > 0 {
                    rest = &rest[consumed..];
                    continue;
                }
                None
            }
        };
        let Some((inner, mark, styled)) = found else {
            let step = if rest.starts_with("**") { 2 } else { 1 };
            plain.push_str(&rest[..step]);
            rest = &rest[step..];
            continue;
        };
        rest = &rest[inner.len() + 2 * mark.len()..];
        out.push(Span::body(std::mem::take(&mut plain), style));
        out.push(Span::mark(mark, styled));
        if mark == "`" || depth == 0 {
            out.push(Span::body(inner, styled));
        } else {
            out.extend(inline(inner, styled, depth - 1));
        }
        out.push(Span::mark(mark, styled));
    }
    plain.push_str(rest);
    out.push(Span::body(plain, style));
    out.retain(|span| !span.text.is_empty());
    out
}

/// The text at the beginning of `rest` within a closed, non-empty pair of marks that hugs it.
fn span<'a>(rest: &'a str, with: &str, possible: &mut bool) -> Option<&'a str> {
    let inside = &rest[with.len()..];
    if !*possible || inside.starts_with([' ', '\t', '\n']) {
        return None;
    }
    match inside.find(with) {
        None => {
            *possible = false;
            None
        }
        // `2 * 3 * 4` is no emphasis.
        Some(end) if end == 0 || inside[..end].ends_with([' ', '\t']) => None,
        Some(end) => Some(&inside[..end]),
    }
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
    use super::super::escape;
    use super::super::render::{self, Surface};
    use super::*;
    use proptest::prelude::*;

    fn render(body: &str, styles: bool) -> String {
        render::text(&lines(body), Surface { columns: None, styles })
    }

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
