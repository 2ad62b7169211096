//! How much is done, and with which texts.

/// Bytes of a message's text.
pub const BODY_BYTES: usize = 100;

/// How much to do.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    quick: bool,
}

impl Scale {
    /// With `quick`, a part of everything.
    pub fn new(quick: bool) -> Self {
        Self { quick }
    }

    /// The full number, or a part of it with `--quick`.
    pub fn of(self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// The text of message `number`: exactly [`BODY_BYTES`] of words that the full-text index has to take apart.
pub fn body(number: usize) -> String {
    let mut text = format!("{number:08} ");
    for word in
        ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "bob", "sleeps"].iter().cycle()
    {
        text.push_str(word);
        text.push(' ');
        if text.len() >= BODY_BYTES {
            break;
        }
    }
    text.truncate(BODY_BYTES);
    text
}
