//! Files that hold secrets: new ones, that nobody else can read.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::failure::{Exit, Failure};

fn failed(what: &str, path: &Path, error: &io::Error, consequence: &str) -> Failure {
    Failure::Other {
        exit: Exit::Failed,
        text: format!("cannot {what} {}: {error}; {consequence}", path.display()),
        hint: (what == "create").then(|| "name a file that does not exist yet, in a directory that does".to_owned()),
    }
}

/// A file that does not exist yet; `consequence` is what is said to be so when it cannot be made.
pub fn create(path: &Path, consequence: &str) -> Result<File, Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| failed("create", path, &error, consequence))
}

/// A file that appears under its name when it is whole, and not before. Gone when it is dropped unfinished.
pub struct Whole {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    consequence: &'static str,
}

impl Whole {
    /// Begins a new file.
    pub fn create(path: &Path, consequence: &'static str) -> Result<Self, Failure> {
        let exists = || io::Error::from(io::ErrorKind::AlreadyExists);
        let Some(name) = path.file_name() else {
            return Err(failed("create", path, &io::ErrorKind::InvalidInput.into(), consequence));
        };
        if fs::symlink_metadata(path).is_ok() {
            return Err(failed("create", path, &exists(), consequence));
        }
        let mut partial = std::ffi::OsString::from(".");
        partial.push(name);
        partial.push(format!(".{}", std::process::id()));
        let partial = path.with_file_name(partial);
        let file = create(&partial, consequence)?;
        Ok(Self { file, partial, path: path.to_owned(), consequence })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| failed("write", &self.path, &error, self.consequence))
    }

    /// Gives it its name, durable when this returns. A file that has come there meanwhile stays.
    pub fn finish(self) -> Result<(), Failure> {
        let directory = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let named = self
            .file
            .sync_all()
            // A link, unlike a rename, fails when the name is taken.
            .and_then(|()| fs::hard_link(&self.partial, &self.path))
            .and_then(|()| File::open(directory)?.sync_all());
        named.map_err(|error| failed("write", &self.path, &error, self.consequence))
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.partial);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_there_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.age");
        let mut file = Whole::create(&path, "nothing was done").unwrap();
        file.write(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "an unfinished one leaves nothing");
        let mut file = Whole::create(&path, "nothing was done").unwrap();
        file.write(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.age");
        fs::write(&path, "old").unwrap();
        let failure = Whole::create(&path, "nothing was done").err().unwrap();
        assert!(failure.to_string().ends_with("nothing was done"), "{failure}");
        fs::remove_file(&path).unwrap();
        let file = Whole::create(&path, "nothing was done").unwrap();
        fs::write(&path, "quicker").unwrap();
        assert!(file.finish().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"quicker");
    }
}
