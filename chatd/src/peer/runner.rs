//! Runs every link: frames of peers go to the inbox and to delivery, within what the link has proved and what its node may
//! cost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::ids::{DeviceId, NodeId};
use proto::wire::envelope::Outer;
use proto::wire::frame::{Frame, RefuseCode};
use tokio::sync::mpsc;

use super::acker::{Acker, Item, PENDING};
use super::handshake::{Claimant, Proved};
use super::limits::{self, Failures};
use super::{Accounts, Links, Local, knock, open_link};
use crate::delivery::{News, OpenLink};
use crate::link::{CloseCode, CloseOrigin, Link};
use crate::model::ids::PeerId;
use crate::receive::{Verdict, Way};
use crate::store::peers::trust;

/// A peer that was asked whether it lives has so long to answer. Longer than any round trip that a person would wait for,
/// much shorter than QUIC's own idle timeout of 30 s: after a crash, the peer is dialled anew where it is now.
const ANSWER: Duration = Duration::from_secs(2);
/// The same after something was seen that ends links, beside four round trips: a second dial costs little, and waiting costs the reader
/// of a message. A way through a relay is made anew by the transport, which takes TLS with it.
const ANSWER_SOON: Duration = Duration::from_millis(400);
const ANSWER_SOON_BY_RELAY: Duration = Duration::from_millis(1_000);

/// Takes links of this node as they come, and keeps those that are open in `open`; ends with the daemon.
pub async fn run<A: Accounts>(accounts: A, node: NodeId, open: Links, mut links: mpsc::Receiver<Link>) {
    let failures = Failures::new(&accounts.limits().limits);
    while let Some(link) = links.recv().await {
        if let Some(left) = failures.banned(&link.peer, &accounts.limits().limits) {
            tracing::info!(often = "banned", peer = %link.peer, seconds = left.as_secs(), "a banned peer is refused");
            link.sender.close(CloseCode::RateLimited, "too many failures");
            continue;
        }
        let runner = Runner {
            accounts: accounts.clone(),
            links: open.clone(),
            open: open_link(node, &link),
            clock_ahead: link.peer_time_offset,
            proved: Arc::default(),
            failures: failures.clone(),
        };
        accounts.spawn(runner.run(link));
    }
}

struct Runner<A> {
    accounts: A,
    links: Links,
    open: OpenLink,
    /// Seconds that the peer's clock is ahead.
    clock_ahead: i64,
    proved: Arc<Proved>,
    failures: Failures,
}

impl<A: Accounts> Runner<A> {
    async fn run(self, mut link: Link) {
        let id = link.id;
        tracing::debug!(peer = %link.peer, link = id, dialed = link.dialed, "link is up");
        self.links.insert(self.open.clone());
        self.tell_all(|| News::LinkUp(self.open.clone())).await;
        let (taken, queue) = mpsc::channel(PENDING);
        let acker = Acker { open: self.open.clone(), proved: Arc::clone(&self.proved) };
        self.accounts.spawn(acker.run(queue));
        let idle = self.accounts.idle();
        let mut silent_until = Instant::now() + idle;
        let mut asked = None;
        loop {
            let deadline = asked.unwrap_or(silent_until);
            tokio::select! {
                // What came while the frame before was handled is read first: a peer is not silent because we were busy.
                biased;
                received = link.receiver.recv() => match received {
                    Ok(Some(frame)) => {
                        (silent_until, asked) = (Instant::now() + idle, None);
                        if !self.frame(frame, &taken).await {
                            break;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(peer = %link.peer, link = id, %error, "link ended");
                        break;
                    }
                },
                is_strong = self.open.doubt.raised() => {
                    let _ = link.sender.try_send(Frame::Ping { nonce: id, reply: false });
                    let by = Instant::now() + if is_strong { self.patience() } else { ANSWER };
                    asked = Some(asked.map_or(by, |asked: Instant| asked.min(by)));
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    let text = if asked.is_some() { "no answer" } else { "nothing to say for a while" };
                    tracing::debug!(peer = %link.peer, link = id, text, "link is given up");
                    if asked.is_some() {
                        link.sender.abandon(text);
                    } else {
                        link.sender.close(CloseCode::Idle, text);
                    }
                    break;
                }
            }
        }
        self.links.remove(id);
        if let Some(reason) = link.sender.ended()
            && (reason.code, reason.origin) == (CloseCode::RateLimited, CloseOrigin::Local)
        {
            self.failures.ban(self.open.peer);
        }
        self.tell_all(|| News::LinkDown(id)).await;
    }

    /// How long an answer may take if there is reason to doubt that it comes.
    fn patience(&self) -> Duration {
        let sender = &self.open.sender;
        let least = if sender.has_relay() { ANSWER_SOON_BY_RELAY } else { ANSWER_SOON };
        (least + sender.path().round_trip.unwrap_or_default() * 4).min(ANSWER)
    }

    /// Handles one frame; `false` ends the link.
    async fn frame(&self, frame: Frame, taken: &mpsc::Sender<Item>) -> bool {
        let within =
            self.is_own() || limits::within(&self.accounts.limits(), &self.open.peer, self.is_known(), &frame).await;
        if !within {
            return self.blame();
        }
        let link = self.open.sender.link_id();
        tracing::trace!(link, kind = frame.name(), "frame");
        match frame {
            Frame::Envelope { number, outer } => return self.envelope(number, outer, taken).await,
            Frame::Claim { from_device, to_device, signature } => {
                return self.claim(from_device, to_device, &signature).await;
            }
            Frame::Ack { from_device, to_device, entries, ids } => {
                proto::fault::point("delivery.ack.before");
                if let Some((local, contact)) = self.proved(to_device, from_device) {
                    local.delivery.tell(News::Ack { contact, device: from_device, entries, ids }).await;
                }
            }
            Frame::Resume { from_device, to_device, entries } => {
                if let Some((local, contact)) = self.proved(to_device, from_device) {
                    local.delivery.tell(News::Resume { contact, device: from_device, link, entries }).await;
                }
            }
            Frame::Record { from_device, to_device, record } => {
                if let Some((local, contact)) = self.proved(to_device, from_device)
                    && local
                        .store
                        .read_blocking(|conn| trust::may_replace_record(conn, contact, &record))
                        .unwrap_or(false)
                {
                    let taken =
                        local.store.write_for(contact, move |tx| trust::take_record(tx, contact, &record)).await;
                    log_failure(taken.map(drop), "a contact's record was not stored");
                }
            }
            Frame::Reach { from_device, to_device, reach } => {
                if let Some((local, contact)) = self.proved(to_device, from_device)
                    && local.store.read_blocking(|conn| trust::is_newer_reach(conn, contact, &reach)).unwrap_or(false)
                {
                    let taken = local.store.write_for(contact, move |tx| trust::take_reach(tx, contact, &reach)).await;
                    log_failure(taken, "a contact's reach was not stored");
                }
            }
            Frame::Refuse { code, envelope, device } => {
                self.tell_all(|| News::Refused { link, code, envelope, device }).await;
            }
            Frame::Work { envelope, bits, window, .. } => {
                self.tell_all(|| News::Work { link, envelope, bits, window }).await;
            }
            Frame::Ping { nonce, reply: false } => {
                let _ = self.open.sender.send(Frame::Ping { nonce, reply: true }).await;
            }
            Frame::Ping { nonce, reply: true } if self.open.sender.answered(nonce) => {}
            Frame::Ping { nonce, reply: true } => self.tell_all(|| News::Pong { link, nonce }).await,
            Frame::Knock { token } => {
                let _ = self.open.sender.send(knock::welcome(&self.accounts, &token)).await;
            }
            Frame::Welcome { token_hash, record, reach } => self.links.knocks.answered(&token_hash, record, reach),
            // A second hello says nothing that matters here.
            Frame::Hello { .. } => {}
        }
        true
    }

    async fn tell_all(&self, news: impl Fn() -> News) {
        for delivery in self.accounts.deliveries() {
            delivery.tell(news()).await;
        }
    }

    fn proved(&self, own: DeviceId, theirs: DeviceId) -> Option<(Local, PeerId)> {
        let contact = self.proved.peer(own, theirs)?;
        Some((self.accounts.of_device(own)?, contact))
    }

    /// The other end is this node itself, whose accounts may have any number of pairs.
    fn is_own(&self) -> bool {
        self.open.dialer == self.open.acceptor
    }

    /// Somebody's contact is at the other end; or this node itself, whose accounts are no strangers' node.
    fn is_known(&self) -> bool {
        self.is_own() || !self.proved.is_empty()
    }

    async fn refuse(&self, code: RefuseCode, envelope: Option<u64>, device: DeviceId) {
        let _ = self.open.sender.send(Frame::Refuse { code, envelope, device: Some(device) }).await;
    }

    async fn refuse_envelope(&self, code: RefuseCode, number: u64, device: DeviceId) -> bool {
        self.refuse(code, Some(number), device).await;
        self.refused_too_often()
    }

    /// Counts a refusal; `false` when it was one too many.
    fn refused_too_often(&self) -> bool {
        self.is_own() || self.accounts.limits().frames.refused(&self.open.peer).is_ok() || self.blame()
    }

    /// Counts a failure of the peer; `false` when it was one too many.
    fn blame(&self) -> bool {
        self.failures.blame(self.open.peer, &self.open.sender)
    }

    async fn claim(&self, from: DeviceId, to: DeviceId, signature: &[u8; 64]) -> bool {
        let limits = self.accounts.limits();
        let is_again = !self.is_own() && self.proved(to, from).is_some();
        if is_again && limits.frames.claim_again(&self.open.peer, from, to).is_err() {
            tracing::warn!(often = "claims", peer = %self.open.peer, "the same claim again and again: the link is closed");
            // Left open, whoever claims would wait for an answer.
            self.open.sender.close(CloseCode::RateLimited, "the same claim again and again");
            return false;
        }
        let found = self.accounts.of_device(to).and_then(|local| Some((Claimant::find(&local, from)?, local)));
        // Unknown account, logged out, no contact, blocked: one answer for all.
        let Some((claimant, local)) = found else {
            self.refuse(RefuseCode::Offline, None, to).await;
            return true;
        };
        if !claimant.proves(&self.open, from, to, signature) {
            return self.blame();
        }
        let contact = claimant.peer;
        self.proved.insert(to, from, contact);
        self.open.sender.mark_authenticated();
        local.clock.contact_says(contact, self.clock_ahead);
        local.delivery.tell(News::Claimed { contact, device: from, link: self.open.clone() }).await;
        self.open.claims.touch();
        true
    }

    async fn envelope(&self, number: u64, outer: Vec<u8>, taken: &mpsc::Sender<Item>) -> bool {
        let known = self.is_known();
        let Ok(device) = Outer::decode(&outer).map(|outer| outer.to_device) else { return self.blame() };
        if !known && self.accounts.limits().stranger_envelopes.check(&self.open.peer).is_err() {
            self.refuse(RefuseCode::RateLimited, Some(number), device).await;
            return self.blame();
        }
        let Some(local) = self.accounts.of_device(device) else {
            return self.refuse_envelope(RefuseCode::Offline, number, device).await;
        };
        match local.inbox.take(outer, Way::Link).await {
            Verdict::Taken(item) => taken.send((device, item, number)).await.is_ok(),
            Verdict::Refused(code) => {
                // What a prekey tells (somebody is logged in here) is told to contacts only.
                let code = if known || code != RefuseCode::PrekeyGone { code } else { RefuseCode::Offline };
                self.refuse_envelope(code, number, device).await
            }
            Verdict::Work { bits, window } => {
                let _ = self.open.sender.send(Frame::Work { envelope: number, device, bits, window }).await;
                self.refused_too_often()
            }
            Verdict::Dropped { blame } => !blame || self.blame(),
            // Its sender has it, and sends it again if it is not acknowledged.
            Verdict::Parked { contact, .. } => {
                self.accounts.fetch_record(device, contact);
                true
            }
        }
    }
}

fn log_failure(result: Result<(), crate::store::StoreError>, what: &str) {
    if let Err(error) = result {
        tracing::warn!(%error, what, "what a peer did was not stored");
    }
}
