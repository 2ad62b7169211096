//! The data directory: made, checked, locked; and the copy that is kept of a database before its schema changes.

use std::fs::File;
use std::path::{Path, PathBuf};

use daemonkit::folder;
use nix::unistd::{AccessFlags, access};
use proto::fault::point;
use rusqlite::{Connection, params};

use crate::store::error::{BackupError, OpenError};

/// Takes the data directory for this process alone.
pub(in crate::store) fn lock_data_dir(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::DataDir { path: path.to_owned(), source };
    if !path.exists() {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(failed)?;
    }
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().map_err(failed)?) & 0o777;
        if mode & 0o022 != 0 {
            return Err(OpenError::Permissions { path: path.to_owned(), mode });
        }
    }
    let file = File::options().create(true).truncate(false).write(true).open(path.join("lock")).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Locked(path.to_owned())),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Whether [`lock_data_dir`] would succeed; nothing is made or kept.
pub(in crate::store) fn check(path: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, source| OpenError::DataDir { path: path.to_owned(), source };
    if path.symlink_metadata().is_err() {
        return folder::can_be_made(path).map_err(|(path, source)| OpenError::DataDir { path, source });
    }
    let meta = path.metadata().map_err(|source| failed(path, source))?;
    if !meta.is_dir() {
        return Err(failed(path, std::io::ErrorKind::NotADirectory.into()));
    }
    let mode = std::os::unix::fs::MetadataExt::mode(&meta) & 0o777;
    if mode & 0o022 != 0 {
        return Err(OpenError::Permissions { path: path.to_owned(), mode });
    }
    access(path, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|error| failed(path, error.into()))?;
    let lock = path.join("lock");
    match folder::is_free(&lock) {
        Ok(true) => Ok(()),
        Ok(false) => Err(OpenError::Locked(path.to_owned())),
        Err(source) => Err(failed(&lock, source)),
    }
}

/// Whether a write-ahead log with something in it lies beside the database: its last end was not clean.
pub(in crate::store) fn has_log(database: &Path) -> bool {
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// Copies the database to `directory.db.v1.bak` (of schema 1), and returns once the copy is durable. One that lies there
/// already is replaced: it is of an upgrade that did not come to its end, and holds no more than this one does.
pub(in crate::store) fn back_up(connection: &Connection, path: &Path, schema: i64) -> Result<(), OpenError> {
    let mut target = path.as_os_str().to_owned();
    target.push(format!(".v{schema}.bak"));
    let target = PathBuf::from(target);
    copy(connection, &target).map_err(|source| OpenError::Backup { path: target.clone(), source })
}

fn copy(connection: &Connection, target: &Path) -> Result<(), BackupError> {
    let mut half = target.as_os_str().to_owned();
    half.push(".part");
    let half = PathBuf::from(half);
    match std::fs::remove_file(&half) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    point("directory.upgrade.before_backup");
    connection.execute("VACUUM INTO ?1", params![half.to_string_lossy()])?;
    point("directory.upgrade.backup_written");
    File::open(&half)?.sync_all()?;
    std::fs::rename(&half, target)?;
    if let Some(folder) = target.parent() {
        File::open(folder)?.sync_all()?;
    }
    point("directory.upgrade.backup_kept");
    Ok(())
}
