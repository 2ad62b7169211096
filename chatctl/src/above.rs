//! A line shown above the one that is being typed.
//!
//! The kernel's line editor holds what was typed until Enter, and its echo stands where the cursor is. Nobody can ask for
//! it, but it need not be known either: room is made above it and the cursor goes back to where it was. Only controls of
//! ECMA-48 and the VT100 are used (IND, CUU, IL, DECSC, DECRC), which every terminal in use has.
//!
//! Not the job: deciding what is harmless. The text holds no control characters but line feeds, tabs and the styles of
//! [`crate::style`].

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

/// A tab in text; a terminal's own stops would make its width depend on where it stands.
const TAB: &str = "    ";

/// What shows `text` above the cursor's row of a terminal of this size. A text higher than the terminal comes out as lines
/// in place of what is typed, which stays with the kernel.
pub fn above(text: &str, columns: usize, rows: usize) -> String {
    let lines = wrap(text, columns.max(2));
    let height = lines.len();
    if height + 1 >= rows {
        return format!("\r\x1b[K{text}\n");
    }
    let mut out = "\x1bD".repeat(height);
    // Writing to a String does not fail.
    let _ = write!(out, "\x1b7\x1b[{height}A\r\x1b[{height}L{}\x1b8", lines.join("\r\n"));
    out
}

/// The text in rows that fit.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for line in text.replace('\t', TAB).split('\n') {
        let (mut row, mut used, mut style) = (String::new(), 0, false);
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
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            style &= c != 'm';
            row.push(c);
            used += width;
        }
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rows_fit_and_styles_have_no_width() {
        assert_eq!(wrap("hello", 5), ["hello"]);
        assert_eq!(wrap("hello, bob", 5), ["hello", ", bob"]);
        assert_eq!(wrap("\x1b[31mbob\x1b[0m: hi", 7), ["\x1b[31mbob\x1b[0m: hi"]);
        assert_eq!(wrap("鮑鮑鮑", 5), ["鮑鮑", "鮑"], "a wide character is not cut");
        assert_eq!(wrap("a\n\nb", 5), ["a", "", "b"]);
        assert_eq!(wrap("a\tb", 8), ["a    b"]);
    }

    #[test]
    fn the_cursor_goes_back_to_where_it_was() {
        assert_eq!(above("hi", 80, 24), "\x1bD\x1b7\x1b[1A\r\x1b[1Lhi\x1b8");
        assert_eq!(above("hi\nbob", 80, 24), "\x1bD\x1bD\x1b7\x1b[2A\r\x1b[2Lhi\r\nbob\x1b8");
        assert_eq!(above("a\nb\nc", 80, 4), "\r\x1b[Ka\nb\nc\n", "no room");
        assert!(above("hello", 0, 0).ends_with("hello\n"), "a terminal that does not tell its size");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(text in "[a-z鮑é \n]{0,80}", columns in 2usize..20) {
            let rows = wrap(&text, columns);
            prop_assert_eq!(rows.concat(), text.replace('\n', ""));
            prop_assert!(rows.iter().all(|row| row.chars().filter_map(|c| c.width()).sum::<usize>() <= columns));
        }
    }
}
