//! The session of somebody of another domain: it is told who of its contacts here is online, and what comes in the
//! logs of its groups, and nothing else.
//!
//! Nothing is asked of a guest but the tokens that its contacts and groups gave it. One who may watch nobody and follow nothing is not kept.

use axum::extract::ws::Message;
use proto::directory::api::{ClientFrame, ErrorCode, ServerFrame};
use tokio::time::{Instant, sleep_until};

use super::groups::Follows;
use super::socket::{Ended, Socket};
use super::watch::{few, watch};
use crate::cluster::{Joined, ToSession};
use crate::http::answer::{Refusal, unix_now};
use crate::http::limits::{Class, Peer, Source};
use crate::state::Directory;

/// RFC 6455, section 7.4.1.
const GOING_AWAY: u16 = 1001;

/// See the module.
pub struct Guest<'a> {
    directory: &'a Directory,
    peer: Peer,
    joined: Joined,
    follows: Follows<'a>,
    socket: Socket,
}

impl<'a> Guest<'a> {
    /// Of somebody who has said that it is a guest.
    pub fn new(directory: &'a Directory, peer: Peer, joined: Joined, socket: Socket) -> Self {
        let follows = Follows::new(directory, joined.id);
        Self { directory, peer, joined, follows, socket }
    }

    /// Until it ends.
    pub async fn run(&mut self) -> Ended {
        let timing = self.directory.config.timing;
        self.socket.send(&ServerFrame::Welcome { relay: self.directory.relay_offer(), time: unix_now() }).await?;
        let mut ping = tokio::time::interval(timing.ping);
        ping.reset();
        let mut heard = Instant::now();
        let mut proved_until = Some(heard + timing.guest);
        let followed = self.follows.followed();
        loop {
            let telling = self.follows.wants();
            let deadline = proved_until.map_or(heard + timing.silence, |until| until.min(heard + timing.silence));
            tokio::select! {
                frame = self.socket.socket.recv() => {
                    heard = Instant::now();
                    match frame {
                        Some(Ok(Message::Text(text))) => {
                            if self.frame(&text).await? {
                                proved_until = None;
                            }
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_))) | None => return Ok(()),
                        Some(Ok(Message::Binary(_))) => return Err("a binary frame"),
                        Some(Err(_)) => return Err("the connection broke"),
                    }
                }
                told = self.joined.queue.recv() => match told {
                    Some(ToSession::Frame(frame)) => self.socket.send(&frame).await?,
                    Some(ToSession::Superseded { .. } | ToSession::Unregistered) => {}
                    None => return Err("too slow to take what it was told"),
                },
                () = followed.news.notified() => self.follows.wake(),
                () = std::future::ready(()), if telling => self.follows.push(&mut self.socket).await?,
                _ = ping.tick() => self.socket.ping().await?,
                () = sleep_until(deadline) => {
                    return Err(if proved_until.is_some() { "a guest who may watch nobody" } else { "silent" });
                }
                () = self.directory.front.stop.cancelled() => {
                    self.socket.close(GOING_AWAY, "the directory stops").await;
                    return Err("the directory stops");
                }
            }
        }
    }

    /// Answers a frame; whether it showed that the guest may watch somebody.
    async fn frame(&mut self, text: &str) -> Result<bool, &'static str> {
        let parsed = serde_json::from_str(text);
        if let Ok(ClientFrame::Read { log, upto }) = parsed
            && self.follows.has_out(log, upto)
        {
            // The answer to a push is not a request, and is bounded by the window.
            self.follows.read(log, upto);
            return Ok(false);
        }
        let source = Source::Address(self.peer.address);
        let allowed = self.directory.front.limiter.get().check(source, self.peer, Class::Lookup);
        let done = match (allowed, parsed) {
            (Err(wait), _) => Err(Refusal::rate_limited(wait)),
            (Ok(()), Ok(ClientFrame::Watch { accounts })) => {
                let frames = watch(self.directory, self.joined.id, &accounts).await;
                frames.map(|frames| (frames, self.directory.cluster.watches(self.joined.id) > 0))
            }
            (Ok(()), Ok(ClientFrame::Unwatch { accounts })) => few(accounts.len()).map(|()| {
                self.directory.cluster.unwatch(self.joined.id, &accounts);
                (Vec::new(), false)
            }),
            (Ok(()), Ok(ClientFrame::Follow { log, token, after })) => {
                let frames = self.follows.follow(log, &token, after).await;
                frames.map(|frames| (frames, self.follows.len() > 0))
            }
            (Ok(()), Ok(ClientFrame::Unfollow { logs })) => self.follows.unfollow(&logs).map(|frames| (frames, false)),
            (Ok(()), Ok(ClientFrame::Read { log, upto })) => {
                self.follows.read(log, upto);
                Ok((Vec::new(), false))
            }
            (Ok(()), Ok(_)) => {
                Err(Refusal::new(ErrorCode::NotAllowed, "a guest may watch and follow, and do nothing else"))
            }
            (Ok(()), Err(error)) => Err(Refusal::new(ErrorCode::Malformed, error.to_string())),
        };
        match done {
            Ok((frames, proved)) => {
                for frame in &frames {
                    self.socket.send(frame).await?;
                }
                Ok(proved)
            }
            Err(refusal) => {
                self.socket.send(&ServerFrame::Error { code: refusal.code, message: refusal.message }).await?;
                Ok(false)
            }
        }
    }
}
