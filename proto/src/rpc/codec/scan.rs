//! Finds the end of one MessagePack value in bytes that trickle in.
//!
//! MessagePack-RPC has no length prefix: messages simply follow each other, so that the only way to find where one ends
//! is to walk it. The walk is a loop over a fixed stack of counters, never a recursion, and it remembers where it stood:
//! a value that comes in a thousand pieces is walked once, not a thousand times.

use crate::rpc::{MAX_DEPTH, MAX_MESSAGE_BYTES};

/// Bytes that cannot be, or must not be, a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The value is, or claims to become, longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message is longer than {MAX_MESSAGE_BYTES} bytes")]
    TooLong,
    /// More than [`MAX_DEPTH`] arrays and maps inside each other.
    #[error("the message is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The one byte that MessagePack never uses.
    #[error("byte 0xc1 is no MessagePack")]
    Reserved,
}

/// The state of a walk over one value. Fixed size, whatever the value claims.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    /// Where the next header begins. May lie beyond the bytes at hand: the body of a string is skipped, not looked at.
    pos: usize,
    /// How many arrays and maps are open.
    depth: usize,
    /// Values that each of them still lacks.
    left: [u32; MAX_DEPTH],
    /// The last header was read; only its body may be missing.
    complete: bool,
}

/// What a header says about what follows it.
enum Shape {
    /// So many bytes of body.
    Body(u64),
    /// So many values.
    Items(u64),
}

impl Scanner {
    /// The length of the value at the start of `buf`, or `None` if it is not all there. `buf` must begin with the bytes
    /// given before; call again when there are more. After `Some` the scanner is ready for the next value.
    ///
    /// # Errors
    /// [`FrameError`] as soon as a header shows it: a claim beyond the limits is refused before its bytes arrive. The
    /// scanner is of no use after it.
    pub fn scan(&mut self, buf: &[u8]) -> Result<Option<usize>, FrameError> {
        while !self.complete {
            let Some((&marker, rest)) = buf.get(self.pos..).and_then(<[u8]>::split_first) else { return Ok(None) };
            let Some((header, shape)) = read_header(marker, rest)? else { return Ok(None) };
            self.step(header, shape)?;
        }
        if buf.len() < self.pos {
            return Ok(None);
        }
        let end = self.pos;
        *self = Self::default();
        Ok(Some(end))
    }

    fn step(&mut self, header: usize, shape: Shape) -> Result<(), FrameError> {
        let room = (MAX_MESSAGE_BYTES - self.pos) as u64;
        // Every value takes a byte at least, so a count is as good a claim as a length.
        let (Shape::Body(claim) | Shape::Items(claim)) = shape;
        if header as u64 + claim > room {
            return Err(FrameError::TooLong);
        }
        self.pos += header;
        match shape {
            Shape::Body(bytes) => self.pos += bytes as usize,
            Shape::Items(items) => {
                let slot = self.left.get_mut(self.depth).ok_or(FrameError::TooDeep)?;
                if items > 0 {
                    *slot = items as u32;
                    self.depth += 1;
                    return Ok(());
                }
            }
        }
        while self.depth > 0 {
            let left = &mut self.left[self.depth - 1];
            *left -= 1;
            if *left > 0 {
                return Ok(());
            }
            self.depth -= 1;
        }
        self.complete = true;
        Ok(())
    }
}

/// Length of the header and what follows it; `None` if the header itself is cut off. See the MessagePack specification.
fn read_header(marker: u8, rest: &[u8]) -> Result<Option<(usize, Shape)>, FrameError> {
    let (size, extra) = match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => return Ok(Some((1, Shape::Body(0)))),
        0x80..=0x8f => return Ok(Some((1, Shape::Items(2 * u64::from(marker & 0x0f))))),
        0x90..=0x9f => return Ok(Some((1, Shape::Items(u64::from(marker & 0x0f))))),
        0xa0..=0xbf => return Ok(Some((1, Shape::Body(u64::from(marker & 0x1f))))),
        0xc1 => return Err(FrameError::Reserved),
        0xcc | 0xd0 => return Ok(Some((1, Shape::Body(1)))),
        0xcd | 0xd1 => return Ok(Some((1, Shape::Body(2)))),
        0xca | 0xce | 0xd2 => return Ok(Some((1, Shape::Body(4)))),
        0xcb | 0xcf | 0xd3 => return Ok(Some((1, Shape::Body(8)))),
        // An extension's body has its type in front.
        0xd4..=0xd8 => return Ok(Some((1, Shape::Body(1 + (1 << (marker - 0xd4)))))),
        0xc4 | 0xd9 => (1, 0),
        0xc5 | 0xda | 0xdc | 0xde => (2, 0),
        0xc6 | 0xdb | 0xdd | 0xdf => (4, 0),
        0xc7 => (1, 1),
        0xc8 => (2, 1),
        0xc9 => (4, 1),
    };
    let Some(length) = rest.get(..size) else { return Ok(None) };
    let length = length.iter().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    let shape = match marker {
        0xdc | 0xdd => Shape::Items(length),
        0xde | 0xdf => Shape::Items(2 * length),
        _ => Shape::Body(length + extra),
    };
    Ok(Some((1 + size, shape)))
}
