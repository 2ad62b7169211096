//! The configuration file (TOML): what may stand in it, its defaults, and errors that name the key and the nearest known one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daemonkit::settings::Section;
use proto::directory::ContactPolicy;
use serde::{Deserialize, Serialize};

use crate::policy::limits::{Limits, SpaceLimits};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

daemonkit::settings! {
    /// The daemon's configuration. Every key may be left out.
    pub struct Config {
        /// Where accounts, keys and messages live.
        data_dir: Option<PathBuf> = None,
        /// The RPC socket, an absolute path of at most 107 bytes.
        socket: Option<PathBuf> = None,
        /// Narrow the socket to this group (system service only).
        socket_group: Option<String> = None,
        /// Addresses to accept peers on; port 0 takes any free one.
        listen: Vec<SocketAddr> = vec![SocketAddr::from(([0, 0, 0, 0], 0))],
        /// Default directory for `register`: a URL or a domain, such as `https://dir.example.org:7470#sha256-...` or `example.org`.
        directory: Option<String> = None,
        /// Directories of other domains by their URL, for those that the DNS does not name: `"example.org" = "https://..."`.
        directories: BTreeMap<String, String> = BTreeMap::new(),
        /// DNS servers to ask for directories instead of the system's: `["192.0.2.53:53"]`.
        name_servers: Vec<SocketAddr> = Vec::new(),
        /// Take no answer of the DNS that DNSSEC does not prove, or prove to be of a zone without it. The servers have to hand
        /// signatures on.
        dnssec: bool = false,
        /// A file of DNSKEY records that DNSSEC begins with, instead of the keys of the root.
        dnssec_anchor: Option<PathBuf> = None,
        /// Who may ask the accounts here to become a contact: `open`, `members` of their directory, `invite`, `closed`.
        first_contact: ContactPolicy = ContactPolicy::Members,
        /// What to log: levels by part, such as `info` or `warn,chatd=debug`. `CHATD_LOG` in the environment goes before it.
        log: String = LOG.to_owned(),
        /// How log lines look: `text` or `json`.
        log_format: LogFormat = LogFormat::Text,
        /// Write figures for Prometheus to this file every 15 seconds, as the textfile collector of node_exporter reads them;
        /// without names, keys and ids.
        metrics_file: Option<PathBuf> = None,
        /// Dial private and loopback addresses that the DNS, a directory or a peer named, even if the directory itself is elsewhere.
        allow_private_addresses: bool = false,
        /// Say on the local network where this daemon is, and listen to others that do (mDNS): contacts on the same cable or Wi-Fi find
        /// each other with no directory and no internet. Everybody on that network sees that a chatd runs here.
        lan: bool = false,
        /// Serve every user of the machine (as a system service) instead of only the daemon's own.
        system: bool = false,
        /// Close links without traffic after so many seconds.
        idle_link_seconds: u64 = 600,
        /// Let members of the directory see who is online here.
        show_online: bool = true,
        /// Let members find the accounts here by their addresses.
        list_address: bool = false,
        /// Limits on what others may cost; see below.
        limits: Limits = Limits::default(),
        /// Who may take how much of the disk; see below.
        space: SpaceLimits = SpaceLimits::default(),
    }
}

/// What iroh says below warnings is for its developers.
const LOG: &str = "info,iroh=warn,noq=warn,noq_proto=error,noq_udp=error,iroh_relay=warn,swarm_discovery=error,iroh::socket::transports::relay=off";

/// Keys that are taken from a reread configuration as they are; the others need a restart.
const LIVE: [&str; 25] = [
    "log",
    "directory",
    "directories",
    "limits.known_node_bytes_per_second",
    "limits.stranger_node_bytes_per_second",
    "limits.stranger_envelopes_per_minute",
    "limits.failures_per_minute",
    "limits.failure_ban_seconds",
    "limits.requests_per_identity_per_hour",
    "limits.requests_per_domain_per_hour",
    "limits.requests_per_hour",
    "limits.rpc_clients",
    "limits.rpc_clients_per_uid",
    "limits.accounts_per_uid",
    "limits.limiter_keys",
    "limits.pending_requests",
    "space.user_mib",
    "space.contact_messages_per_day",
    "space.contact_kib_per_day",
    "space.contact_messages",
    "space.contact_kib",
    "space.events",
    "space.consumer_events",
    "space.consumer_days",
    "idle_link_seconds",
];

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
    /// All keys, for the reference and for `--print-config`.
    pub const SECTIONS: [Section; 3] = [
        Section { name: "", settings: Self::SETTINGS },
        Section { name: "limits", settings: Limits::SETTINGS },
        Section { name: "space", settings: SpaceLimits::SETTINGS },
    ];

    /// The values, as a file would hold them.
    pub fn table(&self) -> toml::Table {
        // Every type in it has a form in TOML.
        toml::Table::try_from(self).unwrap_or_default()
    }

    /// What is different in `new`: keys that may change in a running daemon, and keys that need a restart.
    pub fn changed(&self, new: &Self) -> (Vec<String>, Vec<String>) {
        let changed = daemonkit::settings::changed(&Self::SECTIONS, &self.table(), &new.table());
        changed.into_iter().partition(|key| LIVE.contains(&key.as_str()))
    }

    /// Takes over what may change in a running daemon.
    pub fn adopt(&mut self, new: &Self) {
        let mut values = self.table();
        daemonkit::settings::adopt(&mut values, &new.table(), &LIVE);
        match values.try_into() {
            Ok(adopted) => *self = adopted,
            Err(error) => tracing::error!(%error, "the configuration that was read anew cannot be taken over"),
        }
    }

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
    fn a_reload_takes_what_is_live_and_names_the_rest() {
        let old = Config::default();
        let mut new = Config { log: "warn".into(), system: true, listen: vec![], ..Config::default() };
        new.limits.accounts_per_uid = std::num::NonZeroU32::MIN;
        new.limits.connections = std::num::NonZeroU32::MIN;
        let (live, restart) = old.changed(&new);
        assert_eq!(live, ["log", "limits.accounts_per_uid"]);
        assert_eq!(restart, ["listen", "system", "limits.connections"]);
        let mut adopted = old.clone();
        adopted.adopt(&new);
        assert_eq!(adopted.changed(&new), (vec![], restart), "all that is live was taken, and nothing else");
        for key in LIVE {
            let (section, name) = key.split_once('.').unwrap_or(("", key));
            let section = Config::SECTIONS.iter().find(|one| one.name == section).unwrap();
            assert!(section.settings.iter().any(|setting| setting.name == name), "{key}");
        }
    }

    /// The default, but for one key.
    fn with_another(section: &str, key: &str) -> Config {
        let mut table = Config::default().table();
        let part =
            if section.is_empty() { &mut table } else { table.get_mut(section).unwrap().as_table_mut().unwrap() };
        let other = match (key, part.get(key)) {
            ("first_contact", _) => "open".into(),
            ("log_format", _) => "json".into(),
            ("listen", _) => toml::Value::Array(Vec::new()),
            ("name_servers", _) => toml::Value::Array(vec!["127.0.0.1:53".into()]),
            (_, Some(toml::Value::Integer(number))) => (number + 1).into(),
            (_, Some(toml::Value::Boolean(yes))) => (!yes).into(),
            (_, Some(toml::Value::String(text))) => format!("{text},chatd=debug").into(),
            (_, Some(toml::Value::Table(_))) => toml::Table::from_iter([("a.test".to_owned(), "b".into())]).into(),
            (_, None) => "/another".into(),
            (_, Some(other)) => panic!("{key}: {other}"),
        };
        part.insert(key.to_owned(), other);
        table.try_into().unwrap()
    }

    #[test]
    fn each_key_is_taken_over_or_named_until_it_has_had_its_restart() {
        let old = Config::default();
        for section in Config::SECTIONS {
            for setting in section.settings.iter().filter(|setting| !["limits", "space"].contains(&setting.name)) {
                let dot = if section.name.is_empty() { "" } else { "." };
                let key = format!("{}{dot}{}", section.name, setting.name);
                let new = with_another(section.name, setting.name);
                let (live, restart) = old.changed(&new);
                assert_eq!([live.clone(), restart.clone()].concat(), std::slice::from_ref(&key));
                assert_eq!(live.is_empty(), !LIVE.contains(&key.as_str()), "{key}");
                let mut adopted = old.clone();
                adopted.adopt(&new);
                assert_eq!(adopted.changed(&new), (vec![], restart), "{key}, at the next reload");
                assert!(live.is_empty() || adopted == new, "{key}");
            }
        }
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
