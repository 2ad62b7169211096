//! What goes into a write-ahead log, gathered.
//!
//! SQLite writes a frame in two pieces, its header and its page, and a transaction frame by frame: a lone message made 45
//! writes. Here the frames of a transaction become one write. They are written at the latest when its last frame is there,
//! which is before SQLite syncs or tells any other connection of them.
//!
//! Not the job: whether bytes on the disk are what was written (`checksum`), and what need not be read again (`pages`).

use rusqlite::ffi;

use crate::store::disk::vfs::{Below, Code};

/// Header of a frame; <https://sqlite.org/fileformat2.html#wal_file_format>.
pub(in crate::store) const FRAME_HEADER: usize = 24;
/// With so many bytes waiting they are written. With one more page it must stay below the 128 KiB that SQLite's `unix` VFS
/// writes at once: of a longer write it does a part, and calls the rest a full disk.
const GATHERED_BYTES: usize = 60 * 1024;

/// Writes of one open log that wait.
#[derive(Debug, Default)]
pub(in crate::store) struct Gather {
    bytes: Vec<u8>,
    /// Where they belong.
    at: i64,
    /// Up to where this handle has written since the log began.
    end: i64,
    /// The frame that is being written ends a transaction.
    is_last: bool,
}

impl Gather {
    /// Takes a write, and does it now or with those that follow.
    pub fn write(&mut self, below: &Below, bytes: &[u8], offset: i64) -> Code {
        let end = offset + bytes.len() as i64;
        let goes_on = offset == self.at + self.bytes.len() as i64;
        let is_header = bytes.len() == FRAME_HEADER;
        // What goes back mends frames that were written, and says nothing of where it ends.
        let appends = offset > 0 && offset >= self.end;
        self.end = if offset == 0 { end } else { self.end.max(end) };
        if !self.bytes.is_empty() && !goes_on {
            match self.flush(below) {
                ffi::SQLITE_OK => {}
                code => return code,
            }
        }
        if !appends || (self.bytes.is_empty() && !is_header) {
            match self.flush(below) {
                ffi::SQLITE_OK => return below.write(bytes, offset),
                code => return code,
            }
        }
        if self.bytes.is_empty() {
            self.at = offset;
        }
        self.bytes.extend_from_slice(bytes);
        if is_header {
            // The size of the database after the commit; 0 in a frame that is not the last.
            self.is_last = bytes[4..8] != [0; 4];
            return ffi::SQLITE_OK;
        }
        if self.is_last || self.bytes.len() >= GATHERED_BYTES { self.flush(below) } else { ffi::SQLITE_OK }
    }

    /// Writes what waits.
    pub fn flush(&mut self, below: &Below) -> Code {
        if self.bytes.is_empty() {
            return ffi::SQLITE_OK;
        }
        let code = below.write(&self.bytes, self.at);
        self.bytes.clear();
        // A large page must not hold its memory for ever.
        self.bytes.shrink_to(GATHERED_BYTES);
        code
    }
}
