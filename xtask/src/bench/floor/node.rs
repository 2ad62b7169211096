//! One of the floor's two processes.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use ed25519_dalek::{Signature, Signer, SigningKey, Verifier};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rusqlite::{Connection, params};

/// Texts that share a block and a commit, at most.
pub const BATCH: usize = 500;
const SIGNATURE_BYTES: usize = 64;
const READ_BYTES: usize = 64 * 1024;
/// Both sides make their keys of this: nothing is secret here.
const SIGNING_SEED: [u8; 32] = [7; 32];

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Seals what its client says.
    Sender,
    /// Opens it, and passes it on to its reader.
    Receiver,
}

impl Role {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Receiver => "receiver",
        }
    }
}

/// How a node is started.
#[derive(Debug, Args)]
pub struct Options {
    /// Which of the two
    #[arg(long)]
    role: Role,
    /// Where its socket and its database are
    #[arg(long)]
    folder: PathBuf,
    /// Put texts into a full-text index, too
    #[arg(long)]
    index: bool,
    /// Where the receiver listens
    #[arg(long)]
    peer: Option<String>,
}

/// Length in four bytes, then the text.
pub fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = (text.len() as u32).to_le_bytes().to_vec();
    frame.extend_from_slice(text);
    frame
}

/// Runs until its client goes.
///
/// # Errors
/// Whatever fails.
pub fn run(options: &Options) -> Result<()> {
    let clients = UnixListener::bind(socket(&options.folder, options.role))?;
    let store = Store::open(options)?;
    let key = options.folder.join("identity");
    match options.role {
        Role::Receiver => {
            let identity = age::x25519::Identity::generate();
            std::fs::write(&key, identity.to_public().to_string())?;
            let peers = TcpListener::bind("127.0.0.1:0")?;
            println!("{}", peers.local_addr()?);
            let (reader, _) = clients.accept()?;
            let (peer, _) = peers.accept()?;
            receive(&store, &identity, peer, reader)
        }
        Role::Sender => {
            let recipient = std::fs::read_to_string(&key)?;
            let recipient = recipient.parse().map_err(|error| anyhow::anyhow!("a bad key: {error}"))?;
            let peer = TcpStream::connect(options.peer.as_deref().context("no --peer")?)?;
            println!("ready");
            let (client, _) = clients.accept()?;
            send(&store, &recipient, peer, client)
        }
    }
}

struct Store {
    connection: Connection,
    index: bool,
}

impl Store {
    fn open(options: &Options) -> Result<Self> {
        let connection = Connection::open(options.folder.join(options.role.name()).with_extension("db"))?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(
            "CREATE TABLE messages (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
             CREATE TABLE marks (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL);
             CREATE VIRTUAL TABLE words USING fts5 (body, content = '', detail = 'none');",
        )?;
        Ok(Self { connection, index: options.index })
    }

    /// One commit: texts from number `first` on, and the mark.
    fn commit(&self, first: u64, texts: &[&[u8]], mark: Option<u64>) -> Result<()> {
        let transaction = self.connection.unchecked_transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO messages (seq, body) VALUES (?1, ?2)")?;
            let mut index = transaction.prepare_cached("INSERT INTO words (rowid, body) VALUES (?1, ?2)")?;
            for (seq, text) in (first..).zip(texts) {
                insert.execute(params![seq as i64, text])?;
                if self.index {
                    index.execute(params![seq as i64, std::str::from_utf8(text)?])?;
                }
            }
        }
        if let Some(mark) = mark {
            let mut update = transaction.prepare_cached("INSERT OR REPLACE INTO marks (id, seq) VALUES (1, ?1)")?;
            update.execute([mark as i64])?;
        }
        Ok(transaction.commit()?)
    }
}

/// What came, until a frame is whole.
#[derive(Default)]
struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
}

impl Inbox {
    /// Reads once; `false` at the end of the stream.
    fn fill(&mut self, stream: &mut impl Read) -> Result<bool> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let had = self.bytes.len();
        self.bytes.resize(had + READ_BYTES, 0);
        let got = match stream.read(&mut self.bytes[had..]) {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            got => got?,
        };
        self.bytes.truncate(had + got);
        Ok(got > 0)
    }

    fn next(&mut self) -> Option<&[u8]> {
        let rest = &self.bytes[self.taken..];
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let text = rest.get(..u32::from_le_bytes(*length) as usize)?;
        self.taken += 4 + text.len();
        Some(text)
    }
}

fn send(store: &Store, recipient: &age::x25519::Recipient, mut peer: TcpStream, mut client: UnixStream) -> Result<()> {
    peer.set_nodelay(true)?;
    let key = SigningKey::from_bytes(&SIGNING_SEED);
    let (mut texts, mut acks) = (Inbox::default(), Inbox::default());
    let (mut next, mut told) = (1_u64, 0);
    loop {
        let (has_texts, has_acks) = wait(&client, &peer)?;
        if has_texts && !texts.fill(&mut client)? || has_acks && !acks.fill(&mut peer)? {
            return Ok(());
        }
        let mut mark = None;
        while let Some(ack) = acks.next() {
            mark = Some(u64::from_le_bytes(ack.try_into()?));
        }
        let mut done = Vec::new();
        loop {
            let mut batch = Vec::new();
            while batch.len() < BATCH
                && let Some(text) = texts.next()
            {
                batch.push(text.to_vec());
            }
            if batch.is_empty() && mark.is_none() {
                break;
            }
            let views: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
            let block = if views.is_empty() { None } else { Some(seal(&key, recipient, next, &views)?) };
            store.commit(next, &views, mark)?;
            next += views.len() as u64;
            if let Some(block) = block {
                peer.write_all(&frame(&block))?;
            }
            if let Some(mark) = mark.take() {
                done.push(mark);
            }
        }
        for mark in done {
            tell(&mut client, &mut told, mark)?;
        }
    }
}

/// Eight bytes for each message, the number of the last delivered one in each.
fn tell(client: &mut UnixStream, told: &mut u64, mark: u64) -> Result<()> {
    let words: Vec<u8> = (*told..mark).flat_map(|_| mark.to_le_bytes()).collect();
    *told = mark;
    Ok(client.write_all(&words)?)
}

fn receive(store: &Store, identity: &age::x25519::Identity, mut peer: TcpStream, mut reader: UnixStream) -> Result<()> {
    peer.set_nodelay(true)?;
    let key = SigningKey::from_bytes(&SIGNING_SEED).verifying_key();
    let mut blocks = Inbox::default();
    while blocks.fill(&mut peer)? {
        while let Some(block) = blocks.next() {
            let (signature, sealed) = block.split_first_chunk::<SIGNATURE_BYTES>().context("a short block")?;
            key.verify(sealed, &Signature::from_bytes(signature)).context("a bad signature")?;
            let plain = age::decrypt(identity, sealed)?;
            let (first, rest) = plain.split_first_chunk::<8>().context("an empty block")?;
            let (first, mut rest) = (u64::from_le_bytes(*first), rest);
            let mut texts = Vec::new();
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let (text, after) =
                    after.split_at_checked(u32::from_le_bytes(*length) as usize).context("a short text")?;
                texts.push(text);
                rest = after;
            }
            ensure!(!texts.is_empty(), "a block without texts");
            store.commit(first, &texts, None)?;
            peer.write_all(&frame(&(first + texts.len() as u64 - 1).to_le_bytes()))?;
            // The texts as they came, lengths included.
            reader.write_all(&plain[8..])?;
        }
    }
    Ok(())
}

fn seal(key: &SigningKey, recipient: &age::x25519::Recipient, first: u64, texts: &[&[u8]]) -> Result<Vec<u8>> {
    let mut plain = first.to_le_bytes().to_vec();
    texts.iter().for_each(|text| plain.extend_from_slice(&frame(text)));
    let sealed = age::encrypt(recipient, &plain)?;
    let mut block = key.sign(&sealed).to_bytes().to_vec();
    block.extend_from_slice(&sealed);
    Ok(block)
}

/// Which of the two has something to read.
fn wait(client: &UnixStream, peer: &TcpStream) -> Result<(bool, bool)> {
    let mut both = [PollFd::new(client.as_fd(), PollFlags::POLLIN), PollFd::new(peer.as_fd(), PollFlags::POLLIN)];
    if poll(&mut both, PollTimeout::NONE)? == 0 {
        bail!("poll returned for nothing");
    }
    Ok((both[0].any().unwrap_or(false), both[1].any().unwrap_or(false)))
}

/// Where clients of a node come.
pub fn socket(folder: &Path, role: Role) -> PathBuf {
    folder.join(role.name()).with_extension("sock")
}
