//! A directory that answers whatever its test wants: for what a daemon and its clients make of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use ed25519_dalek::{Signer, SigningKey};
use proto::directory::api::{Base64, DirectoryAnswer, NonceAnswer};
use proto::directory::membership::identity_message;
use proto::ids::hex;
use proto::time::Timestamp;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::tls::Certificate;

/// How long one connection may stay: a test that fails must end.
const LONGEST: Duration = Duration::from_secs(60);

/// What it answers to requests that it is not made to answer well.
#[derive(Debug, Clone)]
pub enum Answer {
    /// This status and body.
    Body(u16, Vec<u8>),
    /// This status, and the same path below another URL.
    Redirect(u16, String),
    /// 200, and a body that does not end.
    Endless,
    /// 200, and a byte of the body now and then.
    Drip,
    /// Nothing at all.
    Stall,
}

#[derive(Debug)]
struct Shared {
    key: SigningKey,
    origin: String,
    /// Requests for the key and for nonces are answered as a directory does.
    civil: AtomicBool,
    answer: Mutex<Answer>,
    paths: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// See the module. Its threads end with it.
#[derive(Debug)]
pub struct HostileDirectory {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl HostileDirectory {
    /// On this address (`127.0.0.1:0` takes any port), for this domain, with a key of its own.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn start(address: &str, origin: &str, answer: Answer) -> Result<Self> {
        Self::start_with(address, origin, answer, None)
    }

    /// The same by TLS, with a certificate.
    ///
    /// # Errors
    /// When the address cannot be had, or it is no certificate.
    pub fn start_tls(address: &str, origin: &str, answer: Answer, certificate: &Certificate) -> Result<Self> {
        Self::start_with(address, origin, answer, Some(certificate.server()?))
    }

    fn start_with(address: &str, origin: &str, answer: Answer, tls: Option<Arc<ServerConfig>>) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            key: SigningKey::from_bytes(&[0x66; 32]),
            origin: origin.to_owned(),
            civil: AtomicBool::new(true),
            answer: Mutex::new(answer),
            paths: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                std::thread::spawn(move || {
                    stream.set_read_timeout(Some(LONGEST))?;
                    match tls {
                        None => shared.serve(stream),
                        Some(tls) => {
                            let session = ServerConnection::new(tls).map_err(std::io::Error::other)?;
                            shared.serve(StreamOwned::new(session, stream))
                        }
                    }
                });
            }
        });
        Ok(Self { shared, address })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this is its answer.
    pub fn say(&self, answer: Answer) {
        *self.shared.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    /// Whether it shows its key and gives nonces as a directory does.
    pub fn be_civil(&self, civil: bool) {
        self.shared.civil.store(civil, Ordering::SeqCst);
    }

    /// What it was asked so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.paths.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HostileDirectory {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn serve(&self, mut stream: impl Read + Write) -> std::io::Result<()> {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && head.len() < 32 * 1024 {
            if stream.read(&mut byte)? == 0 {
                return Ok(());
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        let time = Timestamp::now().unix_seconds();
        let civil = self.civil.load(Ordering::SeqCst);
        let challenge = path.strip_prefix("/v1/directory?challenge=").and_then(Base64::parse);
        if let Some(challenge) = challenge.and_then(|c| <[u8; 32]>::try_from(c.0).ok()).filter(|_| civil) {
            let signature = self.key.sign(&identity_message(&self.origin, &challenge)).to_bytes().to_vec();
            let key = hex(self.key.verifying_key().as_bytes());
            let answer = DirectoryAnswer { origin: self.origin.clone(), key, signature: Some(Base64(signature)), time };
            return reply(&mut stream, 200, &serde_json::to_vec(&answer)?);
        }
        if path == "/v1/nonce" && civil {
            let answer = NonceAnswer { nonce: Base64(vec![7; 24]), origin: self.origin.clone(), time };
            return reply(&mut stream, 200, &serde_json::to_vec(&answer)?);
        }
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            Answer::Body(status, body) => reply(&mut stream, status, &body),
            Answer::Redirect(status, url) => write!(
                stream,
                "HTTP/1.1 {status} Elsewhere\r\nlocation: {url}{path}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            ),
            Answer::Endless => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")?;
                while !self.stop.load(Ordering::SeqCst) {
                    stream.write_all(&[b' '; 65_536])?;
                }
                Ok(())
            }
            Answer::Drip => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")?;
                while !self.stop.load(Ordering::SeqCst) {
                    stream.write_all(b" ")?;
                    // The pace is the attack.
                    std::thread::sleep(Duration::from_millis(200));
                }
                Ok(())
            }
            Answer::Stall => {
                // Until the other side has had enough.
                while stream.read(&mut byte)? > 0 {}
                Ok(())
            }
        }
    }
}

fn reply(stream: &mut impl Write, status: u16, body: &[u8]) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)?;
    stream.flush()
}
