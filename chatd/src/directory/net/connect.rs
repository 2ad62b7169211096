//! Connections to one directory, wherever it is: of several machines the first in order that answers and is believed.
//!
//! Machines are tried one after the other; the next one's turn comes when one has failed, or has taken so long that it may be gone.
//! Which of them failed is remembered for a minute, and the order of a domain's machines for as long as the DNS says the same. When
//! the DNS does not answer, what it said last goes on to be true.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper_util::rt::TokioIo;
use proto::directory::SpkiPin;
use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::names::NameError;
use super::place::Place;
use super::race::{knock, race};
use super::stream::Stream;
use super::trust::{Trust, TrustError, of_pin};
use super::{Network, own_networks};
use crate::policy::dial::{DialContext, Source, may_dial};
use crate::policy::srv::{Offer, Target, failed_last, order};

/// For a connection to stand, the DNS, TLS and all machines included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one machine.
const MACHINE_TIMEOUT: Duration = Duration::from_secs(5);
/// Before the next machine is tried beside one that has not answered: long enough for TLS with the other end of the world.
const NEXT_MACHINE: Duration = Duration::from_millis(1_000);
/// The same among the addresses of one machine (RFC 8305, section 8).
const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// For how long a machine that failed is tried after the others.
const REMEMBER_FAILURE: Duration = Duration::from_secs(60);

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The domain says so.
    #[error("{0} has no directory, as its DNS says")]
    NoService(String),
    /// The domain says nothing.
    #[error(
        "the DNS names no directory of {0}: there is no record _chatd-directory._tcp.{0}. Its operator gets it from `directoryd \
         dns-records`; until then the directory's URL is needed"
    )]
    NoRecord(String),
    /// The DNS was of no help.
    #[error(transparent)]
    Names(#[from] NameError),
    /// The system found no address.
    #[error("there is no machine called {host}: {reason}")]
    NoHost {
        /// Who was looked for.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// Addresses that a name of somebody else must not lead to.
    #[error(
        "{host} leads to {address}, a private address: it is not dialled on the word of the DNS. If that is right, set \
         allow_private_addresses = true"
    )]
    Private {
        /// Whose it is said to be.
        host: String,
        /// The first of them.
        address: IpAddr,
    },
    /// Nobody answers.
    #[error("{address}: {reason}")]
    Refused {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// Somebody answers who is not to be believed.
    #[error(transparent)]
    NotTrusted(#[from] TrustError),
    /// Somebody answers who does not speak TLS as we do.
    #[error("no TLS with {address}: {reason}")]
    Tls {
        /// Where.
        address: SocketAddr,
        /// What went wrong.
        reason: String,
    },
    /// Too slow.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
}

/// Makes connections to one directory. Clones share what they learn.
#[derive(Debug, Clone)]
pub struct Connector(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    place: Place,
    network: Network,
    learnt: Mutex<Learnt>,
    trust: OnceCell<Trust>,
    /// When the certificate of the last connection ends, in Unix seconds; 0: unknown, or its dates mean nothing.
    ends: AtomicI64,
}

#[derive(Debug, Default)]
struct Learnt {
    /// What the DNS said, sorted, and the order in which we try it.
    order: Option<(Vec<Target>, Vec<Target>)>,
    failed: HashMap<(String, u16), Instant>,
}

impl Connector {
    /// To the directory at a place.
    pub fn new(place: Place, network: Network) -> Self {
        Self(Arc::new(Inner {
            place,
            network,
            learnt: Mutex::default(),
            trust: OnceCell::new(),
            ends: AtomicI64::new(0),
        }))
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// Whom to believe there, once there was a connection by TLS.
    pub fn judge(&self) -> Option<Arc<dyn ServerCertVerifier>> {
        self.0.trust.get().map(|trust| Arc::clone(&trust.verifier))
    }

    /// What the DNS names as its machines, if it was named by a domain.
    pub async fn machines(&self) -> Option<Result<Vec<Target>, NameError>> {
        let Place::Domain { domain, .. } = &self.0.place else { return None };
        Some(self.0.network.0.names.targets(domain).await)
    }

    /// A new connection.
    ///
    /// # Errors
    /// Why there is none, at the machine about which most is known.
    pub async fn connect(&self) -> Result<Stream, ConnectError> {
        let connected = timeout(CONNECT_TIMEOUT, self.0.connect()).await;
        let connected = connected.unwrap_or(Err(ConnectError::Slow(CONNECT_TIMEOUT)));
        if let Ok(stream) = &connected {
            let dated = !matches!(self.0.place, Place::Host { pin: Some(_), .. });
            self.0.ends.store(stream.certificate_ends().filter(|_| dated).unwrap_or(0), Ordering::Relaxed);
        }
        connected
    }

    /// When the certificate ends that the last connection was shown, in Unix seconds, if its dates count: those of a pinned key do not.
    pub fn certificate_ends(&self) -> Option<i64> {
        Some(self.0.ends.load(Ordering::Relaxed)).filter(|ends| *ends != 0)
    }
}

impl ConnectError {
    /// Whether nobody answered at all, or nothing leads there.
    pub fn is_silence(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Slow(_) | Self::NoHost { .. } | Self::Names(_))
    }
}

impl Inner {
    async fn connect(&self) -> Result<Stream, ConnectError> {
        match &self.place {
            Place::Near(url) => {
                let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
                let addresses = self.system(host, url.port_or_known_default().unwrap_or(80)).await?;
                Ok(Stream::plain(dial(addresses).await?.0))
            }
            Place::Host { host, port, pin, .. } => {
                let config = self.trust(*pin).await?.config;
                let addresses = if self.network.0.names.has_servers() && host.parse::<IpAddr>().is_err() {
                    let addresses = self.network.0.names.addresses(host).await?;
                    addresses.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect()
                } else {
                    self.system(host, *port).await?
                };
                tls(addresses, host, config).await
            }
            Place::Domain { domain, .. } => {
                let config = self.trust(None).await?.config;
                let targets = self.targets(domain).await?;
                let tries = targets.into_iter().map(|target| {
                    let config = Arc::clone(&config);
                    async move {
                        let one = timeout(MACHINE_TIMEOUT, self.machine(domain, &target, config));
                        let done = one.await.unwrap_or(Err(ConnectError::Slow(MACHINE_TIMEOUT)));
                        self.remember(target, done.is_ok());
                        done
                    }
                });
                race(tries, NEXT_MACHINE).await.map_err(|errors| most_telling(errors, domain))
            }
        }
    }

    /// Whom to believe there. The same is the same object, so that it is known again.
    async fn trust(&self, pin: Option<SpkiPin>) -> Result<Trust, TrustError> {
        let trust = || async {
            match pin {
                Some(pin) => of_pin(pin),
                None => self.network.0.authorities.trust().await,
            }
        };
        self.trust.get_or_try_init(trust).await.cloned()
    }

    /// Addresses of a host that the user named, as all programs of this machine find it.
    async fn system(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = lookup_host((host, port)).await;
        let none = |reason: String| ConnectError::NoHost { host: host.to_owned(), reason };
        let addresses: Vec<SocketAddr> = found.map_err(|error| none(error.to_string()))?.collect();
        if addresses.is_empty() { Err(none("it has no address".to_owned())) } else { Ok(addresses) }
    }

    /// The machines of a domain, in the order in which they are tried now.
    async fn targets(&self, domain: &str) -> Result<Vec<Target>, ConnectError> {
        let said = self.network.0.names.targets(domain).await;
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        let ordered = match (said, &learnt.order) {
            (Ok(mut said), known) => {
                said.sort_unstable();
                match known {
                    Some((same, ordered)) if *same == said => ordered.clone(),
                    _ => {
                        let Offer::Targets(ordered) = order(said.clone(), |most| rand::random_range(0..=most)) else {
                            return Err(ConnectError::NoService(domain.to_owned()));
                        };
                        learnt.order = Some((said, ordered.clone()));
                        ordered
                    }
                }
            }
            // Nobody says that it has changed.
            (Err(NameError::Failed { .. } | NameError::Setup(_)), Some((_, ordered))) => ordered.clone(),
            (Err(NameError::Absent { .. }), _) => {
                learnt.order = None;
                return Err(ConnectError::NoRecord(domain.to_owned()));
            }
            (Err(error), _) => return Err(error.into()),
        };
        learnt.failed.retain(|_, at| at.elapsed() < REMEMBER_FAILURE);
        let failed: HashSet<(String, u16)> = learnt.failed.keys().cloned().collect();
        Ok(failed_last(ordered, &failed))
    }

    fn remember(&self, target: Target, well: bool) {
        let mut learnt = self.learnt.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (target.host, target.port);
        if well {
            learnt.failed.remove(&key);
        } else {
            learnt.failed.insert(key, Instant::now());
        }
    }

    async fn machine(&self, domain: &str, target: &Target, config: Arc<ClientConfig>) -> Result<Stream, ConnectError> {
        let found = self.network.0.names.addresses(&target.host).await?;
        let networks = own_networks();
        let rules =
            DialContext { source: Source::Dns, allow_private: self.network.0.allow_private, networks: &networks };
        let (allowed, private): (Vec<IpAddr>, Vec<IpAddr>) =
            found.into_iter().partition(|ip| may_dial(SocketAddr::new(*ip, target.port), &rules));
        if let (true, Some(address)) = (allowed.is_empty(), private.first()) {
            return Err(ConnectError::Private { host: target.host.clone(), address: *address });
        }
        let addresses = allowed.into_iter().map(|ip| SocketAddr::new(ip, target.port)).collect();
        tls(addresses, domain, config).await
    }
}

/// TLS with whoever answers at one of the addresses, and can prove to be `name`.
async fn tls(addresses: Vec<SocketAddr>, name: &str, config: Arc<ClientConfig>) -> Result<Stream, ConnectError> {
    let (stream, address) = dial(addresses).await?;
    let failed = |reason: String| ConnectError::Tls { address, reason };
    let server = ServerName::try_from(name.to_owned()).map_err(|error| failed(error.to_string()))?;
    let done = timeout(MACHINE_TIMEOUT, TlsConnector::from(config).connect(server, stream)).await;
    let done = done.map_err(|_| failed(format!("no answer within {} s", MACHINE_TIMEOUT.as_secs())))?;
    done.map(Stream::tls).map_err(|error| {
        let why = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match why.and_then(|why| TrustError::of(why, name)) {
            Some(why) => why.into(),
            None => failed(error.to_string()),
        }
    })
}

/// The first of the addresses that answers.
async fn dial(addresses: Vec<SocketAddr>) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let tries = addresses.into_iter().map(|address| async move {
        let stream = timeout(MACHINE_TIMEOUT, knock(address)).await;
        let stream = stream.map_err(|_| ConnectError::Slow(MACHINE_TIMEOUT))?;
        let stream = stream.map_err(|error| ConnectError::Refused { address, reason: error.to_string() })?;
        // Requests and frames are small and whole.
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    });
    race(tries, NEXT_ADDRESS).await.map_err(|errors| most_telling(errors, "it"))
}

/// Of several failures that of which its reader learns most.
fn most_telling(mut errors: Vec<ConnectError>, name: &str) -> ConnectError {
    let rank = |error: &ConnectError| match error {
        ConnectError::NotTrusted(_) => 0,
        ConnectError::Private { .. } => 1,
        ConnectError::Tls { .. } => 2,
        ConnectError::Refused { .. } => 3,
        ConnectError::Names(_) | ConnectError::NoHost { .. } => 4,
        ConnectError::Slow(_) | ConnectError::NoService(_) | ConnectError::NoRecord(_) => 5,
    };
    errors.sort_by_key(rank);
    let none = || ConnectError::NoHost { host: name.to_owned(), reason: "it has no address".to_owned() };
    errors.into_iter().next().unwrap_or_else(none)
}

/// As hyper hands it on: to be found again in its error.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct Failed(pub Arc<ConnectError>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, Failed>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    /// There is one place, whatever the URL says.
    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let connected = connector.connect().await;
            connected.map(TokioIo::new).map_err(|error| Failed(Arc::new(error)))
        })
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
#[allow(clippy::unwrap_used)]
mod tests;
