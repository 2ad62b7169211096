//! A temporary folder for one test: homes, data, sockets and logs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Keeps the folder of every test when set to anything.
pub const KEEP_VARIABLE: &str = "KEEP_TEST_DIRS";

/// A temporary folder, deleted at the end unless the test fails.
///
/// Its path is short, because the path of a Unix socket is limited to 107 bytes.
#[derive(Debug)]
pub struct Place {
    folder: Option<TempDir>,
    path: PathBuf,
}

impl Place {
    /// A new one.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("chat.")
            .rand_bytes(8)
            .tempdir_in("/tmp")
            .context("cannot make a temporary folder in /tmp")?;
        // Other users may pass through, so that tests with a second uid meet the daemon's own walls, not this one.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).context("cannot open the folder")?;
        let path = folder.path().to_path_buf();
        Ok(Self { folder: Some(folder), path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made if missing, of mode 0700.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        private_folder(&path)?;
        Ok(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let keep = std::thread::panicking() || std::env::var_os(KEEP_VARIABLE).is_some();
        if let Some(folder) = self.folder.take()
            && keep
        {
            eprintln!("kept: {}", folder.keep().display());
        }
    }
}

/// Makes a folder of mode 0700 with all its parents.
///
/// # Errors
/// When it cannot be made.
pub fn private_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot set the mode of {}", path.display()))
}
