//! Lines in rows that fit a terminal, the second and further ones indented.
//!
//! A terminal that wraps by itself begins the next row at its edge, where lines begin: with the right number of spaces, the
//! end of somebody's text would stand there as if somebody else had said it.
//!
//! Not the job: deciding what is harmless. The text holds no control characters but line feeds, tabs and the styles of
//! [`crate::term::style`].

use unicode_width::UnicodeWidthChar;

/// A tab in text; a terminal's own stops would make its width depend on where it stands.
const TAB: &str = "    ";
/// What rows begin with that are no line's first.
pub const INDENT: &str = "      ";
/// A terminal narrower than this gets lines as they are: there is no room for an indent.
const MIN_COLUMNS: usize = 20;

/// The text for a terminal of so many columns.
pub fn wrap(text: &str, columns: usize) -> String {
    if columns < MIN_COLUMNS {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (n, line) in text.replace('\t', TAB).split('\n').enumerate() {
        if n > 0 {
            out.push('\n');
        }
        let (mut used, mut style) = (0, false);
        for c in line.chars() {
            let width = match c {
                '\x1b' => {
                    style = true;
                    0
                }
                _ if style => 0,
                c => c.width().unwrap_or(0),
            };
            if used + width > columns {
                out.push('\n');
                out.push_str(INDENT);
                used = INDENT.len();
            }
            style &= c != 'm';
            out.push(c);
            used += width;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_row_of_a_text_begins_where_lines_do() {
        assert_eq!(wrap("08:30 bob: ok", 20), "08:30 bob: ok");
        let spoof = format!("08:30 bob: ok{}08:31 carol: I agree", " ".repeat(27));
        let shown = wrap(&spoof, 40);
        assert!(shown.lines().skip(1).all(|row| row.starts_with(INDENT)), "{shown}");
        assert!(!shown.lines().any(|row| row.starts_with("08:31")), "{shown}");
        assert_eq!(wrap("a\tb", 20), "a    b");
        assert_eq!(
            wrap("\x1b[31mbob\x1b[0m: 12345678901234567", 22),
            "\x1b[31mbob\x1b[0m: 12345678901234567",
            "styles"
        );
        assert_eq!(wrap("abcdefghijklmnopqrstuvwxyz", 8), "abcdefghijklmnopqrstuvwxyz", "no room");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-z鮑é ]{0,200}", columns in 20usize..60) {
            let shown = wrap(&text, columns);
            let rows: Vec<&str> = shown.split('\n').collect();
            let text_of = |(n, row): (usize, &&str)| if n == 0 { (*row).to_owned() } else { row[INDENT.len()..].to_owned() };
            prop_assert_eq!(rows.iter().enumerate().map(text_of).collect::<String>(), text);
            prop_assert!(rows.iter().all(|row| row.chars().filter_map(|c| c.width()).sum::<usize>() <= columns));
        }
    }
}
