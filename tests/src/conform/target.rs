//! The directory that is tried, and how it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use proto::directory::SpkiPin;
use proto::directory::api::{Base64, ErrorAnswer, ErrorCode, ServerFrame, SessionHello, session_message};
use proto::ids::DeviceId;
use rustls::ClientConfig;
use serde::Serialize;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::http::{Answer, Http, Wire};
use crate::registry::{Registrant, nonce};
use crate::tls::{self, Trust};

/// For anything that a directory is to say.
const PATIENCE: Duration = Duration::from_secs(15);

/// How a case ended that did not fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// As it should be.
    Passed,
    /// The operator has switched off what it is about.
    Skipped(&'static str),
}

/// Called with each request and its answer.
pub type Exchange = fn(&str);

/// See the module.
#[derive(Debug)]
pub struct Target {
    address: String,
    host: String,
    tls: Option<Arc<ClientConfig>>,
    /// The domain that it serves.
    pub origin: String,
    /// Tells the people of this run from those of others.
    run: String,
    people: AtomicU32,
    told: Option<Exchange>,
}

impl Target {
    /// The directory at a URL: `http://...`, `https://...` by the authorities of this system, or `https://...#sha256-...` by its key.
    /// `told` hears of each request.
    ///
    /// # Errors
    /// When it is no URL, or nobody answers there.
    pub async fn at(url: &str, told: Option<Exchange>) -> Result<Self> {
        let (bare, pin) = url.split_once('#').map_or((url, None), |(bare, pin)| (bare, Some(pin)));
        let (scheme, authority) = bare.trim_end_matches('/').split_once("://").context("a URL begins with http://")?;
        let trust = match pin {
            Some(pin) => Trust::Pin(pin.parse::<SpkiPin>()?),
            None => Trust::System,
        };
        let (tls, port) = match scheme {
            "http" => (None, 80),
            "https" => (Some(tls::client(trust)?), 443),
            _ => bail!("{scheme} is neither http nor https"),
        };
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        let host = address.rsplit_once(':').map_or(authority, |(host, _)| host).trim_matches(['[', ']']).to_owned();
        let run = format!("{:08x}", std::process::id() ^ (proto::time::Timestamp::now().0 as u32));
        let mut target = Self { address, host, tls, origin: String::new(), run, people: AtomicU32::new(0), told };
        target.origin = nonce(&mut target.http().await?).await?.origin;
        Ok(target)
    }

    /// A connection.
    ///
    /// # Errors
    /// When nobody answers, or not whom the URL names.
    pub async fn http(&self) -> Result<Http> {
        let mut http = match &self.tls {
            Some(config) => Http::connect_tls(&self.address, &self.host, config).await?,
            None => Http::connect(&self.address).await?,
        };
        http.told = self.told;
        Ok(http)
    }

    /// Somebody who is in no directory yet.
    ///
    /// # Errors
    /// Never, but the name is not written into the program.
    pub fn person(&self) -> Result<Registrant> {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        Registrant::new(&format!("conform-{}-{number}", self.run), &self.run, &self.origin)
    }

    /// Somebody who is registered.
    ///
    /// # Errors
    /// When the directory refuses.
    pub async fn registered(&self, http: &mut Http) -> Result<Registrant> {
        let person = self.person()?;
        person.register(http).await?;
        Ok(person)
    }

    /// A session of somebody, and its bearer token.
    ///
    /// # Errors
    /// When the directory refuses it.
    pub async fn session(&self, http: &mut Http, who: &Registrant) -> Result<(Session, String)> {
        let nonce = nonce(http).await?;
        let hello = SessionHello {
            account: who.account(),
            device: DeviceId::of_key(&who.device.verifying_key().to_bytes()),
            signature: Base64(who.sign(&session_message(&nonce.origin, &nonce.nonce))),
            nonce: nonce.nonce,
            previous: None,
            number: None,
        };
        let mut session = self.open().await?;
        session.say(&hello).await?;
        match session.frame().await? {
            ServerFrame::Ready { token, .. } => Ok((session, token)),
            other => bail!("the answer to a hello is {other:?}"),
        }
    }

    /// A session on which nothing was said yet.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn open(&self) -> Result<Session> {
        let stream = self.http().await?.into_wire();
        let url = format!("ws{}://{}/v1/session", if self.tls.is_some() { "s" } else { "" }, self.address);
        let (socket, _) = timeout(PATIENCE, client_async(url, stream)).await.context("no session begins")??;
        Ok(Session { socket, told: self.told })
    }
}

/// A session that has begun.
#[derive(Debug)]
pub struct Session {
    socket: WebSocketStream<Box<dyn Wire>>,
    told: Option<Exchange>,
}

/// What a session says.
#[derive(Debug)]
pub enum Said {
    /// JSON.
    Frame(ServerFrame),
    /// Mail.
    Mail(Vec<u8>),
}

impl Session {
    /// Says something.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn say(&mut self, frame: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(frame)?;
        if let Some(told) = self.told {
            told(&format!("session > {text}"));
        }
        Ok(self.socket.send(Message::text(text)).await?)
    }

    /// The next thing that is said.
    ///
    /// # Errors
    /// When nothing comes, or it ends.
    pub async fn said(&mut self) -> Result<Said> {
        loop {
            let next = timeout(PATIENCE, self.socket.next()).await.context("the session says nothing")?;
            match next.context("the session ended")?? {
                Message::Text(text) => {
                    if let Some(told) = self.told {
                        told(&format!("session < {text}"));
                    }
                    return Ok(Said::Frame(serde_json::from_str(&text).with_context(|| format!("no frame: {text}"))?));
                }
                Message::Binary(bytes) => return Ok(Said::Mail(bytes.to_vec())),
                Message::Ping(_) | Message::Pong(_) => {}
                other => bail!("the session said {other:?}"),
            }
        }
    }

    /// The next frame.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn frame(&mut self) -> Result<ServerFrame> {
        match self.said().await? {
            Said::Frame(frame) => Ok(frame),
            Said::Mail(bytes) => bail!("mail of {} bytes came", bytes.len()),
        }
    }

    /// Ends it.
    pub async fn close(mut self) {
        let _ = timeout(PATIENCE, self.socket.close(None)).await;
    }
}

/// Wants a refusal.
///
/// # Errors
/// When the answer is another.
pub fn refused(answer: &Answer, status: u16, code: ErrorCode, what: &str) -> Result<ErrorAnswer> {
    ensure!(answer.status == status, "{what}: status {} in the place of {status}: {}", answer.status, answer.text());
    let error: ErrorAnswer = answer.json().with_context(|| format!("{what}: no error as they all are"))?;
    ensure!(error.error.code == code, "{what}: {:?} in the place of {code:?}", error.error.code);
    ensure!(!error.error.message.is_empty() && error.time > 0, "{what}: no words, or no time");
    Ok(error)
}

/// Wants a status.
///
/// # Errors
/// When it is another.
pub fn expect(answer: &Answer, status: u16, what: &str) -> Result<()> {
    ensure!(answer.status == status, "{what}: status {} in the place of {status}: {}", answer.status, answer.text());
    Ok(())
}
