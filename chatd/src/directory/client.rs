//! The way to one directory: who it is, and how a request goes and is answered. What can be asked stands in `requests`.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::{Client, Error as HttpError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use proto::directory::api::{Base64, DirectoryAnswer, ErrorAnswer, NonceAnswer, RelayOffer};
use proto::directory::membership::{CHALLENGE_BYTES, identity_message};
use proto::directory::verified;
use proto::ids::{hex, unhex};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use url::Url;

use super::error::DirectoryError;
use super::holds::Holds;
use super::net::connect::{ConnectError, Connector, Failed};
use super::net::names::NameError;
use super::net::place::Place;
use super::net::stream::Stream;
use super::net::{Moves, Network};
use super::pin::{Identity, Pin};
use super::relay::{self, RelayPlace};
use super::request::RequestBuilder;
use crate::policy::clock::timekeeper::AccountClock;

/// For a request as a whole, its connection included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// For an answer that was awaited when this machine's network became another one.
const AFTER_MOVE: Duration = Duration::from_secs(2);
/// Idle connections are dropped before the directory drops them (after 10 s), so that none is used as it closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// Bytes of an answer at most: a page of 1,000 users takes some 150 KB, a record 44 KB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A directory at a URL. Clones share its connections.
#[derive(Debug, Clone)]
pub struct DirectoryClient {
    inner: Arc<Inner>,
    clock: Option<Arc<AccountClock>>,
}

type Http = Client<Connector, Full<Bytes>>;

#[derive(Debug)]
struct Inner {
    connector: Connector,
    /// The place in its normal form.
    name: String,
    network: Network,
    /// Its connections, and how many moves of this machine they have seen.
    http: Mutex<(u64, Http)>,
    pin: Pin,
    holds: Holds,
    relay: relay::Found,
}

fn http(connector: &Connector) -> Http {
    let pool = TokioTimer::new();
    Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE_TIMEOUT).pool_timer(pool).build(connector.clone())
}

/// What is told of somebody who answers something else.
const NO_HTTP: &str = "what answers there does not speak HTTP. A directory that serves https has a URL of its own, which its operator \
                       gets from `directoryd --init`";

fn is_no_http(error: &HttpError) -> bool {
    error.source().and_then(|source| source.downcast_ref::<hyper::Error>()).is_some_and(hyper::Error::is_parse)
}

impl DirectoryClient {
    /// For the directory at a place: `https://dir.example.org:7470`, `example.org`, or `127.0.0.1:7470` on this machine. Nothing is
    /// contacted yet. It shares nothing with others, and asks the system's DNS.
    ///
    /// # Errors
    /// When it is no place of a directory, or one that may not be used.
    pub fn new(place: &str) -> Result<Self, DirectoryError> {
        Ok(Self::at(Place::parse(place)?, &Network::default(), None))
    }

    /// The same for a place and a network; with a key, one that has to prove that it has this key before anything is asked of it.
    pub fn at(place: Place, network: &Network, key: Option<[u8; 32]>) -> Self {
        let name = place.to_string();
        let connector = Connector::new(place, network.clone());
        let http = Mutex::new((network.moves().count(), http(&connector)));
        Self {
            inner: Arc::new(Inner {
                connector,
                name,
                network: network.clone(),
                http,
                pin: Pin::new(key),
                holds: Holds::default(),
                relay: relay::Found::default(),
            }),
            clock: None,
        }
    }

    /// The same; this clock hears what time each of its answers tells.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<AccountClock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The key that it must have.
    pub fn pin(&self) -> &Pin {
        &self.inner.pin
    }

    /// Where it is, in the normal form: a URL without a final slash, or a domain.
    pub fn url(&self) -> &str {
        &self.inner.name
    }

    /// When its certificate ends, in Unix seconds, as the last connection showed it, if its dates count.
    pub fn certificate_ends(&self) -> Option<i64> {
        self.inner.connector.certificate_ends()
    }

    /// Its relay, as the last session found it.
    pub fn relay(&self) -> Option<RelayPlace> {
        self.inner.relay.get()
    }

    /// A session over this connection was told of a relay, or of none.
    pub(super) fn offered(&self, stream: &Stream, offer: Option<RelayOffer>) {
        let connector = &self.inner.connector;
        let found = || RelayPlace::of(connector.place(), stream.peer().ok()?, offer?, connector.judge()?);
        self.inner.relay.set(found());
    }

    /// The domain that it has to serve, if it was named by one.
    pub fn domain(&self) -> Option<&str> {
        self.inner.connector.place().domain()
    }

    /// The machines that its domain names, `host:port` in their order; none if it was not named by a domain.
    ///
    /// # Errors
    /// What the DNS said instead.
    pub async fn machines(&self) -> Option<Result<Vec<String>, NameError>> {
        let machines = self.inner.connector.machines().await?;
        Some(machines.map(|mut machines| {
            machines.sort_unstable();
            machines.into_iter().map(|target| format!("{}:{}", target.host, target.port)).collect()
        }))
    }

    /// Moves of this machine.
    pub(super) fn moves(&self) -> Moves {
        self.inner.network.moves()
    }

    /// Connections that lead from where this machine is now: those from before a move may never answer.
    fn http(&self) -> Http {
        let now = self.moves().count();
        let mut kept = self.inner.http.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 != now {
            *kept = (now, http(&self.inner.connector));
        }
        kept.1.clone()
    }

    /// A connection of its own, for a session.
    pub(super) async fn connect(&self) -> Result<Stream, DirectoryError> {
        self.inner.connector.connect().await.map_err(|error| self.no_connection(error))
    }

    /// A fresh challenge.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn nonce(&self) -> Result<NonceAnswer, DirectoryError> {
        Ok(self.ask(self.request(Method::GET, &["v1", "nonce"])).await?.1)
    }

    pub(super) fn base(&self) -> &Url {
        self.inner.connector.place().url()
    }

    pub(super) fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.base().clone();
        // An http URL has a path, so this cannot fail; and if it did, the directory would answer 404.
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        url
    }

    /// The same with a parameter.
    pub(super) fn request_with(&self, method: Method, segments: &[&str], (key, value): (&str, &str)) -> RequestBuilder {
        let mut url = self.path(segments);
        url.query_pairs_mut().append_pair(key, value);
        RequestBuilder::new(method, url)
    }

    pub(super) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        RequestBuilder::new(method, self.path(segments))
    }

    /// Asks the directory who it is, with a fresh challenge: the key is one that it has. Whether it is the pinned one is not
    /// judged.
    ///
    /// # Errors
    /// When it does not answer, or does not prove it.
    pub async fn identify(&self) -> Result<Identity, DirectoryError> {
        let challenge: [u8; CHALLENGE_BYTES] = rand::random();
        let request = self.request_with(Method::GET, &["v1", "directory"], ("challenge", &Base64::text(&challenge)));
        let answer: DirectoryAnswer = self.ask_anyone(request).await?.1;
        let strange = |reason: &str| DirectoryError::Protocol { url: self.url().to_owned(), reason: reason.to_owned() };
        let key: [u8; 32] = unhex(&answer.key).ok_or_else(|| strange("its key is not one"))?;
        let signature = answer.signature.and_then(|signature| <[u8; 64]>::try_from(signature.0).ok());
        let signature = signature.ok_or_else(|| strange("it does not prove that it has its key"))?;
        if !verified(&key, &identity_message(&answer.origin, &challenge), &signature) {
            return Err(strange("it does not prove that it has its key"));
        }
        Ok(Identity { origin: answer.origin, key, time: answer.time })
    }

    /// Lets nothing be asked of anybody but the pinned directory.
    async fn vouched(&self) -> Result<(), DirectoryError> {
        let Some(known) = self.pin().due() else { return Ok(()) };
        let shown = self.identify().await?;
        if shown.key != known {
            let (known, shown) = (hex(&known), hex(&shown.key));
            return Err(DirectoryError::KeyChanged { url: self.url().to_owned(), known, shown });
        }
        self.pin().proved();
        Ok(())
    }

    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), DirectoryError> {
        // In a box: one of the two futures is made of the other.
        Box::pin(self.vouched()).await?;
        let answer = self.ask_anyone(request).await;
        if matches!(
            answer,
            Err(DirectoryError::Unreachable { .. }
                | DirectoryError::NotTrusted { .. }
                | DirectoryError::Protocol { .. })
        ) {
            self.pin().doubt();
        }
        answer
    }

    /// The same of whoever answers there.
    pub(super) async fn ask_anyone<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), DirectoryError> {
        let (kind, request) = request.build().map_err(|error| self.strange(error.to_string()))?;
        // It said for how long not to ask: it is not asked, whoever here wants to know.
        if let Err(retry_after) = self.inner.holds.admit(&kind, Instant::now()) {
            return Err(DirectoryError::RateLimited { retry_after });
        }
        let answer = self.execute(request).await;
        let pause = match &answer {
            Err(DirectoryError::RateLimited { retry_after }) => Some(*retry_after),
            _ => None,
        };
        self.inner.holds.answered(kind, pause, Instant::now());
        answer
    }

    fn strange(&self, reason: String) -> DirectoryError {
        DirectoryError::Protocol { url: self.url().to_owned(), reason }
    }

    fn unreachable(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> DirectoryError {
        DirectoryError::Unreachable { url: self.url().to_owned(), source: source.into() }
    }

    fn no_connection(&self, error: ConnectError) -> DirectoryError {
        let url = || self.url().to_owned();
        match error {
            ConnectError::NotTrusted(why) => DirectoryError::NotTrusted { url: url(), why },
            ConnectError::NoService(_) | ConnectError::NoRecord(_) => DirectoryError::NoDirectory(error.to_string()),
            error => DirectoryError::Unreachable { url: url(), source: Box::new(error) },
        }
    }

    fn http_error(&self, error: HttpError) -> DirectoryError {
        match error.source().and_then(|source| source.downcast_ref::<Failed>()) {
            Some(Failed(why)) => self.no_connection(ConnectError::clone(why)),
            None if is_no_http(&error) => self.strange(NO_HTTP.to_owned()),
            None => self.unreachable(error),
        }
    }

    async fn execute<T: DeserializeOwned>(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, T), DirectoryError> {
        let strange = |reason| self.strange(reason);
        let answer = async {
            let response = self.http().request(request).await.map_err(|error| self.http_error(error))?;
            let status = response.status();
            let (mut incoming, mut body) = (response.into_body(), Vec::new());
            while let Some(frame) = incoming.frame().await {
                let Ok(chunk) = frame.map_err(|error| self.unreachable(error))?.into_data() else { continue };
                if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                    return Err(strange(format!("more than {MAX_ANSWER_BYTES} bytes")));
                }
                body.extend_from_slice(&chunk);
            }
            Ok((status, body))
        };
        let slow = |_| self.unreachable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()));
        let moved = || self.unreachable("the network changed meanwhile");
        let answer = self.moves().cut(AFTER_MOVE, timeout(REQUEST_TIMEOUT, answer)).await;
        let (status, body) = answer.ok_or_else(moved)?.map_err(slow)??;
        if let Some(clock) = &self.clock
            && let Ok(Timed { time }) = serde_json::from_slice(&body)
        {
            clock.directory_says(time);
        }
        if status.is_success() {
            let answer = serde_json::from_slice(&body).map_err(|error| strange(error.to_string()))?;
            return Ok((status, answer));
        }
        match serde_json::from_slice::<ErrorAnswer>(&body) {
            Ok(answer) => Err(DirectoryError::of_answer(answer)),
            Err(_) => Err(strange(format!("status {status}"))),
        }
    }
}

/// What is common to all answers.
#[derive(serde::Deserialize)]
struct Timed {
    time: i64,
}
