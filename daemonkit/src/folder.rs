//! A data folder as a start would find it, looked at without changing anything: for `--check` of both daemons.

use std::ffi::CString;
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, Gid, Uid, User, access, geteuid, initgroups, setgid, setgroups, setuid};

/// root becomes the user to whom a data folder belongs, if it is another's: a service is looked at as whoever will run it. Nobody else is
/// changed. To be called before there are threads.
///
/// # Errors
/// What the system said.
pub fn become_owner(path: &Path) -> Result<(), Error> {
    let Ok(folder) = path.symlink_metadata() else { return Ok(()) };
    if !geteuid().is_root() || folder.uid() == 0 {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(folder.uid()), Gid::from_raw(folder.gid()));
    match User::from_uid(uid)? {
        Some(user) => initgroups(&CString::new(user.name)?, user.gid).and_then(|()| setgid(user.gid))?,
        None => setgroups(&[]).and_then(|()| setgid(gid))?,
    }
    Ok(setuid(uid)?)
}

/// Whether this user could make a folder that is not there: the nearest one above it that exists must be one to write to.
///
/// # Errors
/// That one, and why not.
pub fn can_be_made(path: &Path) -> Result<(), (PathBuf, Error)> {
    let there = path.ancestors().skip(1).find(|above| above.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    let failed = |error| (there.to_owned(), error);
    if !std::fs::metadata(there).map_err(failed)?.is_dir() {
        return Err(failed(ErrorKind::NotADirectory.into()));
    }
    access(there, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| failed(error.into()))
}

/// Whether nobody holds this lock file; it is given back at once, and not made.
///
/// # Errors
/// When a start could not lock it either: only a file that is not there is as good as free.
pub fn is_free(lock: &Path) -> Result<bool, Error> {
    let file = match File::options().write(true).open(lock) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        opened => opened?,
    };
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_that_is_not_there_is_as_good_as_free() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock");
        assert!(is_free(&lock).unwrap() && !lock.exists());
        let held = File::create(&lock).unwrap();
        assert!(is_free(&lock).unwrap() && is_free(&lock).unwrap(), "it is given back");
        held.lock().unwrap();
        assert!(!is_free(&lock).unwrap());
        // What a start cannot open is not free.
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        assert_eq!(is_free(&folder.path().join("folder")).unwrap_err().kind(), ErrorKind::IsADirectory);
        assert!(is_free(&lock.join("below")).is_err());
    }

    #[test]
    fn a_folder_can_be_made_below_a_folder_only() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        File::create(&file).unwrap();
        assert!(can_be_made(&folder.path().join("a/b/c")).is_ok());
        let (path, error) = can_be_made(&file.join("a")).unwrap_err();
        assert_eq!((path, error.kind()), (file, ErrorKind::NotADirectory));
        assert!(!folder.path().join("a").exists());
    }
}
