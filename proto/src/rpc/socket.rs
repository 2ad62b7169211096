//! How to connect to a daemon: over a Unix socket, on Windows a named pipe.
//!
//! Not its job: where the socket is ([`crate::places`]), making the socket and its permissions (chatd), and what is said over it ([`super::client`]).

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
#[cfg(not(unix))]
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a socket's path at most: `sun_path` of unix(7) holds 108, the last of which is zero.
pub const MAX_PATH_BYTES: usize = 107;

/// Connects to the daemon at `path`. As long as more clients want in than the system lets wait, it waits for its turn, ten
/// seconds at most.
///
/// # Errors
/// The system's: `NotFound` and `ConnectionRefused` mean that no daemon runs there, `PermissionDenied` that the caller
/// may not use it, `WouldBlock` that its turn did not come; `InvalidInput`, that the path is longer than [`MAX_PATH_BYTES`];
/// `Other`, that somebody listens who is not to be trusted.
pub async fn connect(path: &Path) -> io::Result<Stream> {
    #[cfg(unix)]
    let stream = queue::connect(path).await?;
    #[cfg(not(unix))]
    let stream = Stream::connect(path.to_fs_name::<GenericFilePath>()?).await?;
    #[cfg(unix)]
    if let Some(uid) = stream.peer_creds()?.euid()
        && !trust::is_trusted(path, uid)
    {
        return Err(io::Error::other(format!(
            "user {uid} listens there, who is neither you nor root, nor the owner of a folder that root made for it: \
             not connected"
        )));
    }
    Ok(stream)
}

/// Connecting when others crowd in. A Unix socket whose queue is full is not "in progress", as a TCP socket is: it has to be
/// connected again, and interprocess 2.4 hands it out unconnected (connect(2), EAGAIN).
#[cfg(unix)]
mod queue {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;
    use std::time::Duration;

    use interprocess::local_socket::tokio::Stream;
    use interprocess::os::unix::uds_local_socket::tokio::Stream as UdsStream;
    use socket2::{Domain, SockAddr, Socket, Type};

    /// What a queue of clients at full strength is let wait.
    const TURN: Duration = Duration::from_secs(10);

    pub(super) async fn connect(path: &Path) -> io::Result<Stream> {
        let address = SockAddr::unix(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let socket = match socket.connect(&address) {
            Ok(()) => socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // The system keeps those who wait in order; who asks again and again only comes last.
                let wait = move || in_turn(&socket, &address).map(|()| socket);
                tokio::task::spawn_blocking(wait).await.map_err(io::Error::other)??
            }
            Err(error) => return Err(error),
        };
        UdsStream::try_from(OwnedFd::from(socket)).map(Stream::from)
    }

    fn in_turn(socket: &Socket, address: &SockAddr) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        socket.set_write_timeout(Some(TURN))?;
        socket.connect(address)?;
        socket.set_write_timeout(None)?;
        socket.set_nonblocking(true)
    }
}

/// Who may listen at a socket: whoever listens is told passphrases and recovery keys.
#[cfg(unix)]
mod trust {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    /// The caller itself, root, or the owner of the socket's folder if only root could have made that folder.
    pub(super) fn is_trusted(path: &Path, uid: u32) -> bool {
        if uid == 0 || uid == nix::unistd::geteuid().as_raw() {
            return true;
        }
        let Ok(folder) = std::path::absolute(path).and_then(|path| path.parent().unwrap_or(&path).canonicalize())
        else {
            return false;
        };
        let is_closed = |folder: &Path, owner: u32| {
            std::fs::metadata(folder).is_ok_and(|meta| meta.uid() == owner && meta.mode() & 0o022 == 0)
        };
        is_closed(&folder, uid) && folder.ancestors().skip(1).all(|above| is_closed(above, 0))
    }
}

/// One direction of a connection. The connection closes when both are dropped.
#[derive(Debug)]
pub struct Half(Arc<Stream>);

/// A connection as two values, one to read from and one to write to.
pub fn split(stream: Stream) -> (Half, Half) {
    let stream = Arc::new(stream);
    (Half(Arc::clone(&stream)), Half(stream))
}

impl AsyncRead for Half {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Half {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self.0).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self.0).poll_shutdown(cx)
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::path::Path;

    use interprocess::local_socket::tokio::prelude::*;

    use super::trust::is_trusted;

    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
        listener.listen(0).unwrap();
        let first = super::connect(&path).await.unwrap();
        let mut second = tokio::spawn({
            let path = path.clone();
            async move { super::connect(&path).await }
        });
        // There is no place for it, and it says so neither with an error nor with a connection that is none.
        assert!(tokio::time::timeout(std::time::Duration::from_millis(200), &mut second).await.is_err());
        listener.accept().unwrap();
        let second = second.await.unwrap().unwrap();
        assert!(second.peer_creds().is_ok());
        drop(first);
    }

    /// A user that this machine does not have.
    const SERVICE: u32 = 23_004;

    #[test]
    fn whose_folder_only_root_could_have_made_is_trusted() {
        let me = nix::unistd::geteuid().as_raw();
        assert!(
            is_trusted(Path::new("/tmp/s"), 0) && is_trusted(Path::new("/tmp/s"), me),
            "root and oneself, anywhere"
        );
        // Not /tmp, where everybody makes folders.
        let Ok(run) = tempfile::tempdir_in("/run") else {
            assert_ne!(me, 0, "root can make folders there");
            eprintln!("SKIPPED: needs root, to make folders of others");
            return;
        };
        set_permissions(run.path(), Permissions::from_mode(0o755)).unwrap();
        let make = |folder: &Path, owner: u32, mode: u32| {
            create_dir(folder).unwrap();
            set_permissions(folder, Permissions::from_mode(mode)).unwrap();
            chown(folder, Some(owner), Some(owner)).unwrap();
        };
        let own = run.path().join("own");
        make(&own, SERVICE, 0o750);
        assert!(is_trusted(&own.join("sock"), SERVICE), "as systemd makes /run/chatd");
        assert!(!is_trusted(&own.join("sock"), SERVICE + 1), "another user's");
        // One that its owner could have made, below it.
        make(&own.join("deeper"), SERVICE, 0o750);
        assert!(!is_trusted(&own.join("deeper/sock"), SERVICE));
        for (name, owner, mode, why) in [
            ("group", SERVICE, 0o770, "its group may put a socket there"),
            ("all", SERVICE, 0o777, "everybody may"),
            ("sticky", SERVICE, 0o1777, "everybody may, as in /tmp"),
            ("roots", 0, 0o755, "root's folder is root's"),
        ] {
            make(&run.path().join(name), owner, mode);
            assert!(!is_trusted(&run.path().join(name).join("sock"), SERVICE), "{name}: {why}");
        }
        // A link is as good as what it shows to; and what a folder above lets others exchange is nobody's.
        symlink(&own, run.path().join("link")).unwrap();
        symlink(run.path().join("group"), run.path().join("to-group")).unwrap();
        assert!(is_trusted(&run.path().join("link/sock"), SERVICE));
        assert!(!is_trusted(&run.path().join("to-group/sock"), SERVICE));
        set_permissions(run.path(), Permissions::from_mode(0o775)).unwrap();
        assert!(!is_trusted(&own.join("sock"), SERVICE), "a group may exchange the folder");
        assert!(!is_trusted(&run.path().join("missing/sock"), SERVICE));
    }
}
