//! The transport's port, kept over restarts: whoever knows where this daemon was finds it there again, also where no directory tells.

use std::net::SocketAddr;
use std::path::Path;

/// The file in the data directory.
const FILE: &str = "port";

/// Where to listen, with the port of last time in the place of "any".
pub(in crate::service) fn as_last_time(data_dir: &Path, listen: &[SocketAddr]) -> Vec<SocketAddr> {
    let port = std::fs::read_to_string(data_dir.join(FILE)).ok().and_then(|text| text.trim().parse::<u16>().ok());
    let with_port = |address: &SocketAddr| match (address.port(), port) {
        (0, Some(port)) => SocketAddr::new(address.ip(), port),
        _ => *address,
    };
    listen.iter().map(with_port).collect()
}

/// Keeps the port for the next time; that it cannot be kept harms nobody who asks a directory.
pub(in crate::service) fn keep(data_dir: &Path, bound: &[SocketAddr]) {
    let Some(port) = bound.first().map(SocketAddr::port) else { return };
    let file = data_dir.join(FILE);
    if std::fs::read_to_string(&file).is_ok_and(|kept| kept.trim() == port.to_string()) {
        return;
    }
    if let Err(error) = std::fs::write(&file, format!("{port}\n")) {
        tracing::warn!(%error, file = %file.display(), "the port is not kept for the next start");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_port_is_that_of_last_time() {
        let folder = tempfile::tempdir().unwrap();
        let listen: Vec<SocketAddr> = ["0.0.0.0:0", "[::]:0", "127.0.0.1:7"].map(|text| text.parse().unwrap()).into();
        assert_eq!(as_last_time(folder.path(), &listen), listen);
        keep(folder.path(), &["192.0.2.1:4711".parse().unwrap()]);
        let again: Vec<String> = as_last_time(folder.path(), &listen).iter().map(ToString::to_string).collect();
        assert_eq!(again, ["0.0.0.0:4711", "[::]:4711", "127.0.0.1:7"]);
        std::fs::write(folder.path().join(FILE), "70000 or so").unwrap();
        assert_eq!(as_last_time(folder.path(), &listen), listen);
    }
}
