//! The way to one directory: who it is, and how a request goes and is answered. What can be asked stands in `requests`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::directory::api::{Base64, DirectoryAnswer, ErrorAnswer, NonceAnswer};
use proto::directory::membership::{CHALLENGE_BYTES, identity_message};
use proto::directory::verified;
use proto::ids::{hex, unhex};
use reqwest::{Method, Request, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::base::parse_base;
use super::error::DirectoryError;
use super::holds::Holds;
use super::pin::{Identity, Pin};
use crate::policy::clock::timekeeper::AccountClock;

/// For a connection to stand.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a request as a whole.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
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

#[derive(Debug)]
struct Inner {
    base: Url,
    http: reqwest::Client,
    pin: Pin,
    holds: Holds,
}

impl DirectoryClient {
    /// For the directory at `url`: `http://127.0.0.1:7470`, or `127.0.0.1:7470`. Nothing is contacted yet.
    ///
    /// # Errors
    /// When it is no URL, or one that this build may not or cannot use.
    pub fn new(url: &str) -> Result<Self, DirectoryError> {
        Self::pinned(url, None)
    }

    /// The same for a directory that has to prove that it has this key before anything is asked of it.
    ///
    /// # Errors
    /// As [`DirectoryClient::new`].
    pub fn pinned(url: &str, key: Option<[u8; 32]>) -> Result<Self, DirectoryError> {
        let base = parse_base(url)?;
        let http = reqwest::Client::builder()
            .no_proxy()
            // No https yet: the system's root certificates are not even read.
            .tls_certs_only([])
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("chatd/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| DirectoryError::BadUrl { url: url.to_owned(), reason: error.to_string() })?;
        let inner = Inner { base, http, pin: Pin::new(key), holds: Holds::default() };
        Ok(Self { inner: Arc::new(inner), clock: None })
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

    /// The URL in its normal form, without a final slash.
    pub fn url(&self) -> &str {
        self.inner.base.as_str().trim_end_matches('/')
    }

    /// A fresh challenge.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn nonce(&self) -> Result<NonceAnswer, DirectoryError> {
        Ok(self.ask(self.request(Method::GET, &["v1", "nonce"])).await?.1)
    }

    pub(super) fn base(&self) -> &Url {
        &self.inner.base
    }

    pub(super) fn path(&self, segments: &[&str]) -> Url {
        let mut url = self.inner.base.clone();
        // An http URL has a path, so this cannot fail; and if it did, the directory would answer 404.
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        url
    }

    pub(super) fn request_to(&self, method: Method, url: Url) -> RequestBuilder {
        self.inner.http.request(method, url)
    }

    /// The same with a parameter.
    pub(super) fn request_with(&self, method: Method, segments: &[&str], (key, value): (&str, &str)) -> RequestBuilder {
        let mut url = self.path(segments);
        url.query_pairs_mut().append_pair(key, value);
        self.request_to(method, url)
    }

    pub(super) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.request_to(method, self.path(segments))
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
        if matches!(answer, Err(DirectoryError::Unreachable { .. } | DirectoryError::Protocol { .. })) {
            self.pin().doubt();
        }
        answer
    }

    /// The same of whoever answers there.
    pub(super) async fn ask_anyone<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<(StatusCode, T), DirectoryError> {
        let request = request.build().map_err(|error| self.strange(error.to_string()))?;
        let kind = Holds::kind(request.method(), request.url());
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

    async fn execute<T: DeserializeOwned>(&self, request: Request) -> Result<(StatusCode, T), DirectoryError> {
        let unreachable = |error: reqwest::Error| DirectoryError::Unreachable {
            url: self.url().to_owned(),
            // The URL is named already.
            source: Box::new(error.without_url()),
        };
        let strange = |reason| self.strange(reason);
        let mut response = self.inner.http.execute(request).await.map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(strange(format!("more than {MAX_ANSWER_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
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
