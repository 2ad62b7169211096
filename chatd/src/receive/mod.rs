//! The receive pipeline of one account: from a sealed envelope to committed rows and what may be acknowledged.
//!
//! Order: size, rate limit (by the caller, who knows the node) -> live prekey -> pre-scan -> decrypt -> pinned signer, else
//! the stranger lane -> signature -> binding, recipient, conversation, kind -> one transaction -> COMMIT -> acknowledgement.
//!
//! Not its job: links, and any other network IO; a name is confirmed by others, later.
//!
//! Invariants: nothing is stored of an envelope whose signer is not proved; an envelope is taken whole or not at all; an
//! acknowledgement exists only after COMMIT; whatever is refused costs the sender's allowance and nothing else.

mod apply;
mod membership;
mod parked;
mod stranger;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use proto::directory::SignedRecord;
use proto::ids::{AccountId, DeviceId, MessageId, PrekeyId, sha256};
use proto::wire::envelope::{AckEntry, Outer};
use proto::wire::frame::RefuseCode;
use proto::wire::payload::ContactCard;
use proto::wire::work::{self, window_of};
use proto::wire::{MAX_STRANGER_ENVELOPE_BYTES, MAX_TTL_SECONDS};
use rusqlite::Connection;

use crate::crypto::envelope::{Opened, open};
use crate::crypto::prekey::PrekeySecret;
use crate::model::ids::PeerId;
use crate::policy::clock::timekeeper::AccountClock;
use crate::policy::contact::{Outgoing, Relation};
use crate::policy::rate::SharedLimits;
use crate::policy::rate::work::Over;
use crate::store::peers::devices::{self, KnownDevice};
use crate::store::peers::{self, trust};
use crate::store::{ContactRow, Pending, Store, StoreError, Tx};

/// Ciphertexts up to this size are opened where they arrive; larger ones on a blocking thread, so that a runtime thread
/// is never held for longer than about a fifth of a millisecond.
const INLINE_BYTES: usize = 8_192;

/// The pipeline of one account; shared by all links.
#[derive(Debug)]
pub struct Inbox {
    device: DeviceId,
    store: Store,
    prekeys: RwLock<HashMap<PrekeyId, Arc<PrekeySecret>>>,
    judge: Judge,
}

/// Decides what an envelope is that was opened, and what it does inside of a transaction. Reads, and does no other IO.
#[derive(Debug)]
pub(crate) struct Judge {
    rules: Arc<Rules>,
    parked: Mutex<parked::ParkingLot>,
}

/// What an opened envelope is.
#[derive(Debug)]
pub(crate) enum Judged {
    /// Nothing of it is taken.
    Verdict(Verdict),
    /// It names a known device as its signer, which is to be proved.
    Known(KnownDevice, Opened),
    /// Nobody who is known here.
    Stranger(Opened),
}

/// What operations need to know on the store's thread.
#[derive(Debug)]
struct Rules {
    account: AccountId,
    limits: SharedLimits,
    clock: Arc<AccountClock>,
}

/// By which way an envelope came: how long ago the work may have been done that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A link: now.
    Link,
    /// A mailbox, where it may have lain for as long as anything does.
    Mailbox,
}

impl Rules {
    /// Whether one more request may come from a known person who is no contact.
    fn may_ask(&self, tx: &Tx<'_>, row: &ContactRow, card: &ContactCard<'_>) -> Result<bool, StoreError> {
        let record = SignedRecord::decode(&row.record).and_then(|record| record.peek());
        let Ok(record) = record else { return Ok(false) };
        let domain = tx.read(|conn| self.proved_domain(conn, (row.account, &record), card.membership))?;
        // Whom the owner has asked needs no other leave to ask back.
        let asked = matches!(row.state.relation, Relation::Apart { outgoing: Outgoing::Requested, .. });
        if !asked && !tx.read(membership::Door::of)?.lets_in(domain.as_deref()) {
            return Ok(false);
        }
        let in_time = self.limits.now().requests.check(self.account, row.account, domain.as_deref()).is_ok();
        Ok(in_time && tx.read(trust::pending_requests)? < self.max_pending())
    }

    /// Requests of strangers that wait at most.
    fn max_pending(&self) -> u32 {
        self.limits.now().limits.pending_requests.get()
    }

    /// The work that an envelope shows, in bits.
    fn work(&self, outer: &Outer<'_>, way: Way) -> u8 {
        // Almost none does: clocks are not asked for nothing.
        if outer.work.is_none() {
            return 0;
        }
        let now = window_of(self.clock.trusted_or_local_now());
        let back = match way {
            Way::Link => 1,
            Way::Mailbox => window_of(MAX_TTL_SECONDS.into()) + 1,
        };
        work::shown(outer, now.saturating_sub(back), now.saturating_add(1))
    }
}

/// What became of an envelope.
#[derive(Debug)]
pub enum Verdict {
    /// It is in the store's queue: acknowledge when the outcome is there.
    Taken(Taken),
    /// Tell the peer.
    Refused(RefuseCode),
    /// A request is over a limit, and passes with work: so many bits, in the window that it is now.
    Work {
        /// Zero bits.
        bits: u8,
        /// By this account's clock.
        window: u64,
    },
    /// Say nothing; count a failure if the peer is to blame.
    Dropped {
        /// The peer broke the format or forged.
        blame: bool,
    },
    /// Its sender names a newer record than is known: fetch that, then [`Inbox::retry_parked`]. Nothing is acknowledged,
    /// and whoever keeps the envelope must go on keeping it.
    Parked {
        /// Whose record is to be fetched.
        contact: PeerId,
        /// Its device is known: if the record cannot be had, it will be judged by the known one.
        proved: bool,
    },
}

/// An envelope on its way to disk.
#[derive(Debug)]
pub struct Taken {
    /// The sending contact.
    pub contact: PeerId,
    /// Its device.
    pub from_device: DeviceId,
    /// The outcome.
    pub outcome: Pending<Receipt>,
}

/// What may be acknowledged after COMMIT.
#[derive(Debug, Default)]
pub struct Receipt {
    /// Streams.
    pub entries: Vec<AckEntry>,
    /// Cores outside of any stream.
    pub ids: Vec<MessageId>,
    /// A message of a non-contact, or of one who is blocked: nothing is acknowledged.
    pub silent: bool,
    /// Not everything was taken, for want of room behind holes: whoever keeps the envelope must go on keeping it.
    pub refused: bool,
    /// That is so because its sender has used up what may be stored of it.
    pub over_quota: bool,
}

/// A record that an envelope has to wait for.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    contact: PeerId,
    /// The device is known and has signed the envelope.
    proved: bool,
    /// It was awaited long enough, and the known one says otherwise.
    refused: bool,
}

/// Why an envelope was not taken; for the log.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Reject {
    #[error(transparent)]
    Crypto(#[from] crate::crypto::CryptoError),
    #[error("{0}")]
    Rule(&'static str),
    #[error("its record: {0}")]
    Record(#[from] proto::directory::RecordError),
    #[error(transparent)]
    Wire(#[from] proto::wire::WireError),
    #[error("over the rate limit")]
    Over(Over),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Inbox {
    /// The pipeline of an account.
    pub fn new(
        account: AccountId,
        device: DeviceId,
        store: Store,
        prekeys: Vec<PrekeySecret>,
        limits: SharedLimits,
        clock: Arc<AccountClock>,
    ) -> Self {
        let prekeys = prekeys.into_iter().map(|prekey| (prekey.id(), Arc::new(prekey))).collect();
        let prekeys = RwLock::new(prekeys);
        Self { device, store, prekeys, judge: Judge::new(account, limits, clock) }
    }

    /// Opens envelopes with one more prekey. Its secret is committed already.
    pub fn add_prekey(&self, prekey: PrekeySecret) {
        self.prekeys.write().unwrap_or_else(PoisonError::into_inner).insert(prekey.id(), Arc::new(prekey));
    }

    /// Opens nothing more with these prekeys, whose secrets are destroyed. What is being opened with one now ends.
    pub fn remove_prekeys(&self, gone: &[PrekeyId]) {
        if !gone.is_empty() {
            self.prekeys.write().unwrap_or_else(PoisonError::into_inner).retain(|id, _| !gone.contains(id));
        }
    }

    /// Takes an envelope to this account's device. `way`: by which it came.
    pub async fn take(&self, outer: Vec<u8>, way: Way) -> Verdict {
        self.take_once(outer, way, true).await
    }

    /// `park`: it may wait for a newer record.
    async fn take_once(&self, outer: Vec<u8>, way: Way, park: bool) -> Verdict {
        let size = outer.len();
        let (prekey, work) = match Outer::decode(&outer) {
            Ok(parsed) if parsed.to_device == self.device => {
                // Strangers' are small: what else carries a stamp is not looked into.
                let work = if size > MAX_STRANGER_ENVELOPE_BYTES { 0 } else { self.judge.rules.work(&parsed, way) };
                (parsed.prekey_id, work)
            }
            Ok(_) => return Verdict::Refused(RefuseCode::Offline),
            Err(error) => {
                tracing::debug!(%error, "an envelope was refused");
                return Verdict::Refused(RefuseCode::Malformed);
            }
        };
        let secret = self.prekeys.read().unwrap_or_else(PoisonError::into_inner).get(&prekey).cloned();
        let Some(secret) = secret else { return Verdict::Refused(RefuseCode::PrekeyGone) };
        let unseal = move || {
            let opened = Outer::decode(&outer).map_err(Into::into).and_then(|outer| open(&outer, &secret));
            (opened, outer)
        };
        let (opened, outer) = if size <= INLINE_BYTES {
            unseal()
        } else {
            match tokio::task::spawn_blocking(unseal).await {
                Ok(opened) => opened,
                Err(_) => return Verdict::Refused(RefuseCode::Unavailable),
            }
        };
        let result = match opened {
            Ok(opened) => self.opened(opened, outer, (size, work), park).await,
            Err(error) => Err(error.into()),
        };
        match result {
            Ok(verdict) => verdict,
            Err(Reject::Store(error)) => {
                tracing::warn!(%error, "an envelope could not be stored");
                Verdict::Refused(RefuseCode::Unavailable)
            }
            Err(Reject::Over(over)) => {
                tracing::info!(often = "request", ?over, "a contact request was refused");
                match over {
                    Over::Work(bits) => {
                        Verdict::Work { bits, window: window_of(self.judge.rules.clock.trusted_or_local_now()) }
                    }
                    Over::Full => Verdict::Dropped { blame: false },
                }
            }
            Err(error) => {
                tracing::info!(often = "envelope", %error, "an envelope was dropped");
                Verdict::Dropped { blame: true }
            }
        }
    }

    /// `cost`: its size, and the work that it shows.
    async fn opened(&self, opened: Opened, outer: Vec<u8>, cost: (usize, u8), park: bool) -> Result<Verdict, Reject> {
        let from_device = opened.wrap().from_device;
        // A few indexed rows: not worth a thread of its own.
        let judged =
            self.store.read_blocking(|conn| match self.judge.judge(conn, opened, outer, park, Instant::now()) {
                Err(Reject::Store(error)) => Err(error),
                judged => Ok(judged),
            })??;
        match judged {
            Judged::Verdict(verdict) => Ok(verdict),
            Judged::Known(device, opened) => {
                let proved = opened.prove(&device.key)?;
                let rules = Arc::clone(&self.judge.rules);
                let outcome =
                    self.store.enqueue_for(device.contact, move |tx| apply::apply(tx, &rules, device, &proved)).await?;
                Ok(Verdict::Taken(Taken { contact: device.contact, from_device, outcome }))
            }
            Judged::Stranger(opened) => stranger::take(self, opened, cost).await,
        }
    }
}

impl Judge {
    /// Of an account.
    pub(crate) fn new(account: AccountId, limits: SharedLimits, clock: Arc<AccountClock>) -> Self {
        Self { rules: Arc::new(Rules { account, limits, clock }), parked: Mutex::default() }
    }

    /// What an envelope is. `park`: it may wait for a newer record, as `outer`.
    pub(crate) fn judge(
        &self,
        conn: &Connection,
        opened: Opened,
        outer: Vec<u8>,
        park: bool,
        now: Instant,
    ) -> Result<Judged, Reject> {
        match self.has_to_wait(conn, &opened, now)? {
            Some(Awaited { refused: true, .. }) => return Ok(Judged::Verdict(Verdict::Refused(RefuseCode::Record))),
            Some(Awaited { contact, proved, .. }) if park => {
                return Ok(Judged::Verdict(self.park(contact, outer, proved)));
            }
            Some(Awaited { contact, proved: false, .. }) => {
                return Ok(Judged::Verdict(Verdict::Parked { contact, proved: false }));
            }
            _ => {}
        }
        let (from, from_device) = (opened.wrap().from, opened.wrap().from_device);
        let Some(device) = devices::device_of(conn, from, from_device)? else { return Ok(Judged::Stranger(opened)) };
        if device.contact != PeerId::SELF && peers::load(conn, device.contact)?.state.blocked {
            return Ok(Judged::Verdict(Verdict::Dropped { blame: false }));
        }
        Ok(Judged::Known(device, opened))
    }

    /// What the envelope of a known device does.
    #[cfg(test)]
    pub(crate) fn apply(
        &self,
        tx: &mut Tx<'_>,
        device: KnownDevice,
        proved: &crate::crypto::envelope::Proved,
    ) -> Result<Receipt, StoreError> {
        apply::apply(tx, &self.rules, device, proved)
    }

    /// Whose newer record an envelope has to wait for: it names one, or another one than is known under the same number.
    fn has_to_wait(&self, conn: &Connection, opened: &Opened, now: Instant) -> Result<Option<Awaited>, Reject> {
        let (from, from_device) = (opened.wrap().from, opened.wrap().from_device);
        let (named, hash) = (opened.wrap().record_seq, opened.wrap().record_hash);
        let Some((known, record)) = peers::record_of(conn, from)? else { return Ok(None) };
        let is_other = named == known && sha256(&[&record]) != hash;
        if named <= known && !is_other {
            return Ok(None);
        }
        let Some(row) = peers::by_account(conn, from)? else { return Ok(None) };
        let device = devices::device_of(conn, from, from_device)?;
        let proved = match &device {
            // Nobody but the device can make it wait, or be blamed for it.
            Some(device) => opened.verify(&device.key).is_ok(),
            None => false,
        };
        if (device.is_some() || is_other) && !proved {
            return Ok(None);
        }
        let contact = row.id;
        if is_other {
            // Whoever signed two records with one number has given the identity key away, or is two. A newer record tells
            // which of them goes on; until there is one, nothing of either counts.
            let refused = self.refuses(&row, opened, now)?;
            return Ok(refused.map(|refused| Awaited { contact, proved, refused }));
        }
        Ok(self.waits(&row, opened, proved, now)?.then_some(Awaited { contact, proved, refused: false }))
    }
}
