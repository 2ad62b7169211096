//! Colours, when they are on. Nothing depends on them: every text reads the same without.

use crate::term::escape;

/// Select Graphic Rendition codes (ECMA-48, 8.3.117) that stand out on light and dark backgrounds.
const NAME_COLOURS: [u8; 10] = [32, 33, 34, 35, 36, 92, 93, 94, 95, 96];
/// Faint.
pub const DIM: u8 = 2;
/// Bold.
pub const BOLD: u8 = 1;
/// Italic.
pub const ITALIC: u8 = 3;
/// Red, for what needs attention.
pub const RED: u8 = 31;
/// Cyan, for code.
pub const CYAN: u8 = 36;

/// The text in a style, if colours are on.
pub fn paint(text: &str, code: u8, colour: bool) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// A name of somebody, harmless and in the colour that is always that name's.
pub fn name(name: &str, colour: bool) -> String {
    // FNV-1a: stable across runs and machines, unlike the standard library's hasher.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let index = (hash % NAME_COLOURS.len() as u64) as usize;
    paint(&escape::line(name), NAME_COLOURS[index], colour)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(name("bob", true), name("bob", true));
        assert!(name("bob", true).starts_with("\x1b["));
        assert_eq!(name("bob", false), "bob");
        let colours: std::collections::HashSet<_> =
            (0..50).map(|n| name(&format!("user{n}"), true).split('m').next().map(str::to_owned)).collect();
        assert!(colours.len() > 5, "names differ in colour");
    }

    #[test]
    fn a_name_cannot_carry_its_own_style() {
        assert_eq!(name("bo\x1b[31mb\n", false), "bo\\u{1b}[31mb\\u{a}");
    }
}
