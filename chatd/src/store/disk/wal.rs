//! What goes into a write-ahead log, gathered, and its newest pages, kept.
//!
//! SQLite writes a frame in two pieces, its header and its page, and a transaction frame by frame: a lone message made 45
//! writes. Here the frames of a transaction become one write. They are written at the latest when its last frame is there,
//! which is before SQLite syncs or tells any other connection of them.
//!
//! And after each commit every other connection reads all pages anew that it held. They are given from memory: of all logs
//! together, the newest [`KEPT_PAGES`].
//!
//! Not the job: whether bytes on the disk are what was written (`checksum`).

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rusqlite::ffi;
use zeroize::{Zeroize, Zeroizing};

use crate::store::disk::vfs::{Below, Code, PAGE_BYTES};

/// Header of a frame; <https://sqlite.org/fileformat2.html#wal_file_format>.
pub(in crate::store) const FRAME_HEADER: usize = 24;
/// With so many bytes waiting they are written. With one more page it must stay below the 128 KiB that SQLite's `unix` VFS
/// writes at once: of a longer write it does a part, and calls the rest a full disk.
const GATHERED_BYTES: usize = 60 * 1024;
/// Pages kept, of all logs together: 4 MiB.
const KEPT_PAGES: usize = 1_024;
/// Pages that memory is taken for at a time: 256 KiB.
const PIECE: usize = 64;

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

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

#[derive(Default)]
struct Kept {
    /// By path: a number, so that a page's name is small, and how many handles are open.
    logs: HashMap<PathBuf, (u64, usize)>,
    newest: u64,
    /// In which place of `memory` each is.
    pages: HashMap<(u64, i64), usize>,
    order: VecDeque<(u64, i64)>,
    /// Taken in large pieces and kept: page by page the heap would grow, and shrink again, by a call of the system for each.
    memory: Vec<Zeroizing<Box<[u8]>>>,
    /// Places that hold nothing. Wiped: those of prekeys that were destroyed were among them.
    free: Vec<usize>,
}

impl Kept {
    fn drop_pages(&mut self, log: u64) {
        let mut gone = Vec::new();
        self.pages.retain(|(of, _), place| {
            let stays = *of != log;
            if !stays {
                gone.push(*place);
            }
            stays
        });
        for place in &gone {
            self.at(*place).zeroize();
        }
        self.free.extend(gone);
        self.order.retain(|(of, _)| *of != log);
    }

    /// The bytes of a place.
    fn at(&mut self, place: usize) -> &mut [u8] {
        let begin = place % PIECE * PAGE_BYTES;
        &mut self.memory[place / PIECE][begin..begin + PAGE_BYTES]
    }

    /// A place for one more page: that of the oldest when there are enough.
    fn place(&mut self) -> usize {
        while self.pages.len() >= KEPT_PAGES
            && let Some(oldest) = self.order.pop_front()
        {
            if let Some(place) = self.pages.remove(&oldest) {
                return place;
            }
        }
        if let Some(place) = self.free.pop() {
            return place;
        }
        let first = self.memory.len() * PIECE;
        self.memory.push(Zeroizing::new(vec![0; PIECE * PAGE_BYTES].into_boxed_slice()));
        self.free.extend((first + 1..first + PIECE).rev());
        first
    }
}

fn kept<T>(act: impl FnOnce(&mut Kept) -> T) -> T {
    act(KEPT.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// The kept pages of one log. They go with the last handle: the next file of that name may be another one.
#[derive(Debug)]
pub(in crate::store) struct Pages {
    path: PathBuf,
    log: u64,
}

impl Pages {
    /// A handle of the log at `path` is open.
    pub fn of(path: &Path) -> Self {
        kept(|kept| {
            let fresh = kept.newest + 1;
            let (log, handles) = kept.logs.entry(path.to_owned()).or_insert((fresh, 0));
            *handles += 1;
            kept.newest = kept.newest.max(*log);
            Self { path: path.to_owned(), log: *log }
        })
    }

    /// One was written, or read and found whole.
    pub fn keep(&self, offset: i64, page: &[u8]) {
        if page.len() != PAGE_BYTES {
            return;
        }
        let name = (self.log, offset);
        kept(|kept| {
            let place = match kept.pages.get(&name) {
                Some(place) => *place,
                None => {
                    let place = kept.place();
                    kept.pages.insert(name, place);
                    kept.order.push_back(name);
                    place
                }
            };
            kept.at(place).copy_from_slice(page);
        });
    }

    /// Fills the buffer, if the page is kept.
    pub fn give(&self, offset: i64, buffer: &mut [u8]) -> bool {
        kept(|kept| match kept.pages.get(&(self.log, offset)).copied() {
            Some(place) if buffer.len() == PAGE_BYTES => {
                buffer.copy_from_slice(kept.at(place));
                true
            }
            _ => false,
        })
    }

    /// Forgets them: the log begins anew, or a write failed.
    pub fn forget(&self) {
        kept(|kept| kept.drop_pages(self.log));
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        kept(|kept| {
            if let Some((_, handles)) = kept.logs.get_mut(&self.path) {
                *handles -= 1;
                if *handles == 0 {
                    kept.logs.remove(&self.path);
                    kept.drop_pages(self.log);
                }
            }
        });
    }
}
