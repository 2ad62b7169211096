//! Finding the daemon's socket and saying clearly why there is none.
//!
//! Order: `--socket`, `CHATD_SOCKET` (both arrive as `explicit`), the user's own daemon, the system's.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use proto::rpc::client::{Client, ClientError};

use crate::failure::{Exit, Failure};

/// The system service's socket.
const SYSTEM: &str = "/run/chatd/chatd.sock";

/// Sockets to try, in order.
pub fn candidates(explicit: Option<&Path>, runtime_dir: Option<OsString>, uid: u32) -> Vec<PathBuf> {
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    // Without a login session XDG_RUNTIME_DIR is unset though systemd's directory is there (su, cron, ssh commands).
    let runtime = runtime_dir
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
    vec![runtime.join("chatd/chatd.sock"), PathBuf::from(SYSTEM)]
}

/// Connects to the first socket that answers.
///
/// # Errors
/// Exit 3, with every socket tried and what to do.
pub async fn connect(explicit: Option<&Path>) -> Result<Client, Failure> {
    let paths = candidates(explicit, std::env::var_os("XDG_RUNTIME_DIR"), Uid::effective().as_raw());
    let mut tried = Vec::with_capacity(paths.len());
    for path in paths {
        match Client::connect(&path).await {
            Ok(client) => return Ok(client),
            Err(ClientError::Connect { source, .. }) => tried.push((path, source)),
            Err(other) => return Err(other.into()),
        }
    }
    Err(unreachable(&tried))
}

fn unreachable(tried: &[(PathBuf, io::Error)]) -> Failure {
    // A socket that exists but may not be opened is what the user has to know, whatever else is missing.
    if let Some((path, _)) = tried.iter().find(|(_, e)| e.kind() == io::ErrorKind::PermissionDenied) {
        return denied(path);
    }
    let mut text = "no daemon answers; tried ".to_owned();
    for (n, (path, error)) in tried.iter().enumerate() {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "no such socket".to_owned(),
            io::ErrorKind::ConnectionRefused => "left behind by a daemon that is gone".to_owned(),
            _ => error.to_string(),
        };
        let _ = write!(text, "{}{} ({why})", if n == 0 { "" } else { ", " }, path.display());
    }
    let hint = "start the daemon with `systemctl start chatd`, or run `chatd` as yourself; \
                `--socket PATH` or CHATD_SOCKET names another socket";
    Failure::Other { exit: Exit::Unreachable, text, hint: Some(hint.to_owned()) }
}

fn denied(path: &Path) -> Failure {
    let me = user(Uid::effective().as_raw());
    // When a directory above it is closed, not even its owner can be told.
    let (text, hint) = match path.symlink_metadata() {
        Ok(meta) if meta.mode() & 0o060 != 0 && meta.uid() != Uid::effective().as_raw() => {
            let group = group(meta.gid());
            (
                format!(
                    "not allowed to use the socket {}: it belongs to {} and is open to group {group}",
                    path.display(),
                    user(meta.uid())
                ),
                format!("join the group with `sudo usermod -aG {group} {me}`, then log in again"),
            )
        }
        Ok(meta) => (
            format!("not allowed to use the socket {}: it belongs to {}", path.display(), user(meta.uid())),
            format!("run `chatctl` as {}, or start a daemon of your own: `chatd`", user(meta.uid())),
        ),
        Err(_) => (
            format!("not allowed to reach the socket {}: it lies in a directory of another user", path.display()),
            "use your own daemon (`chatd`), or the system's: --socket /run/chatd/chatd.sock".to_owned(),
        ),
    };
    Failure::Other { exit: Exit::Unreachable, text, hint: Some(hint) }
}

fn user(uid: u32) -> String {
    match User::from_uid(Uid::from_raw(uid)) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

fn group(gid: u32) -> String {
    match Group::from_gid(Gid::from_raw(gid)) {
        Ok(Some(group)) => group.name,
        _ => format!("gid {gid}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn order_of_search() {
        let shown = |explicit: Option<&str>, runtime: Option<&str>| {
            let paths = candidates(explicit.map(Path::new), runtime.map(Into::into), 1000);
            paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(shown(Some("/tmp/a.sock"), Some("/run/user/1000")), "/tmp/a.sock");
        assert_eq!(shown(None, Some("/r")), "/r/chatd/chatd.sock /run/chatd/chatd.sock");
        assert_eq!(shown(None, None), "/run/user/1000/chatd/chatd.sock /run/chatd/chatd.sock");
        assert_eq!(shown(None, Some("")), "/run/user/1000/chatd/chatd.sock /run/chatd/chatd.sock");
    }

    #[test]
    fn names_what_was_tried_and_how_to_start() {
        let failure = unreachable(&[
            ("/a".into(), io::ErrorKind::NotFound.into()),
            ("/b".into(), io::ErrorKind::ConnectionRefused.into()),
        ]);
        assert_eq!(
            failure.to_string(),
            "no daemon answers; tried /a (no such socket), /b (left behind by a daemon that is gone)"
        );
        assert!(failure.hint().unwrap().contains("systemctl start chatd"));
        assert_eq!(failure.exit(), Exit::Unreachable);
    }

    #[test]
    fn a_closed_socket_has_a_message_of_its_own() {
        let failure = unreachable(&[
            ("/nowhere/a".into(), io::ErrorKind::NotFound.into()),
            ("/nowhere/b".into(), io::ErrorKind::PermissionDenied.into()),
        ]);
        assert!(failure.to_string().starts_with("not allowed to reach the socket /nowhere/b"), "{failure}");
        assert_eq!(failure.exit(), Exit::Unreachable);
    }
}
