//! A layer between SQLite and the operating system: what [`Layer`] says happens to each read, write and sync of a database
//! and of its WAL, in safe code.
//!
//! The job: the plumbing that SQLite's virtual file system needs (<https://sqlite.org/vfs.html>), over whatever VFS was the
//! default before. Not the job: what a layer does.
//!
//! Invariants: this file is the only one of the daemon with unsafe code, for SQLite calls a VFS through C function pointers;
//! everything that is not a main database or a WAL goes to the VFS below untouched.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rusqlite::ffi;

/// Bytes of a page in every database of ours: SQLite's default.
pub(in crate::store) const PAGE_BYTES: usize = 4_096;

/// What kind of file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum FileKind {
    /// A database.
    Database,
    /// Its write-ahead log.
    Wal,
}

/// A result code of SQLite.
pub(in crate::store) type Code = c_int;

/// What a layer keeps of one open file, and does with it. Everything else of the file goes to the VFS below.
pub(in crate::store) trait Layer: Send + Sized + 'static {
    /// The name to register the VFS under.
    const NAME: &'static CStr;
    /// A file is opened.
    fn open(path: PathBuf, kind: FileKind) -> Self;
    /// Fills the buffer from `offset` on.
    fn read(&mut self, below: &Below, buffer: &mut [u8], offset: i64) -> Code;
    /// Writes the bytes at `offset`.
    fn write(&mut self, below: &Below, bytes: &[u8], offset: i64) -> Code;
    /// Makes everything durable.
    fn sync(&mut self, below: &Below, flags: c_int) -> Code;
    /// Cuts the file.
    fn truncate(&mut self, below: &Below, size: i64) -> Code {
        below.truncate(size)
    }
}

/// The same file in the VFS below.
pub(in crate::store) struct Below(*mut ffi::sqlite3_file);

/// Calls a method of the file below; a method that is not there is an error of IO.
macro_rules! below {
    ($file:expr, $method:ident $(, $arg:expr)*) => {{
        let file: *mut ffi::sqlite3_file = $file;
        // SAFETY: `file` was opened by the VFS below (see `open`), which set its method table, and is not closed yet: SQLite
        // calls no method of a file after xClose, and one at a time.
        match unsafe { (*(*file).pMethods).$method } {
            // SAFETY: the arguments are those that SQLite gave to our own method of the same contract.
            Some(call) => unsafe { call(file $(, $arg)*) },
            None => ffi::SQLITE_IOERR,
        }
    }};
}

impl Below {
    pub fn read(&self, buffer: &mut [u8], offset: i64) -> Code {
        below!(self.0, xRead, buffer.as_mut_ptr().cast(), length(buffer), offset)
    }

    pub fn write(&self, bytes: &[u8], offset: i64) -> Code {
        below!(self.0, xWrite, bytes.as_ptr().cast(), length(bytes), offset)
    }

    pub fn sync(&self, flags: c_int) -> Code {
        below!(self.0, xSync, flags)
    }

    pub fn truncate(&self, size: i64) -> Code {
        below!(self.0, xTruncate, size)
    }
}

fn length(bytes: &[u8]) -> c_int {
    // SQLite's own lengths are c_int, and buffers come from it or are one page.
    c_int::try_from(bytes.len()).unwrap_or(c_int::MAX)
}

/// Our VFS: SQLite sees the first field.
#[repr(C)]
struct Vfs {
    vfs: ffi::sqlite3_vfs,
    below: *mut ffi::sqlite3_vfs,
}

/// Our file: SQLite sees the first field; the file of the VFS below follows at [`HEADER`].
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    /// A `Box<L>`.
    layer: *mut c_void,
}

/// Where the file of the VFS below begins: behind ours, aligned for anything.
const HEADER: usize = size_of::<File>().next_multiple_of(16);

/// SQLite's VFS for databases that one process alone uses: the index of the log is in its memory, and connections lock each
/// other out there, too. A transaction costs two system calls less for each lock (<https://sqlite.org/vfs.html>, "unix-excl").
const ALONE: &CStr = c"unix-excl";

/// Registers the layer over the present default VFS and makes it the default; over [`ALONE`] instead of SQLite's own default.
/// Once per layer and process.
///
/// # Errors
/// SQLite's code when it refuses.
pub(in crate::store) fn register<L: Layer>() -> Result<(), Code> {
    // SAFETY: both calls are thread-safe; the pointer lives as long as the process, because nobody unregisters a VFS.
    let below = unsafe {
        match ffi::sqlite3_initialize() {
            ffi::SQLITE_OK => ffi::sqlite3_vfs_find(std::ptr::null()),
            code => return Err(code),
        }
    };
    if below.is_null() {
        return Err(ffi::SQLITE_ERROR);
    }
    // SAFETY: a registered VFS is valid, and its name is a string that ends with zero.
    let below = match unsafe { CStr::from_ptr((*below).zName) } {
        // SAFETY: thread-safe; the name is a string that ends with zero.
        name if name == c"unix" => match unsafe { ffi::sqlite3_vfs_find(ALONE.as_ptr()) } {
            alone if alone.is_null() => below,
            alone => alone,
        },
        _ => below,
    };
    // SAFETY: not null, and a registered VFS is valid and not changed. What the copy does not replace works on any VFS
    // structure with these values: only xOpen keeps a pointer to it, and ours passes the original on.
    let mut vfs = unsafe { *below };
    vfs.szOsFile += HEADER as c_int;
    vfs.pNext = std::ptr::null_mut();
    vfs.zName = L::NAME.as_ptr();
    vfs.xOpen = Some(open::<L>);
    let ours = Box::into_raw(Box::new(Vfs { vfs, below }));
    // SAFETY: `ours` is never freed, and begins with a sqlite3_vfs.
    match unsafe { ffi::sqlite3_vfs_register(ours.cast(), 1) } {
        ffi::SQLITE_OK => Ok(()),
        code => Err(code),
    }
}

/// Reserves bytes at the end of each page of a database that is still empty, or that a VACUUM follows for. Answers how many
/// were reserved, if the header was read.
///
/// # Errors
/// SQLite's.
pub(in crate::store) fn reserve_bytes(conn: &rusqlite::Connection, bytes: c_int) -> rusqlite::Result<c_int> {
    let mut bytes = bytes;
    let main = CString::from(c"main");
    // SAFETY: the connection is open and used by this thread alone during the call; the operation reads and writes one int.
    let code = unsafe {
        ffi::sqlite3_file_control(
            conn.handle(),
            main.as_ptr(),
            ffi::SQLITE_FCNTL_RESERVE_BYTES,
            (&raw mut bytes).cast(),
        )
    };
    if code == ffi::SQLITE_OK {
        return Ok(bytes);
    }
    Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some("cannot reserve bytes for checksums".into())))
}

unsafe extern "C" fn open<L: Layer>(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes the VFS that was registered, which is the beginning of a `Vfs`.
    let lower = unsafe { (*vfs.cast::<Vfs>()).below };
    // SAFETY: valid for as long as the process.
    let Some(lower_open) = (unsafe { (*lower).xOpen }) else { return ffi::SQLITE_CANTOPEN };
    let kind = match flags {
        _ if name.is_null() => None,
        flags if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 => Some(FileKind::Database),
        flags if flags & ffi::SQLITE_OPEN_WAL != 0 => Some(FileKind::Wal),
        _ => None,
    };
    let Some(kind) = kind else {
        // SAFETY: SQLite gave at least szOsFile bytes, more than the VFS below needs; the file is its own from here on.
        return unsafe { lower_open(lower, name, file, flags, out_flags) };
    };
    // SAFETY: SQLite gave HEADER bytes more than the VFS below needs, aligned for pointers; both parts fit.
    let inner = unsafe { file.byte_add(HEADER) };
    // SAFETY: as above; `pMethods` tells SQLite that nothing is open yet.
    unsafe { (*file).pMethods = std::ptr::null() };
    // SAFETY: `inner` has the size that the VFS below asked for.
    let code = unsafe { lower_open(lower, name, inner, flags, out_flags) };
    // SAFETY: the VFS below has set it, to null if nothing is to be closed.
    let opened = unsafe { !(*inner).pMethods.is_null() };
    if code != ffi::SQLITE_OK {
        if opened {
            below!(inner, xClose);
        }
        return code;
    }
    // SAFETY: not null, a C string of SQLite's, valid during the call.
    let path = unsafe { CStr::from_ptr(name.cast::<c_char>()) };
    let layer = L::open(Path::new(OsStr::from_bytes(path.to_bytes())).to_owned(), kind);
    // SAFETY: the memory of `file` is ours; it is written whole before SQLite reads it.
    unsafe {
        (*file.cast::<File>()).layer = Box::into_raw(Box::new(layer)).cast();
        (*file).pMethods = &Methods::<L>::TABLE;
    }
    code
}

fn inner(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // SAFETY: every file with our methods has HEADER bytes before that of the VFS below.
    unsafe { file.byte_add(HEADER) }
}

/// The layer's part of a file.
///
/// # Safety
/// `file` was opened by `open::<L>`, and nobody else uses it now. SQLite guarantees the latter for one file handle.
unsafe fn layer<'f, L: Layer>(file: *mut ffi::sqlite3_file) -> (&'f mut L, Below) {
    // SAFETY: by the contract above, `layer` is the Box that `open` made.
    (unsafe { &mut *(*file.cast::<File>()).layer.cast::<L>() }, Below(inner(file)))
}

struct Methods<L>(std::marker::PhantomData<L>);

impl<L: Layer> Methods<L> {
    /// Version 2: shared memory for the WAL, and no memory-mapped pages, which would go past the layer.
    const TABLE: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
        iVersion: 2,
        xClose: Some(close::<L>),
        xRead: Some(read::<L>),
        xWrite: Some(write::<L>),
        xTruncate: Some(truncate::<L>),
        xSync: Some(sync::<L>),
        xFileSize: Some(file_size),
        xLock: Some(lock),
        xUnlock: Some(unlock),
        xCheckReservedLock: Some(check_reserved_lock),
        xFileControl: Some(file_control),
        xSectorSize: Some(sector_size),
        xDeviceCharacteristics: Some(device_characteristics),
        xShmMap: Some(shm_map),
        xShmLock: Some(shm_lock),
        xShmBarrier: Some(shm_barrier),
        xShmUnmap: Some(shm_unmap),
        xFetch: None,
        xUnfetch: None,
    };
}

unsafe extern "C" fn close<L: Layer>(file: *mut ffi::sqlite3_file) -> c_int {
    let code = below!(inner(file), xClose);
    // SAFETY: `open` made the Box, and SQLite closes a file once.
    drop(unsafe { Box::from_raw((*file.cast::<File>()).layer.cast::<L>()) });
    code
}

unsafe extern "C" fn read<L: Layer>(file: *mut ffi::sqlite3_file, to: *mut c_void, amount: c_int, at: i64) -> c_int {
    // SAFETY: SQLite's buffer has `amount` bytes; xRead may find them uninitialised, so they are zeroed before they are a slice.
    let buffer = unsafe {
        to.cast::<u8>().write_bytes(0, amount as usize);
        std::slice::from_raw_parts_mut(to.cast::<u8>(), amount as usize)
    };
    // SAFETY: only files of `open::<L>` have this method.
    let (layer, below) = unsafe { layer::<L>(file) };
    layer.read(&below, buffer, at)
}

unsafe extern "C" fn write<L: Layer>(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    amount: c_int,
    at: i64,
) -> c_int {
    // SAFETY: SQLite's buffer has `amount` bytes, initialised, and does not change during the call.
    let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), amount as usize) };
    // SAFETY: only files of `open::<L>` have this method.
    let (layer, below) = unsafe { layer::<L>(file) };
    layer.write(&below, bytes, at)
}

unsafe extern "C" fn truncate<L: Layer>(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: only files of `open::<L>` have this method.
    let (layer, below) = unsafe { layer::<L>(file) };
    layer.truncate(&below, size)
}

unsafe extern "C" fn sync<L: Layer>(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: only files of `open::<L>` have this method.
    let (layer, below) = unsafe { layer::<L>(file) };
    layer.sync(&below, flags)
}

/// Methods that only pass on.
macro_rules! pass {
    ($(fn $name:ident = $method:ident($($arg:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name(file: *mut ffi::sqlite3_file $(, $arg: $type)*) -> c_int {
            below!(inner(file), $method $(, $arg)*)
        }
    )*};
}

pass! {
    fn file_size = xFileSize(size: *mut i64);
    fn lock = xLock(level: c_int);
    fn unlock = xUnlock(level: c_int);
    fn check_reserved_lock = xCheckReservedLock(out: *mut c_int);
    fn file_control = xFileControl(op: c_int, arg: *mut c_void);
    fn sector_size = xSectorSize();
    fn shm_map = xShmMap(page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void);
    fn shm_lock = xShmLock(offset: c_int, n: c_int, flags: c_int);
    fn shm_unmap = xShmUnmap(delete: c_int);
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // Parts of pages would be read past what a layer knows of pages: long texts are, where it is allowed.
    below!(inner(file), xDeviceCharacteristics) & !ffi::SQLITE_IOCAP_SUBPAGE_READ
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    let file = inner(file);
    // SAFETY: as in `below!`; this method answers nothing.
    if let Some(call) = unsafe { (*(*file).pMethods).xShmBarrier } {
        // SAFETY: the file of the VFS below, open.
        unsafe { call(file) };
    }
}
