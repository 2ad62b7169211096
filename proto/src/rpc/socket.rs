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
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a socket's path at most: `sun_path` of unix(7) holds 108, the last of which is zero.
pub const MAX_PATH_BYTES: usize = 107;

/// Connects to the daemon at `path`.
///
/// # Errors
/// The system's: `NotFound` and `ConnectionRefused` mean that no daemon runs there, `PermissionDenied` that the caller
/// may not use it; `InvalidInput`, that the path is longer than [`MAX_PATH_BYTES`]; `Other`, that somebody listens who is not
/// to be trusted.
pub async fn connect(path: &Path) -> io::Result<Stream> {
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
