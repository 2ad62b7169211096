//! Secrets of 32 bytes in files of their own.
//!
//! The one place of this folder that does IO. A file is written once: creation fails when there is one already, because
//! an identity that is made again is another person to all contacts. A rotation puts one complete file in another's
//! place. What loosely protected files hold is not used: by
//! then someone may have read it.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use zeroize::Zeroizing;

const FILE_MODE: u32 = 0o600;
const DIR_MODE: u32 = 0o700;
/// Permission bits of group and others.
const OTHERS: u32 = 0o077;
const SECRET_BYTES: usize = 32;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is one already; it is left as it is.
    #[error("{path} exists; an existing key is never replaced")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is none.
    #[error("{path} does not exist")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Other users could have read or replaced it.
    #[error("{path} has mode {mode:04o}, so others can get at the key; run: chmod {wanted:o} {path}")]
    Permissions {
        /// The file or directory.
        path: PathBuf,
        /// The mode that it has.
        mode: u32,
        /// The mode that it must have.
        wanted: u32,
    },
    /// It belongs to another user.
    #[error(
        "{path} belongs to uid {owner}, and this program runs as uid {uid}; run it as the owner, or chown the file"
    )]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        uid: u32,
    },
    /// It is no regular file of 32 bytes.
    #[error("{path} is not a key file: {why}; restore it from a backup")]
    Damaged {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file system failed.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

fn io_error<'p>(what: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> KeyFileError + 'p {
    move |source| KeyFileError::Io { what, path: path.to_owned(), source }
}

/// Writes a new key file, durable when this returns. Its directory is made with mode 0700 if there is none.
///
/// # Errors
/// [`KeyFileError::Exists`] when there is a file, whatever it holds; [`KeyFileError::Permissions`] and
/// [`KeyFileError::Owner`] when the directory is open to others; [`KeyFileError::Io`].
pub fn create(path: &Path, secret: &[u8; 32]) -> Result<(), KeyFileError> {
    let directory = directory_of(path)?;
    match DirBuilder::new().mode(DIR_MODE).recursive(true).create(directory) {
        Ok(()) => check(directory, DIR_MODE)?,
        Err(error) => return Err(io_error("create", directory)(error)),
    }
    if fs::symlink_metadata(path).is_ok() {
        return Err(KeyFileError::Exists { path: path.to_owned() });
    }
    let temporary = temporary_of(path);
    // One daemon owns the directory (it holds the lock), so what is left of an earlier attempt is nobody's.
    remove_if_there(&temporary)?;
    let written = write_new(&temporary, secret).and_then(|()| {
        // A link, unlike a rename, fails when the name is taken.
        fs::hard_link(&temporary, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.to_owned() },
            _ => io_error("create", path)(error),
        })
    });
    let removed = remove_if_there(&temporary);
    written?;
    removed?;
    sync_directory(directory)?;
    // The directory itself may be new.
    match directory.parent() {
        Some(parent) if parent != Path::new("") => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Reads a key file.
///
/// # Errors
/// [`KeyFileError::Missing`]; the rest when the file or its directory is not as [`create`] left it.
pub fn load(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyFileError> {
    let missing = || KeyFileError::Missing { path: path.to_owned() };
    let directory = directory_of(path)?;
    // Not through a symbolic link: the permissions that count would be elsewhere. Not blocking: it may be a pipe.
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let mut file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Err(error) => return Err(io_error("open", path)(error)),
    };
    check(directory, DIR_MODE)?;
    let metadata = file.metadata().map_err(io_error("inspect", path))?;
    let damaged = |why| KeyFileError::Damaged { path: path.to_owned(), why };
    if !metadata.is_file() {
        return Err(damaged("it is not a regular file"));
    }
    check_metadata(path, &metadata, FILE_MODE)?;
    if metadata.len() != SECRET_BYTES as u64 {
        return Err(damaged("it is not 32 bytes long"));
    }
    let mut secret = Zeroizing::new([0; SECRET_BYTES]);
    file.read_exact(&mut *secret).map_err(io_error("read", path))?;
    Ok(secret)
}

/// Puts the key file `next` in the place of `path`, durable when this returns: a crash leaves the one or the other.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn replace(next: &Path, path: &Path) -> Result<(), KeyFileError> {
    fs::rename(next, path).map_err(io_error("replace", path))?;
    sync_directory(directory_of(path)?)
}

/// Removes a key file, if there is one, durable when this returns.
///
/// # Errors
/// [`KeyFileError::Io`].
pub fn remove(path: &Path) -> Result<(), KeyFileError> {
    if fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    remove_if_there(path)?;
    sync_directory(directory_of(path)?)
}

fn write_new(path: &Path, secret: &[u8; 32]) -> Result<(), KeyFileError> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(io_error("create", path))?;
    file.write_all(secret).map_err(io_error("write", path))?;
    file.sync_all().map_err(io_error("sync", path))
}

fn sync_directory(directory: &Path) -> Result<(), KeyFileError> {
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(io_error("sync", directory))
}

fn remove_if_there(path: &Path) -> Result<(), KeyFileError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

fn directory_of(path: &Path) -> Result<&Path, KeyFileError> {
    match path.parent() {
        Some(parent) if parent != Path::new("") && path.file_name().is_some() => Ok(parent),
        _ => Err(KeyFileError::Damaged { path: path.to_owned(), why: "a key file needs a directory of its own" }),
    }
}

fn temporary_of(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn check(path: &Path, wanted: u32) -> Result<(), KeyFileError> {
    let metadata = fs::metadata(path).map_err(io_error("inspect", path))?;
    check_metadata(path, &metadata, wanted)
}

fn check_metadata(path: &Path, metadata: &fs::Metadata, wanted: u32) -> Result<(), KeyFileError> {
    let uid = nix::unistd::geteuid().as_raw();
    if metadata.uid() != uid {
        return Err(KeyFileError::Owner { path: path.to_owned(), owner: metadata.uid(), uid });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyFileError::Permissions { path: path.to_owned(), mode, wanted });
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn keys() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys").join("identity");
        (dir, path)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn created_tight_and_read_back() {
        let (_dir, path) = keys();
        create(&path, &[7; 32]).unwrap();
        assert_eq!(*load(&path).unwrap(), [7; 32]);
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 1);
    }

    #[test]
    fn an_existing_identity_is_never_replaced() {
        let (_dir, path) = keys();
        create(&path, &[7; 32]).unwrap();
        assert!(matches!(create(&path, &[8; 32]), Err(KeyFileError::Exists { .. })));
        assert_eq!(*load(&path).unwrap(), [7; 32]);
        // Not even a damaged one.
        fs::write(&path, b"").unwrap();
        assert!(matches!(create(&path, &[8; 32]), Err(KeyFileError::Exists { .. })));
        assert!(matches!(load(&path), Err(KeyFileError::Damaged { .. })));
        // Nor a dangling link.
        fs::remove_file(&path).unwrap();
        symlink("elsewhere", &path).unwrap();
        assert!(matches!(create(&path, &[8; 32]), Err(KeyFileError::Exists { .. })));
    }

    #[test]
    fn what_an_interrupted_attempt_left_is_no_obstacle() {
        let (_dir, path) = keys();
        fs::create_dir(path.parent().unwrap()).unwrap();
        chmod(path.parent().unwrap(), 0o700);
        fs::write(temporary_of(&path), b"half").unwrap();
        create(&path, &[7; 32]).unwrap();
        assert_eq!(*load(&path).unwrap(), [7; 32]);
    }

    #[test]
    fn open_permissions_are_refused_with_the_command_that_mends_them() {
        let (_dir, path) = keys();
        create(&path, &[7; 32]).unwrap();
        chmod(&path, 0o640);
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0640") && error.ends_with(&format!("chmod 600 {}", path.display())), "{error}");
        chmod(&path, 0o600);
        let directory = path.parent().unwrap();
        chmod(directory, 0o755);
        let error = load(&path).unwrap_err().to_string();
        assert!(error.ends_with(&format!("chmod 700 {}", directory.display())), "{error}");
        assert!(matches!(create(&directory.join("other"), &[1; 32]), Err(KeyFileError::Permissions { .. })));
    }

    #[test]
    fn links_pipes_and_nothing() {
        let (_dir, path) = keys();
        assert!(matches!(load(&path), Err(KeyFileError::Missing { .. })));
        create(&path, &[7; 32]).unwrap();
        let link = path.with_file_name("link");
        symlink(&path, &link).unwrap();
        assert!(matches!(load(&link), Err(KeyFileError::Io { what: "open", .. })));
        assert!(matches!(
            load(path.parent().unwrap()),
            Err(KeyFileError::Damaged { .. } | KeyFileError::Permissions { .. })
        ));
        assert!(matches!(load(Path::new("identity")), Err(KeyFileError::Damaged { .. })));
        assert!(matches!(create(Path::new("/"), &[7; 32]), Err(KeyFileError::Damaged { .. })));
    }

    #[test]
    fn another_users_file_is_refused() {
        let (_dir, path) = keys();
        create(&path, &[7; 32]).unwrap();
        if !nix::unistd::geteuid().is_root() {
            return; // only root can give files away
        }
        std::os::unix::fs::chown(&path, Some(65_533), None).unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Owner { owner: 65_533, .. })));
    }
}
