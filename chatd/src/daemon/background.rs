//! The classic start in the background: whoever starts it gets back to work when the daemon is ready, or is told why it is not.
//!
//! Invariants: the starting process ends only when the daemon has said how it went, or is gone; a pid file is never written
//! through a link or over a file that is none, and goes with the daemon.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use daemonize::{Daemonize, Outcome};
use nix::fcntl::OFlag;

/// What the daemon says when it is ready; anything else is the reason why it will not be.
const READY: &str = "ready";
/// Bytes of a reason at most.
const MAX_REASON_BYTES: u64 = 16 * 1024;
/// Bytes of a pid file at most: a number and a newline.
const MAX_PID_BYTES: u64 = 21;

/// Why there is no daemon in the background.
#[derive(Debug, thiserror::Error)]
pub enum BackgroundError {
    /// The pid file cannot be used.
    #[error("cannot write the pid file {}: {source}", path.display())]
    PidFile {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is there is something else.
    #[error("{} is no pid file of yours (a plain file that is empty or holds a number): nothing was overwritten; name another --pid-file", path.display())]
    NoPidFile {
        /// Where.
        path: PathBuf,
    },
    /// No second process.
    #[error("cannot go to the background: {0}")]
    Fork(String),
    /// The daemon gave a reason.
    #[error("{0}")]
    Failed(String),
    /// The daemon is gone and gave none.
    #[error("the daemon ended before it was ready; {} may tell why", log.display())]
    Died {
        /// Its log.
        log: PathBuf,
    },
}

/// A file that holds the daemon's process id.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl PidFile {
    /// Opens it, before the fork, so that whoever starts the daemon sees what is wrong.
    ///
    /// # Errors
    /// [`BackgroundError::PidFile`], [`BackgroundError::NoPidFile`].
    pub fn open(path: &Path) -> Result<Self, BackgroundError> {
        let failed = |source| BackgroundError::PidFile { path: path.to_owned(), source };
        let none = || BackgroundError::NoPidFile { path: path.to_owned() };
        // A link is not followed, and a FIFO that nobody reads does not hold us.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let opened = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            .custom_flags(flags.bits())
            .open(path);
        let mut file = match opened {
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) => return Err(none()),
            opened => opened.map_err(failed)?,
        };
        let meta = file.metadata().map_err(failed)?;
        let is_ours = meta.is_file() && meta.nlink() == 1 && meta.uid() == nix::unistd::geteuid().as_raw();
        if !is_ours || meta.len() > MAX_PID_BYTES {
            return Err(none());
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|_| none())?;
        if !text.trim().bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(none());
        }
        Ok(Self { path: path.to_owned(), file, is_written: false })
    }

    /// Writes this process's id; from here on the file goes when this is dropped.
    fn write(&mut self) -> Result<(), BackgroundError> {
        use std::io::Seek;
        let result = self.file.set_len(0).and_then(|()| {
            self.file.rewind()?;
            writeln!(self.file, "{}", std::process::id())
        });
        self.is_written = true;
        result.map_err(|source| BackgroundError::PidFile { path: self.path.clone(), source })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let same = |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        let ours = self.file.metadata().and_then(|ours| Ok((ours, std::fs::symlink_metadata(&self.path)?)));
        if self.is_written && ours.is_ok_and(|(ours, there)| same(&ours, &there)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// How a daemon in the background tells its beginning and its end.
#[derive(Debug)]
pub struct Background {
    tell: Option<PipeWriter>,
    pid_file: Option<PidFile>,
}

impl Background {
    /// The daemon answers: whoever started it may go on.
    pub fn ready(&mut self) {
        self.tell(READY);
    }

    /// It will not: they are told why, and find no pid file of it then.
    pub fn failed(&mut self, reason: &str) {
        self.pid_file = None;
        self.tell(reason);
    }

    fn tell(&mut self, text: &str) {
        if let Some(mut pipe) = self.tell.take() {
            // They may have been killed meanwhile; the daemon goes on.
            let _ = pipe.write_all(text.as_bytes());
        }
    }
}

/// Goes to the background, with stdout and stderr in `log`. Returns in the daemon; the process that called it waits until the
/// daemon is ready and ends with success, or returns the error.
///
/// # Errors
/// [`BackgroundError`], in the process that called it.
pub fn enter(log: File, log_path: &Path, pid_file: Option<PidFile>) -> Result<Background, BackgroundError> {
    let fork = |error: &dyn std::fmt::Display| BackgroundError::Fork(error.to_string());
    let (told, tell) = std::io::pipe().map_err(|error| fork(&error))?;
    let output = log.try_clone().map_err(|error| fork(&error))?;
    let daemonize = Daemonize::new().umask(0o077).working_directory("/").stdout(output).stderr(log);
    match daemonize.execute() {
        Outcome::Parent(Err(error)) => Err(fork(&error)),
        Outcome::Parent(Ok(_)) => {
            drop(tell);
            wait(told, log_path).map(|()| std::process::exit(0))
        }
        Outcome::Child(outcome) => {
            drop(told);
            let mut background = Background { tell: Some(tell), pid_file: None };
            let written = outcome
                .map_err(|error| fork(&error))
                .and_then(|_| pid_file.map(|mut file| file.write().map(|()| file)).transpose());
            match written {
                Ok(pid_file) => Ok(Background { pid_file, ..background }),
                Err(error) => {
                    background.failed(&error.to_string());
                    std::process::exit(1);
                }
            }
        }
    }
}

/// Reads what the daemon says; its end without a word is a word, too.
fn wait(told: PipeReader, log: &Path) -> Result<(), BackgroundError> {
    let mut text = Vec::new();
    let read = told.take(MAX_REASON_BYTES).read_to_end(&mut text);
    match String::from_utf8_lossy(&text).as_ref() {
        READY => Ok(()),
        reason if read.is_ok() && !reason.is_empty() => Err(BackgroundError::Failed(reason.to_owned())),
        _ => Err(BackgroundError::Died { log: log.to_owned() }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_overwrites_nothing_and_goes_with_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("chatd.pid"), folder.path().join("precious"));
        std::fs::write(&other, "precious").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        for (what, wrong) in [("a link", &path), ("a text", &other)] {
            let error = PidFile::open(wrong).unwrap_err();
            assert!(matches!(error, BackgroundError::NoPidFile { .. }), "{what}: {error}");
            assert_eq!(std::fs::read(&other).unwrap(), b"precious");
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        assert!(PidFile::open(&path).is_err(), "a second name of another file");
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(PidFile::open(&folder.path().join("no/such")), Err(BackgroundError::PidFile { .. })));
        // What a daemon that was killed left behind is taken over.
        std::fs::write(&path, "123456\n").unwrap();
        let mut file = PidFile::open(&path).unwrap();
        file.write().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        let mut file = PidFile::open(&path).unwrap();
        file.write().unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "7\n").unwrap();
        drop(file);
        assert_eq!(std::fs::read(&path).unwrap(), b"7\n", "somebody else's stays");
    }
}
