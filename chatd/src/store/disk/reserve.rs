//! Room on the disk: a ballast file that is given up when the disk fills, so that what frees space can still be stored.
//!
//! Deleting a row writes to the disk too. When it is full, the ballast goes, and with the room that it leaves,
//! acknowledgements, receipts, reading marks and deletions still commit, while what would need more for good (new messages,
//! in and out) is refused until there is room again.
//!
//! Not the job: which operation needs room; it asks (`Tx::needs_room`).

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tokio::sync::watch;

/// Bytes of the ballast: hundreds of commits that only acknowledge and delete.
pub const BALLAST_BYTES: u64 = 8 << 20;
/// The disk is asked no more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The file's name in the data directory.
const NAME: &str = "ballast";

/// The disk under a data directory; one for all its accounts.
#[derive(Debug)]
pub struct Space {
    folder: PathBuf,
    low: AtomicBool,
    looked: Mutex<Option<Instant>>,
    changed: watch::Sender<bool>,
}

impl Space {
    /// Looks at the disk, and makes the ballast or gives it up. Never fails: a disk in trouble is one with too little room.
    #[must_use]
    pub fn open(data_dir: &Path) -> Arc<Self> {
        let space = Self {
            folder: data_dir.to_owned(),
            low: AtomicBool::new(false),
            looked: Mutex::default(),
            changed: watch::Sender::new(false),
        };
        space.look();
        Arc::new(space)
    }

    /// Whether there is too little room for what is not going to free some. Asks the disk once a second at most.
    pub fn look(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return self.is_low();
        }
        *looked = Some(Instant::now());
        let Some(free) = self.free() else { return self.is_low() };
        if self.ballast().exists() && !self.is_low() {
            if free < BALLAST_BYTES {
                self.give_up();
            }
        } else if free < 2 * BALLAST_BYTES {
            self.give_up();
        } else {
            match self.make() {
                Ok(()) => self.set(false),
                Err(error) => {
                    tracing::warn!(%error, "there seems to be room, but not for the ballast");
                    self.give_up();
                }
            }
        }
        self.is_low()
    }

    /// The answer of the last look.
    pub fn is_low(&self) -> bool {
        self.low.load(Ordering::Acquire)
    }

    /// A write found the disk full.
    pub fn full(&self) {
        if self.is_low() {
            return;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        // Room may have come already, but what failed a moment ago is not tried again at once.
        *looked = Some(Instant::now());
        self.give_up();
    }

    /// Tells when there is too little room (`true`), and when there is enough again.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.changed.subscribe()
    }

    /// Bytes that are free beyond what the ballast must have; `None` if the system does not say.
    pub fn spare(&self) -> Option<u64> {
        Some(self.free()?.saturating_sub(2 * BALLAST_BYTES))
    }

    /// What to tell people while there is too little room.
    pub fn trouble(&self) -> Option<String> {
        self.is_low().then(|| {
            format!(
                "the disk under {} is full: only what frees space is stored; free {} MiB or more",
                self.folder.display(),
                (2 * BALLAST_BYTES) >> 20
            )
        })
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join(NAME)
    }

    fn free(&self) -> Option<u64> {
        match nix::sys::statvfs::statvfs(&self.folder) {
            Ok(stat) => Some(stat.blocks_available().saturating_mul(stat.fragment_size())),
            Err(error) => {
                tracing::warn!(%error, folder = %self.folder.display(), "cannot ask how much room the disk has");
                None
            }
        }
    }

    fn give_up(&self) {
        match std::fs::remove_file(self.ballast()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(%error, "the ballast cannot be removed");
            }
            _ => {}
        }
        self.set(true);
    }

    fn set(&self, low: bool) {
        if self.low.swap(low, Ordering::AcqRel) == low {
            return;
        }
        if let Some(text) = self.trouble() {
            tracing::error!(text, "the disk has too little room");
        } else {
            tracing::info!("there is room on the disk again");
        }
        self.changed.send_replace(low);
    }

    /// Really allocated: a hole would give no room back.
    fn make(&self) -> std::io::Result<()> {
        let unfinished = self.folder.join(".ballast");
        let made = (|| {
            let file =
                std::fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
            match nix::fcntl::posix_fallocate(&file, 0, BALLAST_BYTES as i64) {
                Ok(()) => Ok(()),
                Err(Errno::EOPNOTSUPP | Errno::EINVAL) => fill(file),
                Err(error) => Err(error.into()),
            }?;
            std::fs::rename(&unfinished, self.ballast())
        })();
        if made.is_err() {
            let _ = std::fs::remove_file(&unfinished);
        }
        made
    }
}

/// For file systems that cannot allocate without writing. Not zeros, which some store as a hole.
fn fill(mut file: std::fs::File) -> std::io::Result<()> {
    use std::io::Write;
    let mut word = 0x9e37_79b9_7f4a_7c15_u64;
    let mut block = Vec::with_capacity(1 << 16);
    for _ in 0..BALLAST_BYTES >> 16 {
        block.clear();
        while block.len() < 1 << 16 {
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            block.extend_from_slice(&word.to_be_bytes());
        }
        file.write_all(&block)?;
    }
    file.sync_all()
}
