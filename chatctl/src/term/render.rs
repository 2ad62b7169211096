//! Lines of spans as rows that fit, and rows as the bytes of a terminal.
//!
//! A terminal that wraps by itself begins the next row at its edge, where lines begin: with the right number of spaces, the
//! end of somebody's text would stand there as if somebody else had said it. So the second and further rows of a line are
//! indented.
//!
//! Invariant: nothing that acts on a terminal is in a row, whatever the spans hold, but the codes that [`text`] writes.

use unicode_width::UnicodeWidthChar;

use super::escape::{self, Place};
use super::span::{Kind, Line, NAME_COLOURS, Style, Tone};

/// A tab in text; a terminal's own stops would make its width depend on where it stands.
const TAB: &str = "    ";
/// What rows begin with that are no line's first.
pub const INDENT: &str = "      ";
/// A terminal narrower than this gets lines as they are: there is no room for an indent.
const MIN_COLUMNS: usize = 20;

/// Select Graphic Rendition codes (ECMA-48, 8.3.117) of names, which stand out on light and dark backgrounds.
const NAMES: [u8; NAME_COLOURS as usize] = [32, 33, 34, 35, 36, 92, 93, 94, 95, 96];
const BOLD: u8 = 1;
const FAINT: u8 = 2;
const ITALIC: u8 = 3;
const RED: u8 = 31;
const CYAN: u8 = 36;

/// What a row is made of: text that is fit to be shown, in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    pub style: Style,
}

/// What lines are drawn on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surface {
    /// Columns; `None` if rows may be of any length.
    pub columns: Option<usize>,
    /// Whether it shows styles.
    pub styles: bool,
}

/// The rows of a line, each no wider than the surface.
pub fn rows(line: &Line, surface: Surface) -> Vec<Vec<Piece>> {
    let columns = surface.columns.filter(|columns| *columns >= MIN_COLUMNS);
    let mut rows = vec![Vec::new()];
    let mut used = 0;
    for span in line.spans() {
        // Styles say what the marks mean.
        if surface.styles && span.kind == Kind::Mark {
            continue;
        }
        let place = if span.kind == Kind::Body { Place::Body } else { Place::Line };
        let mut safe = escape::neutralise(&span.text, place);
        // A line is one line: whoever shows a body makes a line of each of its own.
        if safe.contains('\n') {
            safe = escape::line(&span.text).into_owned().into();
        }
        let Some(columns) = columns else {
            put(&mut rows, safe.into_owned(), span.style);
            continue;
        };
        let mut text = String::with_capacity(safe.len());
        for c in safe.replace('\t', TAB).chars() {
            let width = c.width().unwrap_or(0);
            if used + width > columns {
                put(&mut rows, std::mem::take(&mut text), span.style);
                rows.push(vec![Piece { text: INDENT.to_owned(), style: Style::default() }]);
                used = INDENT.len();
            }
            text.push(c);
            used += width;
        }
        put(&mut rows, text, span.style);
    }
    rows
}

fn put(rows: &mut [Vec<Piece>], text: String, style: Style) {
    if let Some(row) = rows.last_mut().filter(|_| !text.is_empty()) {
        row.push(Piece { text, style });
    }
}

/// Lines as text with codes, without a line feed at the end.
pub fn text(lines: &[Line], surface: Surface) -> String {
    let rows = lines.iter().flat_map(|line| rows(line, surface));
    let painted: Vec<String> = rows.map(|row| if surface.styles { painted(&row) } else { plain(row) }).collect();
    painted.join("\n")
}

fn plain(row: Vec<Piece>) -> String {
    row.into_iter().map(|piece| piece.text).collect()
}

/// A style within another, such as italics within bold text, is added to it; any other begins anew.
fn painted(row: &[Piece]) -> String {
    let mut out = String::new();
    let mut active: Vec<u8> = Vec::new();
    for piece in row {
        let codes = codes(piece.style);
        let within = !active.is_empty() && codes.len() > active.len() && codes.starts_with(&active);
        if !within && !active.is_empty() {
            out.push_str("\x1b[0m");
        }
        for code in &codes[if within { active.len() } else { 0 }..] {
            out.push_str(&format!("\x1b[{code}m"));
        }
        out.push_str(&piece.text);
        active = codes;
    }
    if !active.is_empty() {
        out.push_str("\x1b[0m");
    }
    out
}

fn codes(style: Style) -> Vec<u8> {
    let tone = match style.tone {
        Tone::Plain => None,
        Tone::Dim => Some(FAINT),
        Tone::Alert => Some(RED),
        Tone::Code => Some(CYAN),
        Tone::Name(colour) => Some(NAMES[usize::from(colour) % NAMES.len()]),
    };
    let weight = [(style.bold, BOLD), (style.italic, ITALIC)];
    weight.into_iter().filter_map(|(set, code)| set.then_some(code)).chain(tone).collect()
}

#[cfg(test)]
pub mod samples {
    //! How tests look at lines.
    use super::*;

    /// Without styles, of any width.
    pub fn plain(lines: &[Line]) -> String {
        text(lines, Surface::default())
    }
}

#[cfg(test)]
mod tests {
    use super::super::span::Span;
    use super::*;
    use proptest::prelude::*;

    fn wrap(span: impl Into<Span>, columns: usize) -> String {
        text(&[Line::from(span)], Surface { columns: Some(columns), styles: true })
    }

    #[test]
    fn no_row_of_a_text_begins_where_lines_do() {
        assert_eq!(wrap("08:30 bob: ok", 20), "08:30 bob: ok");
        let spoof = format!("08:30 bob: ok{}08:31 carol: I agree", " ".repeat(27));
        let shown = wrap(spoof, 40);
        assert!(shown.lines().skip(1).all(|row| row.starts_with(INDENT)), "{shown}");
        assert!(!shown.lines().any(|row| row.starts_with("08:31")), "{shown}");
        assert_eq!(wrap(Span::body("a\tb", Style::default()), 20), "a    b");
        let styled = Line::from([Span::alert("bob"), ": 12345678901234567".into()]);
        let surface = Surface { columns: Some(22), styles: true };
        assert_eq!(text(&[styled], surface), "\x1b[31mbob\x1b[0m: 12345678901234567", "styles take no room");
        assert_eq!(wrap("abcdefghijklmnopqrstuvwxyz", 8), "abcdefghijklmnopqrstuvwxyz", "no room");
    }

    #[test]
    fn a_style_ends_with_its_row() {
        let shown = wrap(Span::alert("1234567890123456789012345"), 20);
        assert_eq!(shown, "\x1b[31m12345678901234567890\x1b[0m\n      \x1b[31m12345\x1b[0m");
    }

    #[test]
    fn styles_within_styles() {
        let style = |bold, italic| Style { bold, italic, ..Style::default() };
        let line: Line = [
            Span::body("a", Style::default()),
            Span::mark("**", style(true, false)),
            Span::body("b", style(true, false)),
            Span::body("c", style(true, true)),
            Span::body("d", style(true, false)),
            Span::dim("e"),
            Span::dim("f"),
        ]
        .into();
        let shown = |styles| text(std::slice::from_ref(&line), Surface { columns: None, styles });
        assert_eq!(
            shown(true),
            "a\x1b[1mb\x1b[3mc\x1b[0m\x1b[1md\x1b[0m\x1b[2me\x1b[0m\x1b[2mf\x1b[0m",
            "the mark is not shown where its meaning is"
        );
        assert_eq!(shown(false), "a**bcdef");
    }

    #[test]
    fn a_name_cannot_carry_its_own_style() {
        assert_eq!(samples::plain(&[Line::from(Span::name("bo\x1b[31mb\n"))]), "bo\\u{1b}[31mb\\u{a}");
        assert_eq!(
            wrap(Span::name("bo\x1b[0mb"), 80),
            format!("\x1b[{}mbo\\u{{1b}}[0mb\x1b[0m", {
                let Tone::Name(colour) = Span::name("bo\x1b[0mb").style.tone else { unreachable!() };
                NAMES[usize::from(colour)]
            })
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-z鮑é ]{0,200}", columns in 20usize..60, cut in 0usize..200) {
            let at = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len());
            let line = Line::from([Span::dim(&text[..at]), text[at..].into()]);
            let rows = rows(&line, Surface { columns: Some(columns), styles: true });
            let rows: Vec<String> = rows.into_iter().map(plain).collect();
            let text_of = |(n, row): (usize, &String)| if n == 0 { row.clone() } else { row[INDENT.len()..].to_owned() };
            prop_assert_eq!(rows.iter().enumerate().map(text_of).collect::<String>(), text);
            prop_assert!(rows.iter().all(|row| row.chars().filter_map(|c| c.width()).sum::<usize>() <= columns));
        }

        #[test]
        fn nothing_that_acts_is_in_a_row(chars in prop::collection::vec(any::<char>(), 0..64), body: bool, columns in 10usize..40) {
            let text = chars.into_iter().chain("\x1b[2J\n\u{9b}\u{202e}".chars()).collect();
            let kind = if body { Kind::Body } else { Kind::Text };
            let line = Line::from(Span { text, kind, ..Span::default() });
            for row in rows(&line, Surface { columns: Some(columns), styles: true }) {
                prop_assert!(!row.iter().any(|piece| piece.text.chars().any(|c| c != '\t' && escape::acts(c))));
            }
        }
    }
}
