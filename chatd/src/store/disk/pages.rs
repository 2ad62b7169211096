//! Pages of databases and of their logs that need not be read again.
//!
//! After each commit every other connection drops all pages that it held. They are given from memory: the newest of all logs
//! together, and those of all databases that were read last.
//!
//! Nobody but this process writes to the files (docs/decisions/0026), and a page is changed here before anybody can read it there:
//! SQLite lets nobody read from a database what a checkpoint is writing.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use zeroize::{Zeroize, Zeroizing};

use crate::store::disk::vfs::{FileKind, PAGE_BYTES};

/// Pages kept of all logs together: 4 MiB.
const LOG_PAGES: usize = 1_024;
/// Of all databases: 2 MiB.
const DATABASE_PAGES: usize = 512;
/// Pages that memory is taken for at a time: 256 KiB.
const PIECE: usize = 64;

/// An open file.
#[derive(Debug, Clone, Copy)]
struct File {
    /// So that a page's name is small.
    number: u64,
    handles: usize,
    /// How often it was written to.
    writes: u64,
}

#[derive(Default)]
struct Kept {
    /// By path.
    files: HashMap<PathBuf, File>,
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
    fn drop_pages(&mut self, file: u64) {
        let mut gone = Vec::new();
        self.pages.retain(|(of, _), place| {
            let stays = *of != file;
            if !stays {
                gone.push(*place);
            }
            stays
        });
        for place in &gone {
            self.at(*place).zeroize();
        }
        self.free.extend(gone);
        self.order.retain(|(of, _)| *of != file);
    }

    /// The bytes of a place.
    fn at(&mut self, place: usize) -> &mut [u8] {
        let begin = place % PIECE * PAGE_BYTES;
        &mut self.memory[place / PIECE][begin..begin + PAGE_BYTES]
    }

    /// A place for one more page: that of the oldest when there are enough.
    fn place(&mut self, most: usize) -> usize {
        while self.pages.len() >= most
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

/// Which of the two kinds of file a page is of: a log that grows fast does not drive out the pages of databases.
struct Pool {
    kept: Mutex<Option<Kept>>,
    /// Pages at most.
    most: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool(at most {} pages)", self.most)
    }
}

static LOGS: Pool = Pool { kept: Mutex::new(None), most: LOG_PAGES };
static DATABASES: Pool = Pool { kept: Mutex::new(None), most: DATABASE_PAGES };

/// The kept pages of one file. They go with the last handle: the next file of that name may be another one.
#[derive(Debug)]
pub(in crate::store) struct Pages {
    pool: &'static Pool,
    path: PathBuf,
    file: u64,
}

impl Pages {
    /// A handle of the file at `path` is open.
    pub fn of(path: &Path, kind: FileKind) -> Self {
        let pool = match kind {
            FileKind::Wal => &LOGS,
            FileKind::Database => &DATABASES,
        };
        let mut pages = Self { pool, path: path.to_owned(), file: 0 };
        pages.file = pages.with(|kept| {
            let number = kept.newest + 1;
            let file = kept.files.entry(path.to_owned()).or_insert(File { number, handles: 0, writes: 0 });
            file.handles += 1;
            kept.newest = kept.newest.max(file.number);
            file.number
        });
        pages
    }

    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        act(self.pool.kept.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
    }

    /// How often the file was written to.
    pub fn writes(&self) -> u64 {
        self.with(|kept| kept.files.get(&self.path).map_or(0, |file| file.writes))
    }

    /// A page of a log was written, or one was read and found whole.
    pub fn keep(&self, offset: i64, page: &[u8]) {
        if page.len() == PAGE_BYTES {
            self.with(|kept| self.put(kept, offset, page));
        }
    }

    /// The same, unless the file was written to since `writes` were counted: then it may be what was there before.
    pub fn keep_read(&self, offset: i64, page: &[u8], writes: u64) {
        if page.len() == PAGE_BYTES {
            self.with(|kept| {
                if kept.files.get(&self.path).is_some_and(|file| file.writes == writes) {
                    self.put(kept, offset, page);
                }
            });
        }
    }

    fn put(&self, kept: &mut Kept, offset: i64, page: &[u8]) {
        let name = (self.file, offset);
        let place = match kept.pages.get(&name) {
            Some(place) => *place,
            None => {
                let place = kept.place(self.pool.most);
                kept.pages.insert(name, place);
                kept.order.push_back(name);
                place
            }
        };
        kept.at(place).copy_from_slice(page);
    }

    /// A page of a database is written: what is kept of it is that, or nothing.
    pub fn replace(&self, offset: i64, page: &[u8]) {
        self.with(|kept| {
            if let Some(file) = kept.files.get_mut(&self.path) {
                file.writes += 1;
            }
            match kept.pages.get(&(self.file, offset)).copied() {
                Some(place) if page.len() == PAGE_BYTES => kept.at(place).copy_from_slice(page),
                None if page.len() == PAGE_BYTES => {}
                _ => kept.drop_pages(self.file),
            }
        });
    }

    /// Fills the buffer, if the page is kept.
    pub fn give(&self, offset: i64, buffer: &mut [u8]) -> bool {
        self.with(|kept| match kept.pages.get(&(self.file, offset)).copied() {
            Some(place) if buffer.len() == PAGE_BYTES => {
                buffer.copy_from_slice(kept.at(place));
                true
            }
            _ => false,
        })
    }

    /// Forgets them: the file begins anew, or a write failed.
    pub fn forget(&self) {
        self.with(|kept| {
            if let Some(file) = kept.files.get_mut(&self.path) {
                file.writes += 1;
            }
            kept.drop_pages(self.file);
        });
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.with(|kept| {
            if let Some(file) = kept.files.get_mut(&self.path) {
                file.handles -= 1;
                if file.handles == 0 {
                    kept.files.remove(&self.path);
                    kept.drop_pages(self.file);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(byte: u8) -> Vec<u8> {
        vec![byte; PAGE_BYTES]
    }

    fn given(pages: &Pages, offset: i64) -> Option<u8> {
        let mut buffer = page(0);
        pages.give(offset, &mut buffer).then(|| buffer[0])
    }

    #[test]
    fn what_was_read_before_a_write_is_not_kept_after_it() {
        let path = Path::new("/nowhere/one.db");
        let (reader, writer) = (Pages::of(path, FileKind::Database), Pages::of(path, FileKind::Database));
        let before = reader.writes();
        reader.keep_read(4_096, &page(1), before);
        assert_eq!((given(&reader, 4_096), given(&writer, 4_096), given(&reader, 0)), (Some(1), Some(1), None));
        // All connections see what is written, in the place of what was kept.
        writer.replace(4_096, &page(2));
        assert_eq!(given(&reader, 4_096), Some(2));
        reader.keep_read(0, &page(1), before);
        reader.keep_read(4_096, &page(1), before);
        assert_eq!((given(&reader, 0), given(&reader, 4_096)), (None, Some(2)), "that may be of before");
        reader.keep_read(0, &page(3), reader.writes());
        writer.forget();
        assert_eq!((given(&reader, 0), given(&reader, 4_096)), (None, None));
        // And the next file of that name is another one.
        reader.keep_read(0, &page(3), reader.writes());
        drop((reader, writer));
        assert_eq!(given(&Pages::of(path, FileKind::Database), 0), None);
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let pages = Pages::of(Path::new("/nowhere/two.db"), FileKind::Database);
        for n in 0..3 * DATABASE_PAGES as i64 {
            pages.keep_read(n * 4_096, &page(1), pages.writes());
        }
        let kept = (0..3 * DATABASE_PAGES as i64).filter(|n| given(&pages, n * 4_096).is_some()).count();
        assert!(kept <= DATABASE_PAGES, "{kept}");
    }
}
