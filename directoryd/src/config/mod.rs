//! What the operator decides: the TOML file, and the values in force after the flags were laid over it.
//!
//! Not the job: reading flags (main.rs).
//!
//! Invariant: a key that is not known is an error that names it and the nearest one that is; nothing is ignored.

mod groups;
mod limits;
mod relay;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use daemonkit::settings::Section;
use proto::name::parse_domain;
use proto::nearest::nearest;
use proto::wire::work::MAX_WORK_BITS;
use serde::{Deserialize, Serialize};

pub use self::groups::GroupSettings;
pub use self::limits::Limits;
pub use self::relay::RelaySettings;
use crate::cluster::Monotonic;
use crate::store;

/// Who may list and search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ListPolicy {
    /// Accounts of this directory, with the token of a session.
    #[default]
    Members,
    /// Anyone.
    Public,
    /// Nobody: an exact name finds its account, and that is all.
    Off,
}

/// With which certificate TLS is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// That of `tls_cert`; else one of the own key, where neither loopback nor a proxy protects what is said.
    #[default]
    Auto,
    /// One of the own key, on loopback too.
    Own,
}

/// With which certificate a configuration wants TLS to be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// None: what is said goes over loopback, or to a proxy.
    Off,
    /// Of the directory's own key, which clients know by a pin in its URL.
    Own,
    /// The operator's.
    Files {
        /// The certificate, and those that lead to a known authority.
        certificate: PathBuf,
        /// Its key.
        key: PathBuf,
    },
}

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
    /// Everything in force.
    pub struct Config {
        /// The domain that is served, in lower case.
        origin: String = "localhost".into(),
        /// The folder of the database: `/var/lib/directoryd` for root, else below `$XDG_STATE_HOME`.
        data_dir: PathBuf = proto::places::state_folder("directoryd").unwrap_or_default(),
        /// Where to listen; port 0 takes any free one.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7470)),
        /// Who may list and search.
        list: ListPolicy = ListPolicy::default(),
        /// With which certificate https is served: `auto`, that of `tls_cert`, or one of the directory's own key if it listens on
        /// another address than loopback and no proxy is named; `own`, the latter in any case. Clients know the own key by the pin in
        /// the URL that `--init` prints.
        tls: TlsMode = TlsMode::default(),
        /// The certificate and those that lead to a known authority, in PEM. It is read again when it changes. It has to name the
        /// origin, for that is what clients look for who find this directory by its domain.
        tls_cert: Option<PathBuf> = None,
        /// The key of `tls_cert`, in PEM.
        tls_key: Option<PathBuf> = None,
        /// Addresses and networks of reverse proxies that end TLS in front: with one named, plain HTTP is taken of them on any
        /// address. Of their connections the last entry of `X-Forwarded-For` that is no proxy is the client's address.
        proxies: Vec<String> = Vec::new(),
        /// Names and addresses that `Host` may say besides the origin, loopback, and the address that is listened on.
        hosts: Vec<String> = Vec::new(),
        /// What `Origin` may say: web pages that may use this directory. Programs send none.
        origins: Vec<String> = Vec::new(),
        /// Whether clients on this machine are limited like others.
        limit_loopback: bool = false,
        /// Accounts that are taken at most.
        max_accounts: u64 = 1_000_000,
        /// TCP connections at once.
        max_connections: usize = 16_384,
        /// TCP connections at once of one address that is not loopback.
        max_connections_per_address: usize = 256,
        /// Envelopes from contacts that lie in an account's mailbox at most.
        mailbox_envelopes: u64 = 4_096,
        /// Bytes of them at most.
        mailbox_bytes: u64 = 64 << 20,
        /// Envelopes from strangers (contact requests) that lie in an account's mailbox at most.
        mailbox_strangers: u64 = 32,
        /// Proof of work, in bits, by which as many strangers again get in when their room is full: 20 are a million hashes.
        /// It doubles with every 8 that lie there; 24 is the most that anybody does.
        mailbox_work_bits: u8 = 20,
        /// Bytes in all mailboxes of this directory at most.
        mailbox_total_bytes: u64 = 10 << 30,
        /// What to log, as a filter of the `tracing` crate: `info`, `directoryd=debug`, ... The relay's library warns of each node that
        /// goes without a word.
        log: String = "info,iroh_relay=error".into(),
        /// How log lines look: `text` or `json`.
        log_format: LogFormat = LogFormat::default(),
        /// Whether the log names members. Without it, lines above `debug` have a pseudonym in their place, which is the same for as long
        /// as the process lives.
        log_names: bool = false,
        /// See [`Limits`].
        limits: Limits = Limits::default(),
        /// See [`RelaySettings`].
        relay: RelaySettings = RelaySettings::default(),
        /// See [`GroupSettings`].
        groups: GroupSettings = GroupSettings::default(),
        hidden:
        /// Not for a file: `--new-identity`, once.
        new_identity: bool = false,
        /// Not for operators: 30 s are promised. Tests are in more of a hurry.
        timing: Timing = Timing::default(),
        /// Not for operators: what the mailbox's clock runs by.
        clock: Monotonic = Monotonic::default(),
        /// Not for operators: pages of the database at most, for tests of a full disk.
        max_pages: Option<u32> = None,
    }
}

/// How a session notices that its client is gone, and what else happens from time to time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// Between two pings.
    pub ping: Duration,
    /// A client that says nothing for so long, pongs included, is gone.
    pub silence: Duration,
    /// For an older session to show that it still lives, when a newer one has the same key.
    pub probe: Duration,
    /// Between two sweeps of the mailboxes.
    pub sweep: Duration,
    /// For a client to take some of what is written to it.
    pub write: Duration,
    /// For a guest to show that it may watch somebody.
    pub guest: Duration,
    /// Between two looks whether the certificate was replaced.
    pub certificate: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ping: Duration::from_secs(10),
            silence: Duration::from_secs(25),
            probe: Duration::from_secs(2),
            sweep: Duration::from_secs(60),
            write: Duration::from_secs(20),
            guest: Duration::from_secs(10),
            certificate: Duration::from_secs(10),
        }
    }
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the config file {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key that means nothing here.
    #[error("{path}:{line}: there is no key `{key}`{}", hint(.nearest))]
    UnknownKey {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        line: usize,
        /// What it says.
        key: String,
        /// What it may have meant.
        nearest: Option<String>,
    },
    /// Not TOML, or a value of the wrong kind.
    #[error("{path} is not a valid config file:\n{message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// With line and column.
        message: String,
    },
    /// A value that cannot be.
    #[error("{0}")]
    Value(String),
}

/// Keys that need a restart: what clients have signed for, where the data and the socket are, how it is served, how lines look.
const FIXED: [&str; 10] = [
    "origin",
    "data_dir",
    "listen",
    "tls",
    "tls_cert",
    "tls_key",
    "log_format",
    "log_names",
    "relay.enabled",
    "relay.discovery_port",
];

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |key| format!("; the nearest is `{key}`"))
}

impl Config {
    /// All keys, for the reference and for `--print-config`.
    pub const SECTIONS: [Section; 4] = [
        Section { name: "", settings: Self::SETTINGS },
        Section { name: "limits", settings: Limits::SETTINGS },
        Section { name: "relay", settings: RelaySettings::SETTINGS },
        Section { name: "groups", settings: GroupSettings::SETTINGS },
    ];

    /// The values, as a file would hold them.
    pub fn table(&self) -> toml::Table {
        // Every type in it has a form in TOML.
        toml::Table::try_from(self).unwrap_or_default()
    }

    /// The keys that differ in another configuration: those that may change in a running directory, and those that may not.
    pub fn changed(&self, new: &Self) -> (Vec<String>, Vec<String>) {
        let changed = daemonkit::settings::changed(&Self::SECTIONS, &self.table(), &new.table());
        changed.into_iter().partition(|key| !FIXED.contains(&key.as_str()))
    }

    /// The other configuration, but for what cannot change in a running directory.
    #[must_use]
    pub fn adopting(&self, new: Self) -> Self {
        let keep = self.clone();
        Self {
            origin: keep.origin,
            data_dir: keep.data_dir,
            listen: keep.listen,
            tls: keep.tls,
            tls_cert: keep.tls_cert,
            tls_key: keep.tls_key,
            log_format: keep.log_format,
            log_names: keep.log_names,
            timing: keep.timing,
            clock: keep.clock,
            max_pages: keep.max_pages,
            relay: RelaySettings {
                enabled: keep.relay.enabled,
                discovery_port: keep.relay.discovery_port,
                ..new.relay
            },
            ..new
        }
    }

    /// Reads a file; what it does not say has its default.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or holds a key that is not known.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let path = path.to_owned();
            // serde words it "unknown field `x`, expected one of `a`, `b`"; both halves are of use here.
            let mut quoted = error.message().split('`').skip(1).step_by(2);
            match quoted.next() {
                Some(key) if error.message().starts_with("unknown field") => {
                    let nearest = nearest(key, quoted).map(str::to_owned);
                    let before = text.get(..error.span().map_or(0, |span| span.start)).unwrap_or_default();
                    let line = 1 + before.matches('\n').count();
                    ConfigError::UnknownKey { path, line, key: key.to_owned(), nearest }
                }
                _ => ConfigError::Syntax { path, message: error.to_string() },
            }
        })
    }

    /// How it is served.
    pub fn tls(&self) -> Tls {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => Tls::Files { certificate: certificate.clone(), key: key.clone() },
            _ if self.tls == TlsMode::Own => Tls::Own,
            _ if self.listen.ip().is_loopback() || !self.proxies.is_empty() => Tls::Off,
            _ => Tls::Own,
        }
    }

    /// How the store is opened.
    pub fn store(&self) -> store::Options {
        let quotas = store::Quotas {
            envelopes: self.mailbox_envelopes,
            bytes: self.mailbox_bytes,
            strangers: self.mailbox_strangers,
            work_bits: self.mailbox_work_bits,
            total_bytes: self.mailbox_total_bytes,
        };
        store::Options {
            data_dir: self.data_dir.clone(),
            max_accounts: self.max_accounts,
            quotas,
            groups: self.groups.bounds(),
            clock: self.clock.clone(),
            max_pages: self.max_pages,
            new_identity: self.new_identity,
        }
    }

    /// Checks what no single value tells, and brings the origin to its normal form.
    ///
    /// # Errors
    /// [`ConfigError::Value`], which says what to change.
    pub fn validated(mut self) -> Result<Self, ConfigError> {
        self.origin = parse_domain(&self.origin).map_err(|error| ConfigError::Value(format!("origin: {error}")))?;
        if self.data_dir.as_os_str().is_empty() {
            let why =
                proto::places::state_folder("directoryd").err().map(|error| error.to_string()).unwrap_or_default();
            return Err(ConfigError::Value(format!("data_dir: {why}")));
        }
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err(ConfigError::Value("tls_cert and tls_key belong together: name both, or none".into()));
        }
        if self.tls == TlsMode::Own && self.tls_cert.is_some() {
            return Err(ConfigError::Value("tls = \"own\" serves no tls_cert: leave one of them out".into()));
        }
        self.relay.check().and_then(|()| self.groups.check()).map_err(ConfigError::Value)?;
        let limits = &self.limits;
        let rates = [
            limits.request_burst,
            limits.request_per_minute,
            limits.register_burst,
            limits.register_per_hour,
            limits.lookup_burst,
            limits.lookup_per_minute,
            limits.member_per_minute,
            limits.deposit_burst,
            limits.deposit_per_minute,
        ];
        let quotas = [self.mailbox_envelopes, self.mailbox_bytes, self.mailbox_strangers, self.mailbox_total_bytes];
        if !(1..=MAX_WORK_BITS).contains(&self.mailbox_work_bits) {
            let given = self.mailbox_work_bits;
            return Err(ConfigError::Value(format!("mailbox_work_bits is 1 to {MAX_WORK_BITS}, not {given}")));
        }
        if quotas.contains(&0) {
            return Err(ConfigError::Value(
                "a mailbox quota of 0 would refuse every envelope; remove the key to get its default".into(),
            ));
        }
        if rates.contains(&0) || self.max_connections == 0 || self.max_connections_per_address == 0 {
            return Err(ConfigError::Value(
                "a limit of 0 would refuse everything; remove the key to get its default".into(),
            ));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests;
