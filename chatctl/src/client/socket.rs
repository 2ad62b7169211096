//! Connecting to the daemon, and saying clearly why that does not work. Where sockets are is [`proto::places`]'s.

use std::fmt::Write as _;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use proto::places;
use proto::rpc::client::{Client, ClientError};

use crate::failure::{Exit, Failure};

/// Connects to the first socket that answers, and says which.
///
/// # Errors
/// Exit 3, with every socket tried and what to do.
pub async fn connect(explicit: Option<&Path>) -> Result<(Client, PathBuf), Failure> {
    let paths = places::sockets(explicit).map_err(|error| Failure::Usage(error.to_string()))?;
    let mut tried = Vec::with_capacity(paths.len());
    for path in paths {
        match Client::connect(&path).await {
            Ok(client) => return Ok((client, path)),
            // Somebody listens there, and has more to accept than the system lets wait.
            Err(error @ ClientError::Connect { .. }) if is_full(&error) => return Err(error.into()),
            Err(ClientError::Connect { source, .. }) => tried.push((path, source)),
            Err(other) => return Err(other.into()),
        }
    }
    Err(unreachable(&tried))
}

fn is_full(error: &ClientError) -> bool {
    matches!(error, ClientError::Connect { source, .. } if source.kind() == io::ErrorKind::WouldBlock)
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
        Ok(meta) if meta.file_type().is_socket() && may_join(&meta) => {
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

fn may_join(meta: &std::fs::Metadata) -> bool {
    let own_group = User::from_uid(Uid::from_raw(meta.uid())).ok().flatten().map(|user| user.gid.as_raw());
    is_for_joining(meta.mode(), meta.uid(), meta.gid(), own_group, Uid::effective().as_raw())
}

/// Whether the group of a closed socket is there to let people in: one that a service has made for its socket, never root's,
/// nor another user's own. A daemon's own files have the group of their owner.
fn is_for_joining(mode: u32, owner: u32, group: u32, group_of_owner: Option<u32>, me: u32) -> bool {
    let for_group_alone = mode & 0o060 == 0o060 && mode & 0o006 == 0;
    for_group_alone && owner != me && group != 0 && group_of_owner != Some(group)
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
    fn only_a_group_made_for_the_socket_is_one_to_join() {
        // (mode, owner, group, group of the owner, me)
        assert!(is_for_joining(0o660, 0, 970, Some(0), 1_000), "root's, open to a group made for it");
        assert!(is_for_joining(0o660, 990, 970, Some(990), 1_000), "a service's");
        assert!(is_for_joining(0o660, 990, 970, None, 1_000), "of an owner that has no entry");
        for (why, (mode, owner, group, own, me)) in [
            ("root's own group", (0o660, 0, 0, Some(0), 1_000)),
            ("root's group, whoever owns it", (0o660, 990, 0, Some(990), 1_000)),
            ("a user's own group", (0o660, 1_001, 1_001, Some(1_001), 1_000)),
            ("closed to its group", (0o600, 990, 970, Some(990), 1_000)),
            ("readable alone lets nobody connect", (0o640, 990, 970, Some(990), 1_000)),
            ("open to all: the group is not what is missing", (0o666, 990, 970, Some(990), 1_000)),
            ("mine: a group changes nothing", (0o660, 1_000, 970, Some(1_000), 1_000)),
        ] {
            assert!(!is_for_joining(mode, owner, group, own, me), "{why}");
        }
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
