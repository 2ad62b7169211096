//! Checksums of pages: SQLite has none of its own, so a bit that the disk turned would be read as somebody's words.
//!
//! The job: every page of a database with 8 reserved bytes gets a checksum when it is written to the database, and is
//! verified when it is read; a page that is read from a WAL is verified by the checksum that SQLite gives each frame, which
//! SQLite itself looks at only after a crash. A mismatch is `SQLITE_IOERR_DATA`, so nothing wrong is read. And a failed sync
//! ends the process, whichever file it was of: the kernel may have dropped the pages, and the next sync would succeed.
//!
//! Not the job: what to do about damage (`care`).
//!
//! The format is that of SQLite's own checksum VFS (<https://sqlite.org/cksumvfs.html>): the last 8 bytes of a page are the
//! two sums of the WAL's algorithm (<https://sqlite.org/fileformat2.html#checksum_algorithm>) over the rest, little-endian.
//! One rule is stricter: a page of nothing but zeros, which that sum would let pass, is a mismatch.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use rusqlite::{Connection, ErrorCode, ffi};

use crate::store::disk::pages::Pages;
pub(in crate::store) use crate::store::disk::vfs::PAGE_BYTES;
use crate::store::disk::vfs::{self, Below, Code, FileKind, Layer};
use crate::store::disk::wal::{FRAME_HEADER, Gather};

/// Bytes at the end of each page that SQLite leaves alone.
pub(in crate::store) const RESERVED: u8 = 8;
/// The header of a database; what matters here stands in it.
pub(in crate::store) const DATABASE_HEADER: usize = 100;
/// The header of a WAL.
const WAL_HEADER: i64 = 32;
/// Damaged places that are remembered for error texts at most.
const MAX_PLACES: usize = 64;

/// Where the first damaged page of a file was found, by path.
static PLACES: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());
static MET: AtomicU64 = AtomicU64::new(0);

/// Makes every connection that is opened from now on check its pages. Cheap when done already.
pub(in crate::store) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(code) = vfs::register::<Checked>() {
            tracing::error!(code, "SQLite refuses the layer that checks pages: damage would not be noticed");
        }
    });
}

/// Gives a new database room for checksums.
///
/// # Errors
/// SQLite's.
pub(in crate::store) fn reserve(conn: &Connection) -> rusqlite::Result<()> {
    vfs::reserve_bytes(conn, RESERVED.into()).map(drop)
}

/// Gives a small database room for checksums, whether it is new or not. An old one is written anew, in one transaction.
///
/// # Errors
/// SQLite's; then it is as it was.
pub(in crate::store) fn make_room(conn: &Connection) -> rusqlite::Result<()> {
    // This also reads the header.
    let pages: i64 = conn.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let reserved = vfs::reserve_bytes(conn, RESERVED.into())?;
    if pages > 0 && reserved != i32::from(RESERVED) {
        conn.execute_batch("VACUUM")?;
    }
    Ok(())
}

/// Where damage was found in a file of a database, in words.
pub(in crate::store) fn place(database: &Path) -> Option<String> {
    let places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    let at = |path: &Path| Some(format!("{}, page {}", path.display(), places.get(path)?));
    at(database).or_else(|| at(&wal_of(database)))
}

/// How often a damaged page was met, in any file: whoever asks looks at its own when this changes.
pub(in crate::store) fn met() -> u64 {
    MET.load(Ordering::Acquire)
}

/// A file is looked at anew.
pub(in crate::store) fn forget(database: &Path) {
    let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
    places.remove(database);
    places.remove(&wal_of(database));
}

/// Whether SQLite found bytes that are not what was written.
pub(in crate::store) fn is_damage(error: &rusqlite::Error) -> bool {
    let rusqlite::Error::SqliteFailure(error, _) = error else { return false };
    error.extended_code == ffi::SQLITE_IOERR_DATA
        || matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
}

/// The WAL of a database.
pub(in crate::store) fn wal_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// The WAL's checksum, going on from `sums`, over a multiple of 8 bytes, as words of either byte order.
pub(in crate::store) fn sum(sums: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let (mut a, mut b) = sums;
    for pair in bytes.as_chunks::<8>().0 {
        let [w, x, y, z, first, second, third, fourth] = *pair;
        let (one, two) = ([w, x, y, z], [first, second, third, fourth]);
        let (one, two) = if big_endian {
            (u32::from_be_bytes(one), u32::from_be_bytes(two))
        } else {
            (u32::from_le_bytes(one), u32::from_le_bytes(two))
        };
        a = a.wrapping_add(one).wrapping_add(b);
        b = b.wrapping_add(two).wrapping_add(a);
    }
    (a, b)
}

fn sum_of_page(page: &[u8]) -> [u8; 8] {
    let (a, b) = sum((0, 0), page, false);
    let mut out = [0; 8];
    out[..4].copy_from_slice(&a.to_le_bytes());
    out[4..].copy_from_slice(&b.to_le_bytes());
    out
}

fn big_endian(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// An open file whose pages are checked.
struct Checked {
    path: PathBuf,
    kind: FileKind,
    /// Of a database: the bytes of a page, once its header has told that there is room for checksums. It then stays so.
    page: usize,
    /// Of a database: up to where pages were written before its header told, as a large VACUUM INTO does.
    bare: i64,
    /// Of a WAL: whether its folder was synced, so that the file itself is there after a power cut.
    placed: bool,
    /// Of a WAL: up to where this handle has written since the last sync, and whether it went back since. A transaction that
    /// writes a page again overwrites its frame and mends the checksums of later frames only before its commit's sync; until
    /// then what this handle reads of its own writes cannot be checked.
    written: i64,
    went_back: bool,
    /// Of a WAL: what is written together.
    gather: Gather,
    /// What need not be read again.
    pages: Pages,
}

impl Layer for Checked {
    const NAME: &'static std::ffi::CStr = c"checked";

    fn open(path: PathBuf, kind: FileKind) -> Self {
        let (pages, gather) = (Pages::of(&path, kind), Gather::default());
        Self { path, kind, page: 0, bare: 0, placed: false, written: 0, went_back: false, gather, pages }
    }

    fn read(&mut self, below: &Below, buffer: &mut [u8], offset: i64) -> Code {
        if self.pages.give(offset, buffer) {
            if self.kind == FileKind::Database {
                self.look(buffer, offset);
            }
            return ffi::SQLITE_OK;
        }
        let writes = self.pages.writes();
        match self.gather.flush(below) {
            ffi::SQLITE_OK => {}
            code => return code,
        }
        let code = below.read(buffer, offset);
        if code != ffi::SQLITE_OK {
            return code;
        }
        let whole = match self.kind {
            FileKind::Database => {
                self.look(buffer, offset);
                self.page == 0 || buffer.len() != self.page || is_whole(buffer)
            }
            FileKind::Wal => self.went_back || is_whole_frame(below, buffer, offset),
        };
        if whole {
            match self.kind {
                FileKind::Database if self.page != 0 => self.pages.keep_read(offset, buffer, writes),
                // Nobody writes over what this connection reads: SQLite begins a log anew only when nobody reads it.
                FileKind::Wal if !self.went_back && is_page(buffer.len()) => self.pages.keep(offset, buffer),
                _ => {}
            }
            return code;
        }
        let page = match self.kind {
            FileKind::Database => offset / buffer.len() as i64 + 1,
            FileKind::Wal => (offset - WAL_HEADER) / (buffer.len() + FRAME_HEADER) as i64 + 1,
        };
        tracing::error!(file = %self.path.display(), page, "a damaged page: its checksum does not match");
        let mut places = PLACES.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() < MAX_PLACES {
            places.entry(self.path.clone()).or_insert(page as u64);
        }
        MET.fetch_add(1, Ordering::AcqRel);
        ffi::SQLITE_IOERR_DATA
    }

    fn write(&mut self, below: &Below, bytes: &[u8], offset: i64) -> Code {
        if self.kind == FileKind::Wal {
            let end = offset + bytes.len() as i64;
            self.went_back = (self.went_back || offset < self.written) && offset != 0;
            self.written = if offset == 0 { end } else { self.written.max(end) };
            return self.write_log(below, bytes, offset);
        }
        self.look(bytes, offset);
        if self.page == 0 {
            self.bare = self.bare.max(offset + bytes.len() as i64);
        }
        if bytes.len() != self.page {
            self.pages.forget();
            return below.write(bytes, offset);
        }
        if self.bare > 0 {
            self.pages.forget();
            match catch_up(below, self.page, std::mem::take(&mut self.bare)) {
                ffi::SQLITE_OK => {}
                code => return code,
            }
        }
        let page = with_sum(bytes);
        let code = below.write(&page, offset);
        if code == ffi::SQLITE_OK {
            self.pages.replace(offset, &page);
        } else {
            self.pages.forget();
        }
        code
    }

    fn sync(&mut self, below: &Below, flags: std::ffi::c_int) -> Code {
        match self.gather.flush(below) {
            ffi::SQLITE_OK => {}
            code => return code,
        }
        let code = below.sync(flags);
        if code != ffi::SQLITE_OK {
            fatal(&self.path, &format!("fsync failed ({})", ffi::code_to_str(code)));
        }
        if self.kind == FileKind::Wal {
            (self.went_back, self.written) = (false, 0);
            if !self.placed {
                // SQLite syncs the folder too, and takes no notice when that fails. One that is gone is of a deleted account.
                if let Err(error) = sync_folder_of(&self.path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    fatal(&self.path, &format!("fsync of its folder failed ({error})"));
                }
                self.placed = true;
            }
        }
        code
    }

    fn truncate(&mut self, below: &Below, size: i64) -> Code {
        self.pages.forget();
        match self.gather.flush(below) {
            ffi::SQLITE_OK => below.truncate(size),
            code => code,
        }
    }
}

/// A page with its checksum.
fn with_sum(bytes: &[u8]) -> Vec<u8> {
    let mut page = bytes.to_vec();
    let room = page.len() - usize::from(RESERVED);
    let sum = sum_of_page(&bytes[..room]);
    page[room..].copy_from_slice(&sum);
    page
}

/// Gives pages of a new database their checksums that were written before its first.
fn catch_up(below: &Below, size: usize, end: i64) -> Code {
    let mut page = vec![0; size];
    for offset in (0..end).step_by(size) {
        let code = match below.read(&mut page, offset) {
            ffi::SQLITE_OK => below.write(&with_sum(&page), offset),
            // A page that was never written has nothing to sum.
            ffi::SQLITE_IOERR_SHORT_READ => ffi::SQLITE_OK,
            code => code,
        };
        if code != ffi::SQLITE_OK {
            return code;
        }
    }
    ffi::SQLITE_OK
}

/// After a failed sync the kernel may have dropped what was written: going on would lie about what is durable.
fn fatal(path: &Path, what: &str) {
    tracing::error!(
        file = %path.display(),
        what,
        "stopping at once; what was answered is in the WAL, and the next start recovers it. Check the disk"
    );
    daemonkit::log::last_words(&format!("chatd: {}: {what}: stopping at once", path.display()));
    std::process::abort();
}

/// Makes names in a file's folder durable.
///
/// # Errors
/// Those of the disk.
pub(in crate::store) fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

impl Checked {
    fn write_log(&mut self, below: &Below, bytes: &[u8], offset: i64) -> Code {
        let code = self.gather.write(below, bytes, offset);
        if offset == 0 || code != ffi::SQLITE_OK {
            self.pages.forget();
        } else if is_page(bytes.len()) {
            self.pages.keep(offset, bytes);
        }
        code
    }

    /// The header tells whether pages have checksums.
    fn look(&mut self, bytes: &[u8], offset: i64) {
        if offset != 0 || self.page != 0 {
            return;
        }
        let facts = Header::parse(bytes);
        if let Some(facts) = facts.filter(|facts| facts.reserved == RESERVED && facts.page.is_power_of_two()) {
            self.page = facts.page as usize;
        }
    }
}

/// Whether a page of a database has its checksum.
pub(in crate::store) fn is_whole(page: &[u8]) -> bool {
    let (data, sum) = page.split_at(page.len().saturating_sub(usize::from(RESERVED)));
    sum_of_page(data) == sum && page.iter().any(|byte| *byte != 0)
}

/// Whether so many bytes can be a page.
fn is_page(bytes: usize) -> bool {
    bytes >= 512 && bytes.is_power_of_two()
}

/// Whether a page in a WAL is what its frame's checksum says. That sum goes on from the frame before.
fn is_whole_frame(below: &Below, page: &[u8], offset: i64) -> bool {
    let frame = (page.len() + FRAME_HEADER) as i64;
    let in_log = offset - WAL_HEADER - FRAME_HEADER as i64;
    // Not a page: the header, or whole frames during the recovery, which checks them itself.
    if !is_page(page.len()) || in_log < 0 || in_log % frame != 0 {
        return true;
    }
    let (mut magic, mut before, mut header) = ([0; 4], [0; 8], [0; FRAME_HEADER]);
    // The sums before the first frame are those of the WAL's own header.
    let sums_at = if in_log == 0 { WAL_HEADER - 8 } else { offset - frame - 8 };
    let parts = [(&mut magic[..], 0), (&mut before[..], sums_at), (&mut header[..], offset - FRAME_HEADER as i64)];
    for (buffer, at) in parts {
        if below.read(buffer, at) != ffi::SQLITE_OK {
            return false;
        }
    }
    let big = big_endian(&magic) & 1 == 1;
    let sums = (big_endian(&before[..4]), big_endian(&before[4..]));
    let sums = sum(sum(sums, &header[..8], big), page, big);
    sums == (big_endian(&header[16..20]), big_endian(&header[20..]))
}

/// What the header of a database says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) struct Header {
    /// Bytes of a page.
    pub page: u32,
    /// Reserved bytes at the end of each.
    pub reserved: u8,
    /// `PRAGMA user_version`.
    pub version: u32,
}

impl Header {
    /// `None`: these are not the first bytes of a database.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < DATABASE_HEADER || !bytes.starts_with(b"SQLite format 3\0") {
            return None;
        }
        let page = match big_endian(&bytes[16..18]) {
            1 => 65_536,
            page => page,
        };
        Some(Self { page, reserved: bytes[20], version: big_endian(&bytes[60..64]) })
    }
}
