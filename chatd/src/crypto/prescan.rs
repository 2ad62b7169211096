//! A linear look at an age file before age sees it.
//!
//! age parses headers generously: 13 s of CPU for a hostile one of 64 KiB were measured, and a passphrase stanza costs
//! whatever its author asks for. This scan accepts only what a sender of suite 2 produces (a subset of age's grammar,
//! C2SP age "Header"): at most 4 KiB of header; exactly one `mlkem768x25519` stanza in its exact shape; at most one more
//! stanza, age's own grease; the MAC line; a payload.
//!
//! It decodes nothing and allocates nothing. The cursor only ever moves forward, so the time is linear in a header that
//! is itself bounded.

/// Bytes of a header at most, MAC line included. age's own stay under 1,850.
pub const MAX_HEADER_BYTES: usize = 4_096;
/// Arguments of a grease stanza at most; age makes up to 4.
pub const MAX_GREASE_ARGS: usize = 4;
/// Bytes of a grease stanza's decoded body at most; age makes up to 99.
pub const MAX_GREASE_BODY_BYTES: usize = 100;
/// Bytes of a payload at least: a nonce of 16 and a tag of 16.
const MIN_PAYLOAD_BYTES: usize = 32;
/// Characters of 32 bytes in base64 without padding.
const BASE64_32_BYTES: usize = 43;
/// Characters of the 1,120 bytes that a stanza of the suite has as its argument.
const BASE64_ENC: usize = 1_494;
/// Columns at which stanza bodies are wrapped.
const BODY_COLUMNS: usize = 64;

const VERSION_LINE: &[u8] = b"age-encryption.org/v1";
const TAG: &[u8] = b"mlkem768x25519";
const GREASE_SUFFIX: &[u8] = b"-grease";

/// Why a ciphertext is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PrescanError {
    /// The header does not end within [`MAX_HEADER_BYTES`].
    #[error("the header is longer than 4096 bytes")]
    HeaderTooLong,
    /// The bytes end inside of the header.
    #[error("the header is cut off")]
    Truncated,
    /// The first line is another one.
    #[error("this is no age v1 file")]
    NotAge,
    /// A stanza that no sender of this suite makes.
    #[error("stanza refused: {0}")]
    Stanza(&'static str),
    /// The MAC line is not one.
    #[error("the MAC line is malformed")]
    Mac,
    /// Less than a nonce and a tag follow the header.
    #[error("the payload is cut off")]
    Payload,
}

/// Checks the shape of an age file with one hybrid recipient.
///
/// Returns where the payload (16 bytes of nonce, then the sealed chunk) starts.
///
/// # Errors
/// Anything but the accepted shape; see the module.
pub fn prescan(file: &[u8]) -> Result<usize, PrescanError> {
    let mut lines = Lines { file, at: 0 };
    if lines.next()? != VERSION_LINE {
        return Err(PrescanError::NotAge);
    }
    let (mut recipient, mut grease) = (false, false);
    loop {
        let line = lines.next()?;
        if let Some(stanza) = line.strip_prefix(b"-> ") {
            let mut words = stanza.split(|byte| *byte == b' ');
            let tag = words.next().unwrap_or_default();
            if tag == TAG {
                if std::mem::replace(&mut recipient, true) {
                    return Err(PrescanError::Stanza("a second recipient"));
                }
                let enc = words.next().ok_or(PrescanError::Stanza("no encapsulated key"))?;
                if enc.len() != BASE64_ENC || !is_base64(enc) || words.next().is_some() {
                    return Err(PrescanError::Stanza("not one encapsulated key"));
                }
                if !is_base64_of_32_bytes(lines.next()?) {
                    return Err(PrescanError::Stanza("not a wrapped file key"));
                }
            } else if tag.ends_with(GREASE_SUFFIX) {
                if std::mem::replace(&mut grease, true) {
                    return Err(PrescanError::Stanza("a second grease stanza"));
                }
                check_grease(tag, words, &mut lines)?;
            } else {
                return Err(PrescanError::Stanza("an unknown type"));
            }
        } else if let Some(mac) = line.strip_prefix(b"--- ") {
            if !is_base64_of_32_bytes(mac) {
                return Err(PrescanError::Mac);
            }
            break;
        } else {
            return Err(PrescanError::Stanza("a line that starts none"));
        }
    }
    if !recipient {
        return Err(PrescanError::Stanza("no recipient"));
    }
    if file.len() - lines.at < MIN_PAYLOAD_BYTES { Err(PrescanError::Payload) } else { Ok(lines.at) }
}

fn check_grease<'a>(
    tag: &[u8],
    arguments: impl Iterator<Item = &'a [u8]>,
    lines: &mut Lines<'_>,
) -> Result<(), PrescanError> {
    let printable = |word: &[u8]| !word.is_empty() && word.iter().all(|byte| (33..=126).contains(byte));
    if !printable(tag) {
        return Err(PrescanError::Stanza("a tag that is not printable"));
    }
    for (index, argument) in arguments.enumerate() {
        if index >= MAX_GREASE_ARGS {
            return Err(PrescanError::Stanza("too many arguments"));
        }
        if !printable(argument) {
            return Err(PrescanError::Stanza("an argument that is not printable"));
        }
    }
    let mut characters = 0;
    loop {
        let line = lines.next()?;
        characters += line.len();
        if !is_base64(line) || line.len() > BODY_COLUMNS || characters * 3 / 4 > MAX_GREASE_BODY_BYTES {
            return Err(PrescanError::Stanza("a body that is not canonical, or too long"));
        }
        // The last line of a body is short, empty if need be.
        if line.len() < BODY_COLUMNS {
            return Ok(());
        }
    }
}

/// Lines of the header. A carriage return is a byte like any other and fits none of the shapes.
struct Lines<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Lines<'a> {
    fn next(&mut self) -> Result<&'a [u8], PrescanError> {
        let end = self.file.len().min(MAX_HEADER_BYTES);
        let rest = self.file.get(self.at..end).unwrap_or_default();
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(length) => {
                self.at += length + 1;
                Ok(&rest[..length])
            }
            None if self.file.len() > MAX_HEADER_BYTES => Err(PrescanError::HeaderTooLong),
            None => Err(PrescanError::Truncated),
        }
    }
}

fn base64_value(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Whether this is base64 without padding whose unused last bits are zero.
fn is_base64(text: &[u8]) -> bool {
    if !text.iter().all(|byte| base64_value(*byte).is_some()) {
        return false;
    }
    let unused = match text.len() % 4 {
        0 => return true,
        1 => return false,
        2 => 0b1111,
        _ => 0b11,
    };
    text.last().and_then(|byte| base64_value(*byte)).is_some_and(|value| value & unused == 0)
}

fn is_base64_of_32_bytes(text: &[u8]) -> bool {
    text.len() == BASE64_32_BYTES && is_base64(text)
}

#[cfg(test)]
#[path = "prescan_tests.rs"]
mod tests;
