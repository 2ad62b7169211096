//! A session that has begun: its frames, its pings, and what it is told.

use std::sync::Arc;

use axum::extract::ws::Message;
use proto::directory::api::{ClientFrame, ErrorCode, ServerFrame};
use proto::ids::{AccountId, DeviceId, unhex};
use tokio::time::{Instant, sleep_until};

use super::groups::Follows;
use super::push::Push;
use super::socket::{Ended, Socket};
use super::watch::{few, watch};
use crate::cluster::{Joined, ToSession};
use crate::http::answer::{Refusal, unix_now};
use crate::http::limits::{Class, Peer, Source};
use crate::state::Directory;
use crate::store::Counted;

/// RFC 6455, section 7.4.1.
const GOING_AWAY: u16 = 1001;
const POLICY: u16 = 1008;

/// See the module.
pub struct Session<'a> {
    directory: &'a Directory,
    account: AccountId,
    peer: Peer,
    joined: Joined,
    push: Push<'a>,
    follows: Follows<'a>,
    socket: Socket,
    heard: Instant,
    /// A newer session of the same device, and until when this one may show that it lives.
    probe: Option<(tokio::sync::mpsc::Sender<ToSession>, Instant)>,
}

impl<'a> Session<'a> {
    /// Of a device that has proved its key.
    pub fn new(
        directory: &'a Directory,
        (account, device): (AccountId, DeviceId),
        peer: Peer,
        joined: Joined,
        socket: Socket,
    ) -> Self {
        let push = Push::new(directory, account, device);
        let follows = Follows::new(directory, joined.id);
        Self { directory, account, peer, joined, push, follows, socket, heard: Instant::now(), probe: None }
    }

    /// Until it ends.
    pub async fn run(&mut self, session: Counted, record_seq: u64) -> Ended {
        let timing = self.directory.config.timing;
        let token = self.joined.token.clone();
        let relay = self.directory.relay_offer();
        let (session_counter, counted) = (session.number, session.before);
        let ready = ServerFrame::Ready { token, session_counter, counted, record_seq, relay, time: unix_now() };
        self.socket.send(&ready).await?;
        let mut ping = tokio::time::interval(timing.ping);
        ping.reset();
        let (mail, followed) = (Arc::clone(&self.joined.mail), self.follows.followed());
        loop {
            // While it is not known which of two sessions of this device lives, nothing more is pushed.
            let pushing = self.push.wants() && self.probe.is_none();
            let telling = self.follows.wants() && self.probe.is_none();
            let deadline = match &self.probe {
                Some((_, until)) => (self.heard + timing.silence).min(*until),
                None => self.heard + timing.silence,
            };
            tokio::select! {
                frame = self.socket.socket.recv() => {
                    self.heard = Instant::now();
                    if self.probe.is_some() {
                        return self.cloned().await;
                    }
                    match frame {
                        Some(Ok(Message::Text(text))) => self.frame(&text).await?,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_))) | None => return Ok(()),
                        Some(Ok(Message::Binary(_))) => return Err("a binary frame"),
                        Some(Err(_)) => return Err("the connection broke"),
                    }
                }
                told = self.joined.queue.recv() => match told {
                    Some(told) => self.told(told).await?,
                    None => return Err("too slow to take what it was told"),
                },
                () = mail.notified() => self.push.wake(),
                () = followed.news.notified() => self.follows.wake(),
                // Branches that are ready take turns at random: frames are answered while there is much to push.
                () = std::future::ready(()), if pushing => self.push.push(&mut self.socket).await?,
                () = std::future::ready(()), if telling => self.follows.push(&mut self.socket).await?,
                _ = ping.tick() => self.socket.ping().await?,
                () = sleep_until(deadline) => {
                    // A dead connection that a reconnect has replaced is no clone.
                    return Err(if self.probe.is_some() { "replaced by a reconnect" } else { "silent" });
                }
                () = self.directory.front.stop.cancelled() => {
                    self.socket.close(GOING_AWAY, "the directory stops").await;
                    return Err("the directory stops");
                }
            }
        }
    }

    async fn told(&mut self, told: ToSession) -> Ended {
        match told {
            ToSession::Frame(frame) => self.socket.send(&frame).await,
            ToSession::Superseded { same_process: true, .. } => {
                self.socket.close(POLICY, "replaced").await;
                Err("replaced by a reconnect")
            }
            ToSession::Superseded { newer, same_process: false } => {
                self.probe = Some((newer, Instant::now() + self.directory.config.timing.probe));
                self.socket.ping().await
            }
            ToSession::Unregistered => {
                self.socket.close(POLICY, "no longer registered").await;
                Err("the account or this device is no longer registered")
            }
        }
    }

    /// This session lives, and so does the newer one: two processes have one key.
    async fn cloned(&mut self) -> Ended {
        if let Some((newer, _)) = self.probe.take() {
            let _ = newer.try_send(ToSession::Frame(ServerFrame::Cloned));
        }
        self.socket.send(&ServerFrame::Cloned).await?;
        self.socket.close(POLICY, "cloned").await;
        Err("cloned")
    }

    async fn frame(&mut self, text: &str) -> Ended {
        let done = match serde_json::from_str(text) {
            // The answer to a push is not a request, and is bounded by the window.
            Ok(ClientFrame::Delete { numbers, signature }) if self.push.has_any(&numbers) => {
                self.push.delete(&numbers, &signature).await
            }
            Ok(ClientFrame::Release { numbers }) if self.push.has_any(&numbers) => self.push.release(&numbers),
            Ok(ClientFrame::Read { log, upto }) if self.follows.has_out(log, upto) => {
                self.follows.read(log, upto);
                Ok(Vec::new())
            }
            parsed => {
                match self.directory.front.limiter.get().check(Source::Member(self.account), self.peer, Class::Lookup) {
                    Ok(()) => self.request(parsed).await,
                    Err(wait) => Err(Refusal::rate_limited(wait)),
                }
            }
        };
        match done {
            Ok(frames) => {
                for frame in &frames {
                    self.socket.send(frame).await?;
                }
                Ok(())
            }
            // The session goes on: one frame too many is no reason to be offline.
            Err(refusal) => {
                self.socket.send(&ServerFrame::Error { code: refusal.code, message: refusal.message }).await
            }
        }
    }

    async fn request(&mut self, parsed: serde_json::Result<ClientFrame>) -> Result<Vec<ServerFrame>, Refusal> {
        match parsed.map_err(|error| Refusal::new(ErrorCode::Malformed, error.to_string()))? {
            ClientFrame::Tokens { add, remove } => self.tokens(&add, &remove).await,
            ClientFrame::Watch { accounts } => Ok(watch(self.directory, self.joined.id, &accounts).await?),
            ClientFrame::Unwatch { accounts } => {
                self.directory.cluster.unwatch(self.joined.id, &accounts);
                Ok(Vec::new())
            }
            ClientFrame::Mailbox => self.push.mailbox().await,
            ClientFrame::Delete { numbers, signature } => self.push.delete(&numbers, &signature).await,
            ClientFrame::Release { numbers } => self.push.release(&numbers),
            ClientFrame::Follow { log, token, after } => self.follows.follow(log, &token, after).await,
            ClientFrame::Unfollow { logs } => self.follows.unfollow(&logs),
            ClientFrame::Read { log, upto } => {
                self.follows.read(log, upto);
                Ok(Vec::new())
            }
        }
    }

    async fn tokens(&mut self, add: &[String], remove: &[String]) -> Result<Vec<ServerFrame>, Refusal> {
        few(add.len() + remove.len())?;
        let hashes = |texts: &[String]| -> Result<Vec<[u8; 32]>, Refusal> {
            let hash = |text: &String| {
                unhex(text).ok_or_else(|| Refusal::new(ErrorCode::Malformed, "a token hash has 64 hex digits"))
            };
            texts.iter().map(hash).collect()
        };
        let (add, remove) = (hashes(add)?, hashes(remove)?);
        let count = self.directory.store.tokens(self.account, add, remove.clone()).await?;
        self.directory.cluster.revoked(self.account, &remove);
        Ok(vec![ServerFrame::TokensStored { count }])
    }
}
