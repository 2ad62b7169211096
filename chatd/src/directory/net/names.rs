//! What the DNS says: where the directory of a domain is, and which addresses a machine has.
//!
//! Not the job: which of them may be dialled (`policy::dial`), in which order (`policy::srv`), and who may be trusted there: the
//! DNS is believed about places, never about persons.
//!
//! Invariants: answers are kept for as long as they say, and no longer than a day, refusals no longer than a quarter of an hour; the
//! memory for them is bounded. Nothing waits for the DNS but who asked. With DNSSEC nothing is taken that is forged or cannot be
//! judged.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

use crate::policy::srv::Target;

/// What stands before a domain to ask for its directory.
pub const SERVICE: &str = "_chatd-directory._tcp";
/// For an answer of one server; it is asked twice.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);
/// Answers that are remembered at most.
const CACHED: u64 = 1_024;
/// An answer that says it holds for longer is asked for again by then.
const LONGEST: Duration = Duration::from_secs(86_400);
/// The same for the answer that there is none: who has just set a record wants to be found.
const LONGEST_NO: Duration = Duration::from_secs(900);
/// Aliases that are followed, one after the other.
const MAX_ALIASES: usize = 4;
/// Addresses of one machine that are taken at most.
const MAX_ADDRESSES: usize = 8;
/// Where the system says whom to ask.
const SYSTEM: &str = "/etc/resolv.conf";

/// Whom to ask.
#[derive(Debug, Clone, Default)]
pub struct NameOptions {
    /// These servers instead of the system's.
    pub servers: Vec<SocketAddr>,
    /// Take no answer that DNSSEC does not prove, or prove to be of a zone without it.
    pub dnssec: bool,
    /// A file of DNSKEY records to begin with instead of the keys of the root.
    pub trust_anchor: Option<PathBuf>,
}

/// Why the DNS was of no help.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NameError {
    /// The servers cannot be known, or the file of keys cannot be read.
    #[error("the DNS cannot be used: {0}")]
    Setup(String),
    /// There is no such record, or no such name.
    #[error("the DNS knows no {kind} of {name}")]
    Absent {
        /// What was asked for.
        kind: &'static str,
        /// Of whom.
        name: String,
    },
    /// No server could tell.
    #[error("the DNS does not say where {name} is: {reason}")]
    Failed {
        /// Who was asked for.
        name: String,
        /// Why not.
        reason: String,
    },
    /// An answer that DNSSEC does not vouch for.
    #[error("what the DNS says of {0} is forged or broken: DNSSEC does not prove it")]
    Unproved(String),
}

/// Asks the DNS. Clones share what is remembered.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Inner>);

#[derive(Default)]
struct Inner {
    options: NameOptions,
    /// With the time of the system's file that it was made of.
    resolver: Mutex<Option<(Option<SystemTime>, TokioResolver)>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Names {
    /// By these options. Nobody is asked yet.
    pub fn new(options: NameOptions) -> Self {
        Self(Arc::new(Inner { options, resolver: Mutex::default() }))
    }

    /// Whether servers of our own are asked, and not the system's.
    pub fn has_servers(&self) -> bool {
        !self.0.options.servers.is_empty()
    }

    /// The records of a domain's directory, in no order.
    ///
    /// # Errors
    /// [`NameError::Absent`] when it has none.
    pub async fn targets(&self, domain: &str) -> Result<Vec<Target>, NameError> {
        let answers = self.ask(&format!("{SERVICE}.{domain}"), RecordType::SRV, domain).await?;
        Ok(answers
            .into_iter()
            .filter_map(|record| match record.data {
                RData::SRV(srv) => {
                    let host = srv.target.to_lowercase().to_ascii();
                    let host = host.trim_end_matches('.').to_owned();
                    Some(Target { priority: srv.priority, weight: srv.weight, port: srv.port, host })
                }
                _ => None,
            })
            .collect())
    }

    /// The addresses of a machine, IPv6 and IPv4 in turn.
    ///
    /// # Errors
    /// [`NameError::Absent`] when it has none.
    pub async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NameError> {
        let (v6, v4) = tokio::join!(self.ask(host, RecordType::AAAA, host), self.ask(host, RecordType::A, host));
        let (v6, v4) = match (v6, v4) {
            (Err(error), Err(NameError::Absent { .. })) | (Err(NameError::Absent { .. }), Err(error)) => {
                return Err(error);
            }
            // Half of it is forged: who forges that, forges the rest.
            (Err(error @ NameError::Unproved(_)), _) | (_, Err(error @ NameError::Unproved(_))) => return Err(error),
            (Err(error), Err(_)) => return Err(error),
            (v6, v4) => (v6.unwrap_or_default(), v4.unwrap_or_default()),
        };
        let ip = |record: Record| match record.data {
            RData::A(ip) => Some(IpAddr::V4(ip.0)),
            RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
            _ => None,
        };
        let (mut v6, mut v4) = (v6.into_iter().filter_map(ip), v4.into_iter().filter_map(ip));
        let mut mixed = Vec::new();
        loop {
            match (v6.next(), v4.next()) {
                (None, None) => break,
                (one, other) => mixed.extend([one, other].into_iter().flatten()),
            }
        }
        mixed.truncate(MAX_ADDRESSES);
        Ok(mixed)
    }

    /// Records of one kind; where the name is an alias, those of the name that it leads to.
    async fn ask(&self, name: &str, kind: RecordType, who: &str) -> Result<Vec<Record>, NameError> {
        let failed = |reason: String| NameError::Failed { name: who.to_owned(), reason };
        let absent = || NameError::Absent {
            kind: if kind == RecordType::SRV { "directory" } else { "address" },
            name: who.to_owned(),
        };
        let resolver = self.resolver()?;
        // With a final dot, the system's search list does not count.
        let mut name = Name::from_ascii(format!("{name}.")).map_err(|error| failed(error.to_string()))?;
        for _ in 0..=MAX_ALIASES {
            let found = self.look(&resolver, &name, kind, who).await?;
            // The library follows aliases, but for services: there it takes the machine for the name that is looked for.
            if !found.is_empty() || kind != RecordType::SRV {
                return if found.is_empty() { Err(absent()) } else { Ok(found) };
            }
            let aliases = self.look(&resolver, &name, RecordType::CNAME, who).await?;
            name = match aliases.into_iter().find(|record| record.name == name).map(|record| record.data) {
                Some(RData::CNAME(alias)) => alias.0,
                _ => return Err(absent()),
            };
        }
        Err(failed("its aliases lead to no end".to_owned()))
    }

    /// Records of one kind and name; none if there are none.
    async fn look(
        &self,
        resolver: &TokioResolver,
        name: &Name,
        kind: RecordType,
        who: &str,
    ) -> Result<Vec<Record>, NameError> {
        let answer = match resolver.lookup(name.clone(), kind).await {
            Ok(answer) => answer,
            Err(error) => {
                return match proved_absent(&error) {
                    Some(true) => Ok(Vec::new()),
                    Some(false) => Err(NameError::Unproved(who.to_owned())),
                    None if error.is_no_records_found() => Ok(Vec::new()),
                    None => Err(NameError::Failed { name: who.to_owned(), reason: error.to_string() }),
                };
            }
        };
        let vouched = |record: &Record| matches!(record.proof, Proof::Secure | Proof::Insecure);
        if self.0.options.dnssec && !answer.answers().iter().all(vouched) {
            return Err(NameError::Unproved(who.to_owned()));
        }
        Ok(answer.answers().iter().filter(|record| record.record_type() == kind).cloned().collect())
    }

    /// The resolver, made anew when the system asks others than before: a machine that moves has other servers everywhere.
    fn resolver(&self) -> Result<TokioResolver, NameError> {
        let changed = match self.has_servers() {
            true => None,
            false => std::fs::metadata(SYSTEM).and_then(|file| file.modified()).ok(),
        };
        let mut kept = self.0.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, resolver)) = kept.as_ref()
            && *of == changed
        {
            return Ok(resolver.clone());
        }
        let resolver = build(&self.0.options)?;
        *kept = Some((changed, resolver.clone()));
        Ok(resolver)
    }
}

fn build(options: &NameOptions) -> Result<TokioResolver, NameError> {
    let setup = |error: &dyn std::fmt::Display| NameError::Setup(error.to_string());
    let mut builder: ResolverBuilder<TokioRuntimeProvider> = if options.servers.is_empty() {
        TokioResolver::builder_tokio().map_err(|error| setup(&error))?
    } else {
        let servers = options.servers.iter().map(|server| {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.to_vec())
        });
        TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(servers.collect()),
            TokioRuntimeProvider::default(),
        )
    };
    let opts = builder.options_mut();
    opts.timeout = SERVER_TIMEOUT;
    opts.attempts = 1;
    opts.edns0 = true;
    opts.cache_size = CACHED;
    // With them the library looks for a service beyond the machine that offers it, and remembers that there is none.
    opts.preserve_intermediates = false;
    opts.positive_max_ttl = Some(LONGEST);
    opts.negative_max_ttl = Some(LONGEST_NO);
    opts.use_hosts_file = ResolveHosts::Never;
    // Of a network that lets no datagrams through, or only small ones.
    opts.try_tcp_on_error = true;
    opts.validate = options.dnssec;
    if let Some(path) = options.trust_anchor.as_ref().filter(|_| options.dnssec) {
        let keys = TrustAnchors::from_file(path)
            .map_err(|error| NameError::Setup(format!("cannot read the keys in {}: {error}", path.display())))?;
        builder = builder.with_trust_anchor(Arc::new(keys));
    }
    builder.build().map_err(|error| setup(&error))
}

/// What DNSSEC found of an answer, or of the lack of one: `Some(true)` if it is proved that there is none, `Some(false)` if it is forged.
fn proved_absent(error: &NetError) -> Option<bool> {
    match error {
        NetError::Dns(DnsError::Nsec { proof, .. }) => Some(matches!(proof, Proof::Secure | Proof::Insecure)),
        NetError::Dns(DnsError::DnssecBogus) => Some(false),
        _ => None,
    }
}
