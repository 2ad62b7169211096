//! REST requests to one directory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::directory::api::{
    Base64, DEPOSIT_TOKEN_HEADER, DepositAnswer, ErrorAnswer, NonceAnswer, PublishReachAnswer, PublishReachRequest,
    ReachAnswer, RecordAnswer,
};
use proto::ids::AccountId;
use proto::name::Name;
use reqwest::{Method, Request, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::base::parse_base;
use super::holds::Holds;
use super::{DirectoryError, Pin};
use crate::policy::timekeeper::AccountClock;

/// For a connection to stand.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a request as a whole.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Idle connections are dropped before the directory drops them (after 10 s), so that none is used as it closes.
const IDLE_TIMEOUT: Duration = Duration::from_secs(6);
/// Bytes of an answer at most: a page of 1,000 users takes some 150 KB, a record 44 KB.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// Signs with a key that stays where it is.
pub type Sign<'a> = &'a (dyn Fn(&[u8]) -> [u8; 64] + Send + Sync);

/// What a directory says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The domain that it serves.
    pub origin: String,
    /// Its clock in Unix seconds.
    pub time: i64,
}

/// A record that the directory has stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whether the name is new there.
    pub created: bool,
    /// The seq that it holds now.
    pub seq: u64,
    /// Its clock in Unix seconds.
    pub time: i64,
}

/// Somebody who is in the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Whose the directory says it is; the record tells.
    pub account: AccountId,
    /// The signed record's exact bytes, unverified.
    pub record: Vec<u8>,
    /// Whether a device is connected; `None` if the account does not show it to us.
    pub online: Option<bool>,
    /// Since when, in Unix seconds, if known.
    pub since: Option<i64>,
    /// The directory's clock in Unix seconds.
    pub time: i64,
}

impl From<RecordAnswer> for Found {
    fn from(answer: RecordAnswer) -> Self {
        let RecordAnswer { account, record, online, since, time, .. } = answer;
        Self { account, record: record.0, online, since, time }
    }
}

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

    /// The domain that the directory serves, and its clock.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn info(&self) -> Result<Info, DirectoryError> {
        let NonceAnswer { origin, time, .. } = self.nonce().await?;
        Ok(Info { origin, time })
    }

    /// A fresh challenge.
    ///
    /// # Errors
    /// When the directory does not answer.
    pub async fn nonce(&self) -> Result<NonceAnswer, DirectoryError> {
        Ok(self.ask(self.request(Method::GET, &["v1", "nonce"])).await?.1)
    }

    /// Publishes an encoded signed reach; the seq that the directory holds now, which is higher than the one sent if
    /// that came late.
    ///
    /// # Errors
    /// When the directory does not take it.
    pub async fn publish_reach(&self, reach: &[u8]) -> Result<u64, DirectoryError> {
        let body = PublishReachRequest { reach: Base64(reach.to_vec()) };
        let request = self.request(Method::PUT, &["v1", "reach"]).json(&body);
        Ok(self.ask::<PublishReachAnswer>(request).await?.1.seq)
    }

    /// Who has this name. `bearer` is the token of a session there, which shows presence to members.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] when nobody has; [`DirectoryError::Unreachable`] when nobody can say.
    pub async fn lookup(&self, name: &Name, bearer: Option<&str>) -> Result<Found, DirectoryError> {
        let request = with_bearer(self.request(Method::GET, &["v1", "records", name.as_str()]), bearer);
        Ok(self.ask::<RecordAnswer>(request).await?.1.into())
    }

    /// Who has this account id.
    ///
    /// # Errors
    /// As [`DirectoryClient::lookup`].
    pub async fn lookup_account(&self, account: AccountId, bearer: Option<&str>) -> Result<Found, DirectoryError> {
        let request = with_bearer(self.request(Method::GET, &["v1", "accounts", &account.to_string()]), bearer);
        Ok(self.ask::<RecordAnswer>(request).await?.1.into())
    }

    /// Where an account's devices are: encoded signed reach, unverified. `token` is the deposit token that the account
    /// gave us as a contact.
    ///
    /// # Errors
    /// [`DirectoryError::NotFound`] also when we may not know.
    pub async fn reach(
        &self,
        account: AccountId,
        bearer: Option<&str>,
        token: Option<&[u8; 32]>,
    ) -> Result<Vec<Vec<u8>>, DirectoryError> {
        let mut request = with_bearer(self.request(Method::GET, &["v1", "reach", &account.to_string()]), bearer);
        if let Some(token) = token {
            request = request.header(DEPOSIT_TOKEN_HEADER, Base64::text(token));
        }
        let answer: ReachAnswer = self.ask(request).await?.1;
        Ok(answer.reach.into_iter().map(|reach| reach.0).collect())
    }

    /// Leaves an envelope in an account's mailbox; the answer is given after it is on the directory's disk. `token` is the
    /// deposit token that the account gave us, and without one it is a stranger's.
    ///
    /// # Errors
    /// `ErrorCode::MailboxFull`, `ErrorCode::TokenRevoked` and others as [`DirectoryError::Refused`];
    /// [`DirectoryError::NotFound`] when the envelope's device is none of the account's.
    pub async fn deposit(
        &self,
        account: AccountId,
        envelope: Vec<u8>,
        bearer: Option<&str>,
        token: Option<&[u8; 32]>,
    ) -> Result<DepositAnswer, DirectoryError> {
        let mut request = self.request(Method::POST, &["v1", "mailbox", &account.to_string()]);
        request = with_bearer(request, bearer).header("content-type", "application/octet-stream").body(envelope);
        if let Some(token) = token {
            request = request.header(DEPOSIT_TOKEN_HEADER, Base64::text(token));
        }
        Ok(self.ask(request).await?.1)
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

pub(super) fn with_bearer(request: RequestBuilder, bearer: Option<&str>) -> RequestBuilder {
    match bearer {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_terms_stay_in_their_place() {
        let client = DirectoryClient::new("127.0.0.1:1").unwrap();
        assert_eq!(client.path(&["v1", "records", "a+b.é"]).path(), "/v1/records/a+b.%C3%A9");
        let query = proto::directory::api::UsersQuery {
            query: Some("a&limit=9 é".into()),
            online: Some(true),
            ..Default::default()
        };
        assert_eq!(client.users_url(&query).query(), Some("query=a%26limit%3D9+%C3%A9&online=true"));
    }
}
