//! sd_notify(3): tells systemd that a daemon answers, or stops. Does nothing where there is no systemd.

use std::io;

/// Sends one state, such as `READY=1`, to the socket in `NOTIFY_SOCKET`.
///
/// # Errors
/// When there is such a socket, and it cannot be written to.
#[cfg(target_os = "linux")]
pub fn notify(state: &str) -> io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()) else { return Ok(()) };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(|_| ())
}

/// Nothing, where there is no systemd.
///
/// # Errors
/// None.
#[cfg(not(target_os = "linux"))]
pub fn notify(_state: &str) -> io::Result<()> {
    Ok(())
}
