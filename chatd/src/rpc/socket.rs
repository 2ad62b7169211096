//! Makes the socket: the directory around it, its permissions, and what is left of a daemon that was killed.
//!
//! Invariant: a socket on which somebody answers is never replaced, and what is no socket is never removed.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::tokio::Stream as UdsStream;
use nix::unistd::{Gid, Group, Uid};
use proto::rpc::socket::MAX_PATH_BYTES;

use super::claim::Claim;

/// Clients that may wait to be taken in. Who crowds in fills all of it, and others wait behind that: a queue of the system's
/// usual 4,096 would be seconds.
const BACKLOG: i32 = 128;

/// For whom the socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Its owner: directory 0700, socket 0600.
    Owner,
    /// Everybody, and [`super::Access`] decides: directory 0755, socket 0666.
    Everybody,
    /// The members of a group: directory 0750, socket 0660.
    Group(String),
}

impl Audience {
    fn modes(&self) -> (u32, u32) {
        match self {
            Self::Owner => (0o700, 0o600),
            Self::Everybody => (0o755, 0o666),
            Self::Group(_) => (0o750, 0o660),
        }
    }
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Somebody answers at it.
    #[error("another daemon runs at {}; stop it, or give this one another socket", path.display())]
    AnotherDaemon {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is in the way.
    #[error("{} is not a socket; move it away, or give another path", path.display())]
    NotASocket {
        /// What it is.
        path: PathBuf,
    },
    /// No socket can have such a path.
    #[error("the socket's path has {bytes} bytes, and {MAX_PATH_BYTES} are the most: {}; give a shorter one", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// Others could put a socket of theirs into its place.
    #[error("others than root and this user may write to {}, where the socket would be: {what}; give a folder of your own", folder.display())]
    OpenFolder {
        /// The folder.
        folder: PathBuf,
        /// Whose it is, or its mode.
        what: String,
    },
    /// `socket_group` does not exist.
    #[error("there is no group {group}; make it with `groupadd --system {group}`, or leave socket_group out")]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// The system refused.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A socket that is listened on; its file is removed when dropped.
#[derive(Debug)]
pub struct BoundSocket {
    listener: Listener,
    path: PathBuf,
    audience: Audience,
    /// Device and inode, so that only our own file is removed.
    file: (u64, u64),
    /// Goes over to the one that is bound in this one's place.
    claim: Arc<Claim>,
}

impl BoundSocket {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its file is still there: a clean-up of /run or /tmp, or a wrong `rm`, leaves a daemon that nobody can reach.
    pub(super) fn is_there(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.file)
    }

    /// Another one in its place.
    ///
    /// # Errors
    /// [`SocketError`], also when somebody else listens there now.
    pub(super) async fn again(&self) -> Result<Self, SocketError> {
        bind_with(&self.path, &self.audience, Some(Arc::clone(&self.claim))).await
    }

    /// Who waits to be taken in already.
    pub(super) fn accept_now(&self) -> Option<Stream> {
        let Listener::UdSocket(inner) = &self.listener;
        let (stream, _) = socket2::SockRef::from(inner).accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        UdsStream::try_from(OwnedFd::from(stream)).map(Stream::from).ok()
    }

    pub(super) async fn accept(&self) -> io::Result<Stream> {
        self.listener.accept().await
    }
}

impl Drop for BoundSocket {
    fn drop(&mut self) {
        if self.is_there()
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(%error, path = %self.path.display(), "cannot remove the socket");
        }
    }
}

/// Makes and binds the socket. Of several daemons that come here at once, also with data directories of their own, one
/// gets it. Must be called within a tokio runtime.
///
/// # Errors
/// [`SocketError`].
pub async fn bind(path: &Path, audience: &Audience) -> Result<BoundSocket, SocketError> {
    bind_with(path, audience, None).await
}

async fn bind_with(path: &Path, audience: &Audience, held: Option<Arc<Claim>>) -> Result<BoundSocket, SocketError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SocketError::System { action, path, source }
    };
    let group = usable(path, audience)?;
    let (directory_mode, mode) = audience.modes();
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        prepare_directory(directory, directory_mode, group).map_err(failed("prepare the directory", directory))?;
        closed_to_others(directory)?;
    }
    let claim = match held.filter(|claim| claim.is_there()) {
        Some(claim) => claim,
        None => match Claim::take(path).map_err(failed("lock", &Claim::path_for(path)))? {
            Some(claim) => Arc::new(claim),
            None => return Err(SocketError::AnotherDaemon { path: path.to_owned() }),
        },
    };
    remove_stale(path).await?;
    let name = path.to_fs_name::<GenericFilePath>().map_err(failed("use the path", path))?;
    // Born closed: between bind and chmod nobody else comes in.
    let options = ListenerOptions::new().name(name).mode(0o600).reclaim_name(false);
    let listener = options.create_tokio().map_err(failed("bind", path))?;
    let Listener::UdSocket(inner) = &listener;
    socket2::SockRef::from(inner).listen(BACKLOG).map_err(failed("listen at", path))?;
    let file = std::fs::symlink_metadata(path).map_err(failed("look at", path))?;
    let file = (file.dev(), file.ino());
    let socket = BoundSocket { listener, path: path.to_owned(), audience: audience.clone(), file, claim };
    if let Some(group) = group {
        nix::unistd::chown(path, None, Some(group))
            .map_err(|error| failed("give to the group", path)(io::Error::from(error)))?;
    }
    // The umask masks the mode given to bind, and would take everybody's right to write.
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).map_err(failed("set the mode of", path))?;
    Ok(socket)
}

/// Whether a socket could be made here, without making anything.
///
/// # Errors
/// [`SocketError`].
pub fn check(path: &Path, audience: &Audience) -> Result<(), SocketError> {
    usable(path, audience)?;
    if let Some(directory) = path.parent().filter(|directory| directory.is_dir()) {
        closed_to_others(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Err(SocketError::NotASocket { path: path.to_owned() }),
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            Err(SocketError::AnotherDaemon { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

/// What needs nothing of the disk. The group that the socket is for, if it is for one.
fn usable(path: &Path, audience: &Audience) -> Result<Option<Gid>, SocketError> {
    let bytes = path.as_os_str().len();
    if bytes > MAX_PATH_BYTES {
        return Err(SocketError::TooLong { path: path.to_owned(), bytes });
    }
    match audience {
        Audience::Group(name) => find_group(name).map(Some),
        Audience::Owner | Audience::Everybody => Ok(None),
    }
}

/// In a folder where others may write, they can take the socket away and listen themselves. The sticky bit of /tmp is
/// enough: it keeps them from touching what is not theirs.
fn closed_to_others(folder: &Path) -> Result<(), SocketError> {
    let open = |what: String| Err(SocketError::OpenFolder { folder: folder.to_owned(), what });
    let meta = std::fs::metadata(folder).map_err(|source| SocketError::System {
        action: "look at",
        path: folder.to_owned(),
        source,
    })?;
    if meta.uid() != 0 && meta.uid() != Uid::effective().as_raw() {
        return open(format!("it belongs to user {}", meta.uid()));
    }
    let mode = meta.mode();
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return open(format!("its mode is {:o}", mode & 0o7777));
    }
    Ok(())
}

fn find_group(name: &str) -> Result<Gid, SocketError> {
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| group.gid).ok_or_else(|| SocketError::NoGroup { group: name.to_owned() })
}

/// A directory that is made here, or that is ours and named for us (as systemd's RuntimeDirectory makes it), gets the
/// mode. Any other is left alone: `--socket /tmp/x.sock` must not close /tmp.
fn prepare_directory(directory: &Path, mode: u32, group: Option<Gid>) -> io::Result<()> {
    if !directory.exists() {
        if let Some(parent) = directory.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::DirBuilder::new().mode(0o700).create(directory)?;
    } else {
        let is_named_for_us = directory.file_name().is_some_and(|name| name == "chatd");
        let is_ours = std::fs::metadata(directory)?.uid() == Uid::effective().as_raw();
        if !is_named_for_us || !is_ours {
            return Ok(());
        }
    }
    if let Some(group) = group {
        nix::unistd::chown(directory, None, Some(group))?;
    }
    std::fs::set_permissions(directory, PermissionsExt::from_mode(mode))
}

/// A daemon that was killed leaves its socket behind. Whether one still runs is known only by asking.
async fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed = |action, source| SocketError::System { action, path: path.to_owned(), source };
    let file = match std::fs::symlink_metadata(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", error)),
    };
    if !file.file_type().is_socket() {
        return Err(SocketError::NotASocket { path: path.to_owned() });
    }
    match proto::rpc::socket::connect(path).await {
        Ok(_) => Err(SocketError::AnotherDaemon { path: path.to_owned() }),
        // Its backlog is full: it lives.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketError::AnotherDaemon { path: path.to_owned() })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "removing the socket of a daemon that is gone");
            std::fs::remove_file(path).map_err(|error| failed("remove", error))
        }
        Err(error) => Err(failed("connect to", error)),
    }
}
