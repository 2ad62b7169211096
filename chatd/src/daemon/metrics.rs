//! Writes the daemon's figures to a file, if the configuration names one.
//!
//! Not the job: the figures (`service::health::metrics`). Nothing listens, and nothing is sent anywhere: whoever wants them reads the file.
//!
//! Invariants: a reader finds all of one time, or what was there before; no link is followed; the file goes when the daemon does.

use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::service::Service;
use crate::service::health::metrics;

/// As often as Prometheus asks by default, or more often.
const EVERY: Duration = Duration::from_secs(15);

/// Removes the file when dropped: figures of a daemon that is gone are none.
struct Kept(PathBuf);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes the file again and again; never ends. Without a path, nothing happens.
pub(super) async fn keep(service: &Service, path: Option<PathBuf>) {
    let Some(path) = path else { return std::future::pending().await };
    let kept = Kept(path);
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let (text, path) = (metrics::render(service).await, kept.0.clone());
        let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(often = "metrics", %error, path = %kept.0.display(), "the figures cannot be written");
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".new");
    let beside = path.with_file_name(beside);
    // Left behind by one that was killed, or put there by somebody else.
    match std::fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&beside)?;
    // Whatever the umask says: who reads it is another user.
    file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.write_all(text.as_bytes()).and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&beside);
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_and_no_link_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, victim) = (folder.path().join("m.prom"), folder.path().join("victim"));
        std::fs::write(&victim, "mine").unwrap();
        for link in [&path, &folder.path().join(".m.prom.new")] {
            std::os::unix::fs::symlink(&victim, link).unwrap();
        }
        write(&path, "one\n").unwrap();
        write(&path, "two\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
        assert!(write(&folder.path().join("nowhere/m.prom"), "").is_err());
    }
}
