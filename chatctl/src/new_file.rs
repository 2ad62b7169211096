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
pub struct AtomicFile {
    file: File,
    partial: PathBuf,
    path: PathBuf,
    consequence: &'static str,
}

impl AtomicFile {
    /// Whether one could be begun here, as far as can be told without making it.
    pub fn may_create(path: &Path, consequence: &'static str) -> Result<(), Failure> {
        let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
        let error = if path.file_name().is_none() {
            io::ErrorKind::InvalidInput.into()
        } else if fs::symlink_metadata(path).is_ok() {
            io::ErrorKind::AlreadyExists.into()
        } else {
            match nix::unistd::access(parent, nix::unistd::AccessFlags::W_OK) {
                Ok(()) => return Ok(()),
                Err(error) => io::Error::from(error),
            }
        };
        Err(failed("create", path, &error, consequence))
    }

    /// Begins a new file.
    pub fn create(path: &Path, consequence: &'static str) -> Result<Self, Failure> {
        Self::may_create(path, consequence)?;
        let name = path.file_name().unwrap_or_default();
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
            .and_then(|()| name(&self.partial, &self.path, |from, to| fs::hard_link(from, to)))
            .and_then(|()| File::open(directory)?.sync_all());
        named.map_err(|error| failed("write", &self.path, &error, self.consequence))
    }
}

/// Gives a file its name, if nobody has it.
fn name(from: &Path, to: &Path, link: impl Fn(&Path, &Path) -> io::Result<()>) -> io::Result<()> {
    // A link, unlike a rename, fails when the name is taken.
    match link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {}
        done => return done,
    }
    // FAT and some network file systems have no links.
    #[cfg(target_os = "linux")]
    {
        use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
        match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS | nix::errno::Errno::EOPNOTSUPP) => {}
            done => return done.map_err(io::Error::from),
        }
    }
    // The last resort: between the look and the rename somebody could be quicker.
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

impl Drop for AtomicFile {
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
        let mut file = AtomicFile::create(&path, "nothing was done").unwrap();
        file.write(b"half").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "an unfinished one leaves nothing");
        let mut file = AtomicFile::create(&path, "nothing was done").unwrap();
        file.write(b"whole").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_system_without_links_keeps_it_too() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("partial"), folder.path().join("whole"));
        let fat = |_: &Path, _: &Path| Err(io::Error::from(nix::errno::Errno::EPERM));
        fs::write(&from, "backup").unwrap();
        name(&from, &to, fat).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"backup");
        fs::write(&from, "another").unwrap();
        assert_eq!(name(&from, &to, fat).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"backup", "what is there stays");
    }

    #[test]
    fn what_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alice.age");
        fs::write(&path, "old").unwrap();
        let failure = AtomicFile::create(&path, "nothing was done").err().unwrap();
        assert!(failure.to_string().ends_with("nothing was done"), "{failure}");
        fs::remove_file(&path).unwrap();
        let file = AtomicFile::create(&path, "nothing was done").unwrap();
        fs::write(&path, "quicker").unwrap();
        assert!(file.finish().is_err());
        assert_eq!(fs::read(&path).unwrap(), b"quicker");
    }
}
