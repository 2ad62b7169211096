//! People who exist in a directory only: makes keys and signed records, and registers them over REST, as a daemon
//! would. For crowds of thousands, for load, and for forgeries.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ed25519_dalek::{Signer, SigningKey};
use proto::directory::api::{
    Base64, NonceAnswer, PublishRequest, ServerFrame, SessionHello, publish_message, session_message,
};
use proto::directory::{ContactPolicy, Device, Prekey, Record, Rotation, SignedRecord, recovery_hash};
use proto::ids::{AccountId, sha256};
use proto::name::Name;
use proto::time::Timestamp;
use proto::wire::SUITE_HYBRID;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http::{Answer, Http};

/// Bytes of a recipient of suite 2.
const RECIPIENT_BYTES: usize = 1_216;
/// Lifetime of a record: the longest that is allowed.
const RECORD_SECONDS: i64 = 604_800;
/// A directory answers a session's hello within this.
const READY_DEADLINE: Duration = Duration::from_secs(30);

/// Somebody with keys.
#[derive(Debug, Clone)]
pub struct Registrant {
    /// The name.
    pub name: Name,
    /// The directory's domain.
    pub origin: String,
    /// Signs records.
    pub identity: SigningKey,
    /// Signs sessions.
    pub device: SigningKey,
}

impl Registrant {
    /// Somebody whose keys follow from `name` and `salt`: the same for the same, another for another.
    ///
    /// # Errors
    /// When the name is not allowed.
    pub fn new(name: &str, salt: &str, origin: &str) -> Result<Self> {
        let key = |what: &str| SigningKey::from_bytes(&sha256(&[what.as_bytes(), name.as_bytes(), salt.as_bytes()]));
        let name = Name::parse(name).with_context(|| format!("{name:?} is not allowed"))?;
        Ok(Self { name, origin: origin.into(), identity: key("identity"), device: key("device") })
    }

    /// The account's id.
    pub fn account(&self) -> AccountId {
        AccountId::of_first_key(&self.identity.verifying_key().to_bytes())
    }

    /// A signature by the device.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.device.sign(message).to_bytes().to_vec()
    }

    /// A signature by the identity.
    pub fn sign_as_identity(&self, message: &[u8]) -> Vec<u8> {
        self.identity.sign(message).to_bytes().to_vec()
    }

    /// A record like a daemon's: one device, one prekey.
    pub fn record(&self, seq: u64) -> Record {
        let now = Timestamp::now().unix_seconds();
        let identity = self.identity.verifying_key().to_bytes();
        let device = Device::of_key(self.device.verifying_key().to_bytes());
        let recovery = recovery_hash(&sha256(&[b"recovery", &identity]));
        let recipient = sha256(&[b"prekey", &identity]).repeat(RECIPIENT_BYTES / 32);
        let prekey =
            Prekey { device: device.id, suite: SUITE_HYBRID, recipient, created: now, not_after: now + RECORD_SECONDS };
        Record {
            origin: self.origin.clone(),
            name: self.name.clone(),
            first_key: identity,
            rotations: vec![Rotation::genesis(&self.identity, recovery)],
            identity_key: identity,
            recovery_hash: recovery,
            seq,
            prev: [0; 32],
            issued: now,
            expires: now + RECORD_SECONDS,
            devices: vec![device],
            prekeys: vec![prekey],
            mailbox: None,
            policy: ContactPolicy::Members,
            min_suite: SUITE_HYBRID,
            list_address: false,
            show_online: true,
        }
    }

    /// Publishes record `seq`: asks for a nonce, signs, puts. Returns whatever the directory answered.
    ///
    /// # Errors
    /// When the directory cannot be asked or the record cannot be signed.
    pub async fn publish(&self, http: &mut Http, seq: u64) -> Result<Answer> {
        let record = self.signed(seq)?;
        self.publish_signed(http, record).await
    }

    /// Record `seq`, signed and encoded.
    ///
    /// # Errors
    /// When the record cannot be signed.
    pub fn signed(&self, seq: u64) -> Result<Vec<u8>> {
        Ok(SignedRecord::sign(&self.record(seq), &self.identity).context("cannot sign the record")?.encode())
    }

    /// Publishes an encoded record: asks for a nonce, signs that, puts. Returns whatever the directory answered.
    ///
    /// # Errors
    /// When the directory cannot be asked.
    pub async fn publish_signed(&self, http: &mut Http, record: Vec<u8>) -> Result<Answer> {
        let nonce = nonce(http).await?;
        let message = publish_message(&nonce.origin, &nonce.nonce, &record);
        let signature = self.identity.sign(&message).to_bytes().to_vec();
        let request =
            PublishRequest { record: record.into(), nonce: nonce.nonce, signature: signature.into(), recovery: None };
        let body = serde_json::to_vec(&request)?;
        http.request("PUT", &format!("/v1/records/{}", self.name.as_str()), "", Some(&body)).await
    }

    /// Publishes the first record and wants success.
    ///
    /// # Errors
    /// When the directory refuses.
    pub async fn register(&self, http: &mut Http) -> Result<()> {
        let answer = self.publish(http, 1).await?;
        ensure!(matches!(answer.status, 200 | 201), "{}: {} {}", self.name.as_str(), answer.status, answer.text());
        Ok(())
    }

    /// Opens an authenticated session at `address`, asking `http` for the nonce.
    ///
    /// # Errors
    /// When the directory refuses.
    pub async fn session(&self, http: &mut Http, address: &str) -> Result<WebSocketStream<TcpStream>> {
        Ok(self.session_and_token(http, address).await?.0)
    }

    /// The same, with the bearer token of its REST requests.
    ///
    /// # Errors
    /// When the directory refuses.
    pub async fn session_and_token(
        &self,
        http: &mut Http,
        address: &str,
    ) -> Result<(WebSocketStream<TcpStream>, String)> {
        use futures_util::{SinkExt, StreamExt};

        let nonce = nonce(http).await?;
        let signature = self.device.sign(&session_message(&nonce.origin, &nonce.nonce)).to_bytes();
        let device = Device::of_key(self.device.verifying_key().to_bytes()).id;
        let hello = SessionHello {
            account: self.account(),
            device,
            nonce: nonce.nonce,
            signature: Base64(signature.to_vec()),
            previous: None,
            number: None,
        };
        let stream = TcpStream::connect(address).await.context("cannot connect")?;
        stream.set_nodelay(true)?;
        let (mut socket, _) = client_async(format!("ws://{address}/v1/session"), stream).await?;
        socket.send(Message::text(serde_json::to_string(&hello)?)).await.context("cannot send the hello")?;
        let frame = tokio::time::timeout(READY_DEADLINE, socket.next()).await.context("no answer to the hello")?;
        let frame = frame.context("the session ended")??;
        let text = frame.to_text().context("the answer is no text")?;
        match serde_json::from_str::<ServerFrame>(text).with_context(|| format!("cannot read {text}"))? {
            ServerFrame::Ready { token, .. } => Ok((socket, token)),
            _ => bail!("the directory answered {text}"),
        }
    }
}

/// `GET /v1/nonce`.
///
/// # Errors
/// When the directory cannot be asked.
pub async fn nonce(http: &mut Http) -> Result<NonceAnswer> {
    let answer = http.get("/v1/nonce").await?;
    ensure!(answer.status == 200, "no nonce: {} {}", answer.status, answer.text());
    answer.json()
}

/// Registers `names` over `connections` connections at the same time.
///
/// # Errors
/// When one registration fails.
pub async fn register_all(address: &str, origin: &str, names: Vec<String>, connections: usize) -> Result<()> {
    let mut running = tokio::task::JoinSet::new();
    for part in names.chunks(names.len().div_ceil(connections.max(1)).max(1)) {
        let (part, address, origin) = (part.to_vec(), address.to_owned(), origin.to_owned());
        running.spawn(async move {
            let mut http = Http::connect(&address).await?;
            for name in part {
                Registrant::new(&name, "crowd", &origin)?.register(&mut http).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a registration panicked")??;
    }
    Ok(())
}
