//! A group as its log knows it: keys, tokens, and the requests of whoever has them. What is in an entry is nobody's business here.

use anyhow::{Context, Result, ensure};
use ed25519_dalek::{Signer, SigningKey};
use proto::directory::api::{Base64, NonceAnswer};
use proto::directory::groups::access::{GROUP_TOKEN_HEADER, keep_message, read_token, token_hash, write_token};
use proto::directory::groups::api::{AppendAnswer, EntriesAnswer, GroupRequest, KeeperRequest, SlotRequest};
use proto::directory::groups::{
    Append, EntryKind, Header, Root, Running, SignedHeader, SignedRoot, SignedSlot, entry_hash,
};
use proto::ids::{Hex32, LogId, sha256};

use crate::http::{Answer, Http};

/// Keys and tokens follow from the name.
#[derive(Debug, Clone)]
pub struct Team {
    /// The owner's.
    pub root: SigningKey,
    /// That of owner and admins.
    pub log_key: SigningKey,
    /// Which log.
    pub log: LogId,
    /// The number of the root.
    pub root_number: u64,
    /// The number of the header.
    pub number: u64,
    /// What tokens are derived from.
    pub seed: [u8; 32],
}

/// A key that follows from a name.
pub fn key(name: &str) -> SigningKey {
    SigningKey::from_bytes(&sha256(&[name.as_bytes()]))
}

/// Its public half.
pub fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

/// The line of a request that shows a token.
pub fn with_token(token: &[u8; 32]) -> String {
    format!("{GROUP_TOKEN_HEADER}: {}\r\n", Base64::text(token))
}

/// The line of a request that shows a session's bearer token.
pub fn with_bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

impl Team {
    /// The one with this name.
    pub fn new(name: &str) -> Self {
        let root = key(&format!("root of {name}"));
        let log = LogId::of_root_key(&public(&root));
        let (log_key, seed) = (key(&format!("log of {name}")), sha256(&[b"seed", name.as_bytes()]));
        Self { root, log_key, log, root_number: 0, number: 0, seed }
    }

    /// The path of its log, or of something below it.
    pub fn path(&self, below: &str) -> String {
        format!("/v1/groups/{}{below}", self.log)
    }

    /// The line that shows the token to read.
    pub fn reads(&self) -> String {
        with_token(&read_token(&self.seed))
    }

    /// The line that shows the token to write.
    pub fn writes(&self) -> String {
        with_token(&write_token(&self.seed))
    }

    /// The root in force, signed by a key.
    ///
    /// # Errors
    /// When it breaks a limit.
    pub fn root_by(&self, by: &SigningKey) -> Result<Vec<u8>> {
        let (root_key, log_key) = (public(&self.root), public(&self.log_key));
        let root = Root { log: self.log, number: self.root_number, root_key, log_key };
        Ok(SignedRoot::sign(root, |bytes| by.sign(bytes).to_bytes())?.encode())
    }

    /// The header in force.
    ///
    /// # Errors
    /// When it breaks a limit.
    pub fn header(&self) -> Result<Vec<u8>> {
        let (read, write) = (token_hash(&read_token(&self.seed)), token_hash(&write_token(&self.seed)));
        let (log, root, number) = (self.log, self.root_number, self.number);
        let header = Header { log, root, number, read, write, room: None, successors: Vec::new() };
        Ok(SignedHeader::sign(header, |bytes| self.log_key.sign(bytes).to_bytes())?.encode())
    }

    /// Has other tokens from now on; the directory is told by whoever puts the header.
    pub fn turn(&mut self, seed: u8) {
        self.number += 1;
        self.seed = [seed; 32];
    }

    /// Makes the log, as the member with this session.
    ///
    /// # Errors
    /// When the directory cannot be asked.
    pub async fn create(&self, http: &mut Http, bearer: &str) -> Result<Answer> {
        let (root, header) = (self.root_by(&self.root)?, self.header()?);
        self.state(http, &with_bearer(bearer), Some(root), Some(header)).await
    }

    /// Says what holds.
    ///
    /// # Errors
    /// When the directory cannot be asked.
    pub async fn state(
        &self,
        http: &mut Http,
        headers: &str,
        root: Option<Vec<u8>>,
        header: Option<Vec<u8>>,
    ) -> Result<Answer> {
        let body = GroupRequest { root: root.map(Base64), header: header.map(Base64) };
        http.request("PUT", &self.path(""), headers, Some(&serde_json::to_vec(&body)?)).await
    }

    /// Appends, with these lines beside the token.
    ///
    /// # Errors
    /// When the directory cannot be asked.
    pub async fn append(&self, http: &mut Http, headers: &str, append: &Append) -> Result<Answer> {
        let headers = format!("{}{headers}", self.writes());
        http.request("POST", &self.path("/entries"), &headers, Some(&append.encode())).await
    }

    /// Appends a message.
    ///
    /// # Errors
    /// When it is not taken.
    pub async fn say(&self, http: &mut Http, headers: &str, text: &[u8]) -> Result<AppendAnswer> {
        self.added(http, headers, &Append::new(EntryKind::Message, text.to_vec())).await
    }

    /// Appends what is taken.
    ///
    /// # Errors
    /// When it is not.
    pub async fn added(&self, http: &mut Http, headers: &str, append: &Append) -> Result<AppendAnswer> {
        let answer = self.append(http, headers, append).await?;
        ensure!(matches!(answer.status, 200 | 201), "{} {}", answer.status, answer.text());
        answer.json()
    }

    /// Stages keys.
    ///
    /// # Errors
    /// When the directory cannot be asked.
    pub async fn stage(&self, http: &mut Http, headers: &str, text: &[u8]) -> Result<Answer> {
        let append = Append::new(EntryKind::Keys, text.to_vec());
        let headers = format!("{}{headers}", self.writes());
        http.request("POST", &self.path("/staged"), &headers, Some(&append.encode())).await
    }

    /// Reads a page behind a number.
    ///
    /// # Errors
    /// When it is not given.
    pub async fn page(&self, http: &mut Http, after: u64, limit: u32) -> Result<EntriesAnswer> {
        let path = self.path(&format!("/entries?after={after}&limit={limit}"));
        let answer = http.request("GET", &path, &self.reads(), None).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        answer.json()
    }

    /// Reads everything behind a place, and checks it by the running hash; the place where it ends.
    ///
    /// # Errors
    /// When the directory shows another history than it did.
    pub async fn read(&self, http: &mut Http, from: Running) -> Result<(Vec<(u64, Option<Vec<u8>>)>, Running)> {
        let (mut running, mut found) = (from, Vec::new());
        loop {
            let page = self.page(http, running.number, 100).await?;
            ensure!(
                page.before.is_some_and(|hash| hash.0 == running.hash),
                "another history before {}",
                running.number
            );
            for entry in page.entries {
                let bytes = entry.entry.map(|bytes| bytes.0);
                let hash = match (&bytes, entry.hash) {
                    (Some(bytes), _) => entry_hash(entry.kind, bytes),
                    (None, hash) => hash.context("neither an entry nor its hash")?.0,
                };
                running = running.with(&hash);
                ensure!(entry.number == running.number, "number {} in the place of {}", entry.number, running.number);
                found.push((entry.number, bytes));
            }
            if !page.more {
                let head = page.head.context("no head")?;
                ensure!((head.number, head.hash.0) == (running.number, running.hash), "another head than what it gave");
                return Ok((found, running));
            }
        }
    }

    /// Puts a slot.
    ///
    /// # Errors
    /// When the directory cannot be asked.
    pub async fn put_slot(&self, http: &mut Http, device: &SigningKey, counter: u64, content: &[u8]) -> Result<Answer> {
        let sign = |bytes: &[u8]| device.sign(bytes).to_bytes();
        let slot = SignedSlot::sign(self.log, public(device), counter, content, sign)?;
        let body = serde_json::to_vec(&SlotRequest { slot: Base64(slot.encode()) })?;
        http.request("PUT", &self.path("/slots"), &self.writes(), Some(&body)).await
    }

    /// Asks, by the log key, who wrote entries, or drops them.
    ///
    /// # Errors
    /// When the directory cannot be asked.
    pub async fn keep(
        &self,
        http: &mut Http,
        nonce: &NonceAnswer,
        drop: bool,
        numbers: &[u64],
        slots: &[[u8; 32]],
    ) -> Result<Answer> {
        let message = keep_message(&nonce.origin, &nonce.nonce, self.log, drop, numbers, slots);
        let signature = Base64(self.log_key.sign(&message).to_bytes().to_vec());
        let slots = slots.iter().map(|key| Hex32(*key)).collect();
        let body = KeeperRequest { nonce: nonce.nonce.clone(), numbers: numbers.to_vec(), slots, drop, signature };
        http.request("POST", &self.path("/keeper"), "", Some(&serde_json::to_vec(&body)?)).await
    }

    /// Wanted by the log key.
    pub fn proved(&self, append: Append, seen: u64) -> Append {
        append.proved(self.log, seen, |bytes| self.log_key.sign(bytes).to_bytes())
    }
}

/// An event behind another.
pub fn event(after: u64, text: &[u8]) -> Append {
    Append { after, ..Append::new(EntryKind::Event, text.to_vec()) }
}
