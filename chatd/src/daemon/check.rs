//! `chatd --check`: what a start would meet, tried without changing anything.

use std::fmt::Write as _;
use std::net::UdpSocket;

use daemonkit::folder;

use super::{DataDir, Setup, StartError, admission};
use crate::directory::{Directories, Network, Place};
use crate::rpc;

/// Tries everything that a start needs, and says what would be used.
///
/// # Errors
/// The first thing that a start would fail at. A daemon that runs already is one: the check is for the one to come.
pub fn check(setup: &Setup) -> Result<String, StartError> {
    let config = &setup.config;
    let wrong = |key: &'static str, text: String| StartError::Config { key, text };
    daemonkit::log::parse(&config.log).map_err(|error| wrong("log", error.to_string()))?;
    if let Some(url) = config.directory.as_deref().filter(|url| !url.is_empty()) {
        Place::parse(url).map_err(|error| wrong("directory", error.to_string()))?;
    }
    Directories::named(&Network::default(), &config.directories)
        .map_err(|error| wrong("directories", error.to_string()))?;
    if config.socket_group.is_some() && !config.system {
        let text = "it narrows the socket of a system service: set system = true, or leave it out".to_owned();
        return Err(wrong("socket_group", text));
    }
    let (audience, _) = admission(config);
    rpc::check(&setup.socket, &audience)?;
    if setup.data_dir.symlink_metadata().is_ok() {
        DataDir::permitted(&setup.data_dir)?;
        let lock = setup.data_dir.join("lock");
        if !folder::is_free(&lock).map_err(|source| StartError::Io { path: lock, source })? {
            return Err(StartError::Locked { path: setup.data_dir.clone() });
        }
    } else {
        folder::can_be_made(&setup.data_dir).map_err(|(path, source)| StartError::Io { path, source })?;
    }
    for address in &config.listen {
        UdpSocket::bind(address).map_err(|error| wrong("listen", format!("cannot listen on {address}: {error}")))?;
    }
    let mut text = String::from("the configuration is valid; a start would use\n");
    let file = setup.file.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
    let addresses: Vec<String> = config.listen.iter().map(ToString::to_string).collect();
    for (what, value) in [
        ("config", file),
        ("data", setup.data_dir.display().to_string()),
        ("socket", setup.socket.display().to_string()),
        ("serves", if config.system { "the users of this machine" } else { "its own user" }.to_owned()),
        ("listen", addresses.join(", ")),
        ("directory", config.directory.clone().unwrap_or_else(|| "none".to_owned())),
        ("log", config.log.clone()),
    ] {
        let _ = writeln!(text, "  {what:<10}{value}");
    }
    Ok(text)
}
