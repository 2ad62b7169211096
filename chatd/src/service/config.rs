//! The configuration file (TOML): what may stand in it, its defaults, and errors that name the key and the nearest known one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use proto::directory::ContactPolicy;
use serde::Deserialize;

use crate::policy::limits::Limits;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The daemon's configuration. Every key may be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where accounts, keys and messages live.
    pub data_dir: Option<PathBuf>,
    /// The RPC socket.
    pub socket: Option<PathBuf>,
    /// Narrow the socket to this group (system service only).
    pub socket_group: Option<String>,
    /// Addresses to accept peers on; port 0 takes any free one.
    pub listen: Vec<SocketAddr>,
    /// Default directory for `register`: a URL or a domain.
    pub directory: Option<String>,
    /// Directories of other domains by their URL: `"example.org" = "http://127.0.0.1:7471"`.
    pub directories: BTreeMap<String, String>,
    /// Who may ask the accounts here to become a contact: `open`, `members` of their directory, `invite`, `closed`.
    pub first_contact: ContactPolicy,
    /// Log format.
    pub log_format: LogFormat,
    /// Dial private and loopback addresses that a directory or a peer named, even if the directory itself is elsewhere.
    pub allow_private_addresses: bool,
    /// Serve every user of the machine (as a system service) instead of only the daemon's own.
    pub system: bool,
    /// Close links without traffic after so many seconds.
    pub idle_link_seconds: u64,
    /// Let members of the directory see who is online here.
    pub show_online: bool,
    /// Let members find the accounts here by their addresses.
    pub list_address: bool,
    /// Limits on what others may cost.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            socket: None,
            socket_group: None,
            listen: vec![SocketAddr::from(([0, 0, 0, 0], 0))],
            directory: None,
            directories: BTreeMap::new(),
            first_contact: ContactPolicy::Members,
            log_format: LogFormat::Text,
            allow_private_addresses: false,
            system: false,
            idle_link_seconds: 600,
            show_online: true,
            list_address: false,
            limits: Limits::default(),
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no valid configuration.
    #[error("{path}: {message}{hint}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// What TOML or serde said, with line and column.
        message: String,
        /// The nearest known key, as a sentence.
        hint: String,
    },
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or holds anything that is not known.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
        toml::from_str(&text).map_err(|error| {
            let message = error.to_string().trim_end().to_owned();
            let hint = unknown_key_hint(error.message()).unwrap_or_default();
            ConfigError::Invalid { path: path.into(), message, hint }
        })
    }
}

/// Serde says "unknown field `x`, expected one of `a`, `b`": the nearest of them is what was meant.
fn unknown_key_hint(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let known: Vec<&str> = quoted.collect();
    let nearest = proto::nearest::nearest(unknown, known.iter().copied())?;
    Some(format!("\nhint: did you mean `{nearest}`?"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_key_is_named_with_the_nearest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chatd.toml");
        std::fs::write(&path, "directry = \"http://127.0.0.1:7470\"\n").unwrap();
        let error = Config::load(&path).unwrap_err().to_string();
        assert!(error.contains("directry") && error.contains("did you mean `directory`"), "{error}");
    }

    #[test]
    fn an_empty_file_is_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chatd.toml");
        std::fs::write(&path, "").unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.idle_link_seconds, 600);
    }
}
