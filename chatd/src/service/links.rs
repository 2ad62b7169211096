//! Runs every link: frames of peers go to the inbox and to delivery, within what the link has proved and what its node may
//! cost; what was committed is acknowledged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use proto::ids::{DeviceId, NodeId};
use proto::wire::envelope::Outer;
use proto::wire::frame::{Frame, RefuseCode};
use tokio::sync::mpsc;

use super::account::Account;
use super::acker::{Acker, Item, PENDING, Proved};
use super::context::Service;
use crate::crypto::claim::{Session, verify_claim};
use crate::delivery::{News, OpenLink};
use crate::link::{CloseCode, CloseOrigin, Link};
use crate::model::ids::PeerId;
use crate::policy::failures::{FailureGate, Verdict as Failure};
use crate::policy::frames::weight;
use crate::receive::{Verdict, Way};
use crate::store::peers::{self, devices, trust};

/// A peer that was asked whether it lives has so long to answer. Longer than any round trip that a person would wait for,
/// much shorter than QUIC's own idle timeout of 30 s: after a crash, the peer is dialled anew where it is now.
const ANSWER: Duration = Duration::from_secs(2);

/// Takes links as they come; ends with the daemon.
pub(super) async fn run(service: Service, mut links: mpsc::Receiver<Link>) {
    let gate = Arc::new(Mutex::new(FailureGate::new(&service.config().limits)));
    while let Some(link) = links.recv().await {
        gate.lock().unwrap_or_else(PoisonError::into_inner).configure(&service.config().limits);
        let banned = gate.lock().unwrap_or_else(PoisonError::into_inner).banned(&link.peer, Instant::now());
        if let Some(left) = banned {
            tracing::info!(often = "banned", peer = %link.peer, seconds = left.as_secs(), "a banned peer is refused");
            link.sender.close(CloseCode::RateLimited, "too many failures");
            continue;
        }
        let runner = Runner::new(service.clone(), &link, Arc::clone(&gate));
        service.spawn(runner.run(link));
    }
}

struct Runner {
    service: Service,
    open: OpenLink,
    /// Seconds that the peer's clock is ahead.
    clock_ahead: i64,
    proved: Arc<Proved>,
    gate: Arc<Mutex<FailureGate<NodeId>>>,
}

impl Runner {
    fn new(service: Service, link: &Link, gate: Arc<Mutex<FailureGate<NodeId>>>) -> Self {
        let open = service.open_link(link);
        Self { service, open, clock_ahead: link.peer_time_offset, proved: Arc::default(), gate }
    }

    async fn run(self, mut link: Link) {
        let id = link.id;
        tracing::debug!(peer = %link.peer, link = id, dialed = link.dialed, "link is up");
        let links = &self.service.inner.links;
        links.lock().unwrap_or_else(PoisonError::into_inner).insert(id, self.open.clone());
        self.service.tell_all(|| News::LinkUp(self.open.clone())).await;
        let (taken, queue) = mpsc::channel(PENDING);
        let acker = Acker { open: self.open.clone(), proved: Arc::clone(&self.proved) };
        self.service.spawn(acker.run(queue));
        let idle = Duration::from_secs(self.service.config().idle_link_seconds.max(1));
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
                () = self.open.doubt.notified(), if asked.is_none() => {
                    let _ = link.sender.try_send(Frame::Ping { nonce: id, reply: false });
                    asked = Some(Instant::now() + ANSWER);
                }
                () = tokio::time::sleep_until(deadline.into()) => {
                    let text = if asked.is_some() { "no answer" } else { "nothing to say for a while" };
                    tracing::debug!(peer = %link.peer, link = id, text, "link is given up");
                    link.sender.close(CloseCode::Idle, text);
                    break;
                }
            }
        }
        links.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(reason) = link.sender.ended()
            && (reason.code, reason.origin) == (CloseCode::RateLimited, CloseOrigin::Local)
        {
            self.gate.lock().unwrap_or_else(PoisonError::into_inner).ban(self.open.peer, Instant::now());
        }
        self.service.tell_all(|| News::LinkDown(id)).await;
    }

    /// Handles one frame; `false` ends the link.
    async fn frame(&self, frame: Frame, taken: &mpsc::Sender<Item>) -> bool {
        if !self.within_limits(&frame).await {
            return self.blame();
        }
        tracing::trace!(link = self.open.sender.link_id(), kind = frame.name(), "frame");
        match frame {
            Frame::Envelope { number, outer } => return self.envelope(number, outer, taken).await,
            Frame::Claim { from_device, to_device, signature } => {
                return self.claim(from_device, to_device, &signature).await;
            }
            Frame::Ack { from_device, to_device, entries, ids } => {
                proto::fault::point("delivery.ack.before");
                if let Some((account, contact)) = self.proved(to_device, from_device) {
                    self.tell(&account, News::Ack { contact, device: from_device, entries, ids }).await;
                }
            }
            Frame::Resume { from_device, to_device, entries } => {
                if let Some((account, contact)) = self.proved(to_device, from_device) {
                    let link = self.open.sender.link_id();
                    self.tell(&account, News::Resume { contact, device: from_device, link, entries }).await;
                }
            }
            Frame::Record { from_device, to_device, record } => {
                if let Some((account, contact)) = self.proved(to_device, from_device)
                    && account
                        .store
                        .read_blocking(|conn| trust::may_replace_record(conn, contact, &record))
                        .unwrap_or(false)
                {
                    let taken =
                        account.store.write_for(contact, move |tx| trust::take_record(tx, contact, &record)).await;
                    log_failure(taken.map(drop), "a contact's record was not stored");
                }
            }
            Frame::Reach { from_device, to_device, reach } => {
                if let Some((account, contact)) = self.proved(to_device, from_device)
                    && account.store.read_blocking(|conn| trust::is_newer_reach(conn, contact, &reach)).unwrap_or(false)
                {
                    let taken =
                        account.store.write_for(contact, move |tx| trust::take_reach(tx, contact, &reach)).await;
                    log_failure(taken, "a contact's reach was not stored");
                }
            }
            Frame::Refuse { code, envelope, device } => {
                let link = self.open.sender.link_id();
                self.service.tell_all(|| News::Refused { link, code, envelope, device }).await;
            }
            Frame::Work { envelope, bits, window, .. } => {
                let link = self.open.sender.link_id();
                self.service.tell_all(|| News::Work { link, envelope, bits, window }).await;
            }
            Frame::Ping { nonce, reply: false } => {
                let _ = self.open.sender.send(Frame::Ping { nonce, reply: true }).await;
            }
            Frame::Ping { nonce, reply: true } => {
                let link = self.open.sender.link_id();
                self.service.tell_all(|| News::Pong { link, nonce }).await;
            }
            // A second hello says nothing that matters here.
            Frame::Hello { .. } => {}
        }
        true
    }

    async fn tell(&self, account: &Account, news: News) {
        if let Some(delivery) = account.delivery() {
            delivery.tell(news).await;
        }
    }

    /// The running account that owns a device.
    fn account_of(&self, device: DeviceId) -> Option<Arc<Account>> {
        self.service.account_of_device(device).filter(|account| account.is_running())
    }

    fn proved(&self, own: DeviceId, theirs: DeviceId) -> Option<(Arc<Account>, PeerId)> {
        let contact = *self.proved.lock().unwrap_or_else(PoisonError::into_inner).get(&(own, theirs))?;
        Some((self.account_of(own)?, contact))
    }

    /// The other end is this node itself, whose accounts may have any number of pairs.
    fn is_own(&self) -> bool {
        self.open.dialer == self.open.acceptor
    }

    /// Reads on when the peer may have sent so much; `false`: a frame of its kind is one too many, and the peer's fault.
    async fn within_limits(&self, frame: &Frame) -> bool {
        if self.is_own() {
            return true;
        }
        let (limits, peer) = (self.service.inner.limits.now(), &self.open.peer);
        let bytes = if self.is_known() { &limits.known_bytes } else { &limits.stranger_bytes };
        // The link is read no further for so long: that slows an honest sender down without losing anything.
        while let Err(over) = bytes.check(peer, weight(frame)) {
            tokio::time::sleep(over.0).await;
        }
        if let Frame::Ack { entries, ids, .. } = frame {
            while let Err(over) = limits.frames.acks(peer, entries.len() + ids.len()) {
                tokio::time::sleep(over.0).await;
            }
        }
        limits.frames.check(peer, frame).is_ok()
    }

    /// Somebody's contact is at the other end; or this node itself, whose accounts are no strangers' node.
    fn is_known(&self) -> bool {
        self.is_own() || !self.proved.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
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
        self.is_own() || self.service.inner.limits.now().frames.refused(&self.open.peer).is_ok() || self.blame()
    }

    /// Counts a failure of the peer; `false` when it was one too many.
    fn blame(&self) -> bool {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.failed(self.open.peer, Instant::now()) == Failure::Drop {
            tracing::warn!(often = "failures", peer = %self.open.peer, "too many failures: the peer is dropped for a while");
            self.open.sender.close(CloseCode::RateLimited, "too many failures");
            return false;
        }
        true
    }

    async fn claim(&self, from: DeviceId, to: DeviceId, signature: &[u8; 64]) -> bool {
        let limits = self.service.inner.limits.now();
        let is_again = !self.is_own() && self.proved(to, from).is_some();
        if is_again && limits.frames.claim_again(&self.open.peer, from, to).is_err() {
            tracing::warn!(often = "claims", peer = %self.open.peer, "the same claim again and again: the link is closed");
            // Left open, whoever claims would wait for an answer.
            self.open.sender.close(CloseCode::RateLimited, "the same claim again and again");
            return false;
        }
        let found = self.account_of(to).and_then(|account| {
            let row = account.store.read_blocking(|conn| {
                let Some((contact, key)) = devices::by_device(conn, from)? else { return Ok(None) };
                Ok(Some((peers::load(conn, contact)?, key)))
            });
            let (row, key) = row.ok().flatten()?;
            row.state.may_talk().then_some((account, row.id, key))
        });
        // Unknown account, logged out, no contact, blocked: one answer for all.
        let Some((account, contact, key)) = found else {
            self.refuse(RefuseCode::Offline, None, to).await;
            return true;
        };
        let session = Session { exporter: &self.open.exporter, dialer: self.open.dialer, acceptor: self.open.acceptor };
        if verify_claim(&key, &session, from, to, signature).is_err() {
            return self.blame();
        }
        self.proved.lock().unwrap_or_else(PoisonError::into_inner).insert((to, from), contact);
        self.open.sender.mark_authenticated();
        account.clock.contact_says(contact, self.clock_ahead);
        self.tell(&account, News::Claimed { contact, device: from, link: self.open.clone() }).await;
        self.open.claims.touch();
        true
    }

    async fn envelope(&self, number: u64, outer: Vec<u8>, taken: &mpsc::Sender<Item>) -> bool {
        let limits = self.service.inner.limits.now();
        let known = self.is_known();
        let Ok(device) = Outer::decode(&outer).map(|outer| outer.to_device) else { return self.blame() };
        if !known && limits.stranger_envelopes.check(&self.open.peer).is_err() {
            self.refuse(RefuseCode::RateLimited, Some(number), device).await;
            return self.blame();
        }
        let Some(account) = self.account_of(device) else {
            return self.refuse_envelope(RefuseCode::Offline, number, device).await;
        };
        match account.inbox.take(outer, Way::Link).await {
            Verdict::Taken(item) => taken.send((account, item, number)).await.is_ok(),
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
                super::directory::record_fetch::fetch(&account, contact);
                true
            }
        }
    }
}

fn log_failure(result: Result<(), crate::store::StoreError>, what: &str) {
    if let Err(error) = result {
        tracing::warn!(%error, "{what}");
    }
}
