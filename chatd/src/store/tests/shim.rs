//! A layer under the checksums, for child processes of tests: it records every write and sync, or lets one fail, or ends the
//! process there. Registered in a child only, because it is for the whole process.

use std::ffi::{CStr, c_int};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rusqlite::ffi;

use crate::store::disk::vfs::{self, Below, Code, FileKind, Layer};

/// Something that happened, in order.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Write {
        wal: bool,
        offset: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        wal: bool,
        size: usize,
    },
    Sync {
        wal: bool,
    },
    /// The workload was told that this is stored.
    Told(String),
}

/// What happens to the IO of the store.
#[derive(Debug, Default)]
pub(super) enum Mode {
    #[default]
    Pass,
    Record(Vec<Entry>),
    /// The operation that `left` counts down to fails; if `lasting`, all after it too.
    Fail {
        left: u64,
        full: bool,
        lasting: bool,
        hit: Option<&'static str>,
    },
    /// The process ends there.
    End {
        left: u64,
    },
}

static MODE: Mutex<Mode> = Mutex::new(Mode::Pass);

pub(super) fn install() {
    vfs::register::<Shim>().unwrap();
    crate::store::disk::checksum::install();
}

/// Sets what happens from now on; answers what was.
pub(super) fn set(mode: Mode) -> Mode {
    std::mem::replace(&mut *MODE.lock().unwrap_or_else(PoisonError::into_inner), mode)
}

pub(super) fn told(what: String) {
    if let Mode::Record(log) = &mut *MODE.lock().unwrap_or_else(PoisonError::into_inner) {
        log.push(Entry::Told(what));
    }
}

/// The operation that failed, if the time came.
pub(super) fn hit() -> Option<&'static str> {
    match &*MODE.lock().unwrap_or_else(PoisonError::into_inner) {
        Mode::Fail { hit, .. } => *hit,
        _ => None,
    }
}

struct Shim {
    /// The message store; other databases are let through.
    ours: bool,
    wal: bool,
}

impl Shim {
    /// Counts an operation; the code with which it fails, if it does.
    fn meet(&self, what: &'static str, code: Code, entry: impl FnOnce() -> Option<Entry>) -> Option<Code> {
        if !self.ours {
            return None;
        }
        match &mut *MODE.lock().unwrap_or_else(PoisonError::into_inner) {
            Mode::Pass => None,
            Mode::Record(log) => {
                log.extend(entry());
                None
            }
            Mode::Fail { left, full, lasting, hit } => {
                *left = left.saturating_sub(1);
                if *left > 0 || (hit.is_some() && !*lasting) {
                    return None;
                }
                if what == "sync" {
                    // The last word before the process ends.
                    println!("failed sync");
                }
                hit.get_or_insert(what);
                Some(if *full && what == "write" { ffi::SQLITE_FULL } else { code })
            }
            Mode::End { left } => {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    println!("ended at {what}");
                    std::process::abort();
                }
                None
            }
        }
    }
}

impl Layer for Shim {
    const NAME: &'static CStr = c"shim";

    fn open(path: PathBuf, kind: FileKind) -> Self {
        let name = path.file_name().unwrap().to_string_lossy();
        Self { ours: name.starts_with("messages.db") || name.starts_with("prekeys.db"), wal: kind == FileKind::Wal }
    }

    fn read(&mut self, below: &Below, buffer: &mut [u8], offset: i64) -> Code {
        self.meet("read", ffi::SQLITE_IOERR_READ, || None).unwrap_or_else(|| below.read(buffer, offset))
    }

    fn write(&mut self, below: &Below, bytes: &[u8], offset: i64) -> Code {
        let (wal, at) = (self.wal, usize::try_from(offset).unwrap());
        let entry = || Some(Entry::Write { wal, offset: at, bytes: bytes.to_vec() });
        self.meet("write", ffi::SQLITE_IOERR_WRITE, entry).unwrap_or_else(|| below.write(bytes, offset))
    }

    fn sync(&mut self, below: &Below, flags: c_int) -> Code {
        let wal = self.wal;
        let entry = || Some(Entry::Sync { wal });
        self.meet("sync", ffi::SQLITE_IOERR_FSYNC, entry).unwrap_or_else(|| below.sync(flags))
    }

    fn truncate(&mut self, below: &Below, size: i64) -> Code {
        let (wal, to) = (self.wal, usize::try_from(size).unwrap());
        let entry = || Some(Entry::Truncate { wal, size: to });
        self.meet("truncate", ffi::SQLITE_IOERR_TRUNCATE, entry).unwrap_or_else(|| below.truncate(size))
    }
}

/// The two files as a disk holds them.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    durable: [Vec<u8>; 2],
    pending: [Vec<Entry>; 2],
}

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

impl Disk {
    pub fn new(database: Vec<u8>) -> Self {
        Self { durable: [database, Vec::new()], pending: Default::default() }
    }

    /// One thing more happened.
    pub fn play(&mut self, entry: &Entry) {
        match entry {
            Entry::Write { wal, .. } | Entry::Truncate { wal, .. } => {
                self.pending[usize::from(*wal)].push(entry.clone())
            }
            Entry::Sync { wal } => {
                let file = usize::from(*wal);
                for entry in std::mem::take(&mut self.pending[file]) {
                    apply(&mut self.durable[file], &entry, &mut || true);
                }
            }
            Entry::Told(_) => {}
        }
    }

    /// What is there after a power cut: all that was synced, and of the rest each sector by `luck`.
    pub fn cut(&self, mut luck: impl FnMut() -> bool) -> [Vec<u8>; 2] {
        let mut files = self.durable.clone();
        for (file, pending) in files.iter_mut().zip(&self.pending) {
            for entry in pending {
                apply(file, entry, &mut luck);
            }
        }
        files
    }
}

fn apply(file: &mut Vec<u8>, entry: &Entry, luck: &mut impl FnMut() -> bool) {
    match entry {
        Entry::Write { offset, bytes, .. } => {
            let mut at = 0;
            while at < bytes.len() {
                // Up to the end of the sector.
                let end = bytes.len().min(at + SECTOR - (offset + at) % SECTOR);
                if luck() {
                    let (from, to) = (offset + at, offset + end);
                    if file.len() < to {
                        file.resize(to, 0);
                    }
                    file[from..to].copy_from_slice(&bytes[at..end]);
                }
                at = end;
            }
        }
        Entry::Truncate { size, .. } if luck() => file.truncate(*size),
        _ => {}
    }
}
