//! The right to a socket's path: a lock on a file beside it, `chatd.sock.lock`, which the system gives back whatever ends
//! the process.
//!
//! Whether somebody answers at a socket cannot decide it alone: between `bind` and `listen` a socket refuses as a dead one
//! does, and whoever looks at that moment would take it away.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How often the file may be taken away by one that stops while it is opened here.
const ATTEMPTS: usize = 100;

/// Held as long as the socket is; the file is removed when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    file: File,
    path: PathBuf,
}

impl Claim {
    /// Takes it for the socket at `socket`; `None` when another process has it.
    pub(super) fn take(socket: &Path) -> io::Result<Option<Self>> {
        let path = Self::path_for(socket);
        for _ in 0..ATTEMPTS {
            let mut options = File::options();
            options
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
            let file = options.open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
                Err(std::fs::TryLockError::Error(error)) => return Err(error),
            }
            // Its owner may have removed the file between the two steps, and a lock on what nobody sees binds nobody.
            if is_at(&file, &path) {
                return Ok(Some(Self { file, path }));
            }
        }
        Ok(None)
    }

    /// Where the file is.
    pub(super) fn path_for(socket: &Path) -> PathBuf {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        path.into()
    }

    /// Whether others who look for it find this one.
    pub(super) fn is_there(&self) -> bool {
        is_at(&self.file, &self.path)
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    let ours = file.metadata().map(identity).ok();
    ours.is_some() && ours == std::fs::symlink_metadata(path).map(identity).ok()
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the lock of the socket");
        }
    }
}
