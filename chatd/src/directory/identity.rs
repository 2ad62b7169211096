//! Whether a directory is the one that an account knows: the key that it showed at registration is pinned, and it proves
//! from time to time that it has it, on loopback too, where any local user can take its port while it is down.
//!
//! Not the job: protection of what is said in between; TLS by the same key does that later.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use proto::directory::api::{Base64, DirectoryAnswer, MembershipAnswer};
use proto::directory::membership::{CHALLENGE_BYTES, identity_message};
use proto::directory::verified;
use proto::ids::{hex, unhex};
use reqwest::Method;

use super::{DirectoryClient, DirectoryError};

/// A proof counts for so long, unless a request fails before.
const PROVED_FOR: Duration = Duration::from_secs(60);

/// Who a directory has proved to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The domain that it serves.
    pub origin: String,
    /// Its key.
    pub key: [u8; 32],
    /// Its clock in Unix seconds.
    pub time: i64,
}

/// The key that a directory must have, and when it last proved so.
#[derive(Debug, Default)]
pub struct Pin {
    state: Mutex<(Option<[u8; 32]>, Option<Instant>)>,
}

impl Pin {
    /// Of a key, or of none yet: then anything goes.
    pub fn new(key: Option<[u8; 32]>) -> Self {
        Self { state: Mutex::new((key, None)) }
    }

    /// From now on this one.
    pub fn set(&self, key: [u8; 32]) {
        *self.lock() = (Some(key), None);
    }

    /// Which it is.
    pub fn key(&self) -> Option<[u8; 32]> {
        self.lock().0
    }

    /// What it proved counts no more: who answers next may be somebody else.
    pub fn doubt(&self) {
        self.lock().1 = None;
    }

    /// The key to ask for, if it is time to.
    fn due(&self) -> Option<[u8; 32]> {
        let (key, proved) = *self.lock();
        key.filter(|_| proved.is_none_or(|at| at.elapsed() >= PROVED_FOR))
    }

    fn proved(&self) {
        self.lock().1 = Some(Instant::now());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Option<[u8; 32]>, Option<Instant>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DirectoryClient {
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
    pub(super) async fn vouched(&self) -> Result<(), DirectoryError> {
        let Some(known) = self.pin().due() else { return Ok(()) };
        let shown = self.identify().await?;
        if shown.key != known {
            let (known, shown) = (hex(&known), hex(&shown.key));
            return Err(DirectoryError::KeyChanged { url: self.url().to_owned(), known, shown });
        }
        self.pin().proved();
        Ok(())
    }

    /// The directory's word that the account of this session is a member: an encoded statement, unverified.
    ///
    /// # Errors
    /// When it does not give it.
    pub async fn membership(&self, bearer: &str) -> Result<Vec<u8>, DirectoryError> {
        let request = self.request(Method::GET, &["v1", "membership"]).bearer_auth(bearer);
        Ok(self.ask::<MembershipAnswer>(request).await?.1.membership.0)
    }
}
