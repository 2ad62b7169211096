//! Where a daemon's socket is, and how to connect to it: a Unix socket, on Windows a named pipe.
//!
//! Not its job: making the socket and its permissions (chatd), and what is said over it ([`super::client`]).

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Environment variable that names the socket.
pub const SOCKET_VARIABLE: &str = "CHATD_SOCKET";

/// Where the system service's socket is.
#[cfg(not(windows))]
pub const SYSTEM_SOCKET: &str = "/run/chatd/chatd.sock";
/// Where the system service's pipe is.
#[cfg(windows)]
pub const SYSTEM_SOCKET: &str = r"\\.\pipe\chatd";

/// Where to look for a daemon, the best first: `explicit` alone if given, else `CHATD_SOCKET` alone if set, else the
/// user's own daemon and then the system's.
pub fn candidates(explicit: Option<&Path>) -> Vec<PathBuf> {
    candidates_in(explicit, |name| std::env::var_os(name))
}

/// [`candidates`] in the environment `variable`.
fn candidates_in(explicit: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(path) = explicit {
        return vec![path.to_owned()];
    }
    if let Some(path) = variable(SOCKET_VARIABLE) {
        return vec![path.into()];
    }
    let user = user_socket_in(variable);
    user.into_iter().chain([PathBuf::from(SYSTEM_SOCKET)]).collect()
}

/// Where a user's own daemon puts its socket; `None` if the user has no runtime directory.
pub fn user_socket() -> Option<PathBuf> {
    user_socket_in(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

#[cfg(not(windows))]
fn user_socket_in(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let runtime = variable("XDG_RUNTIME_DIR").map(PathBuf::from).or_else(runtime_directory)?;
    Some(runtime.join("chatd/chatd.sock"))
}

#[cfg(windows)]
fn user_socket_in(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let mut path = OsString::from(r"\\.\pipe\chatd-");
    path.push(variable("USERNAME")?);
    Some(path.into())
}

/// logind's directory for the user, for shells that lost the variable (`su`, cron).
#[cfg(target_os = "linux")]
fn runtime_directory() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let uid = std::fs::metadata("/proc/self").ok()?.uid();
    let path = PathBuf::from(format!("/run/user/{uid}"));
    path.is_dir().then_some(path)
}

#[cfg(not(any(target_os = "linux", windows)))]
fn runtime_directory() -> Option<PathBuf> {
    None
}

/// Connects to the daemon at `path`.
///
/// # Errors
/// The system's: `NotFound` and `ConnectionRefused` mean that no daemon runs there, `PermissionDenied` that the caller
/// may not use it; `InvalidInput`, that the path is too long for a socket (108 bytes on Linux).
pub async fn connect(path: &Path) -> io::Result<Stream> {
    Stream::connect(path.to_fs_name::<GenericFilePath>()?).await
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
    use super::*;

    fn found(explicit: Option<&str>, variables: &[(&str, &str)]) -> Vec<PathBuf> {
        candidates_in(explicit.map(Path::new), |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn the_nearest_wins() {
        let both = [("CHATD_SOCKET", "/b"), ("XDG_RUNTIME_DIR", "/run/user/1000")];
        assert_eq!(found(Some("/a"), &both), [PathBuf::from("/a")]);
        assert_eq!(found(None, &both), [PathBuf::from("/b")]);
        let user = PathBuf::from("/run/user/1000/chatd/chatd.sock");
        let system = PathBuf::from("/run/chatd/chatd.sock");
        assert_eq!(found(None, &both[1..]), [user.clone(), system.clone()]);
        assert_eq!(found(None, &[("CHATD_SOCKET", ""), both[1]]), [user, system.clone()]);
        assert_eq!(found(None, &[]).last(), Some(&system));
    }
}
