//! The way by mailbox: while a contact cannot be reached, what waits for it is sealed and left at its directory.
//!
//! One job at a time per contact. Nothing leaves the outbox by it: the recipient's own acknowledgement ends a message, and
//! comes by the same way if need be, inside of an envelope.

use crate::model::Outcome;
use std::time::Instant;

use proto::directory::SignedRecord;
use proto::directory::api::ErrorCode;
use proto::ids::MessageId;
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::MAX_TTL_SECONDS;
use proto::wire::envelope::AckEntry;
use proto::wire::payload::Kind;
use rusqlite::Connection;

use super::Context;
use super::engine::{Engine, Finished};
use super::pack::{fit, is_contact_kind, sender, targets};
use super::reach::{Said, refresh_record};
use super::work::{NoStamp, stamped};
use crate::crypto::CryptoError;
use crate::crypto::envelope::{SealTo, capacity, seal};
use crate::directory::{DirectoryClient, DirectoryError};
use crate::model::Trust;
use crate::model::ids::{PeerDevice, PeerId};
use crate::policy::suite::NoSuite;
use crate::store::account::{self, OwnCard};
use crate::store::delivery::attempts;
use crate::store::delivery::control::{self, SignalRow};
use crate::store::delivery::deposits::{self, Deposit};
use crate::store::delivery::outbox::{self, OutboxRow};
use crate::store::log::told;
use crate::store::{ContactRow, StoreError, peers};

/// Prekeys are renewed every day: one that is older than this has a successor, if its owner was there.
const PREKEY_IS_OLD_SECONDS: i64 = 26 * 3_600;
/// Bytes of cores read at a time: two full envelopes.
const READ_BYTES: usize = 2 * capacity(0);

/// Rounds of a job at most: at two envelopes each, twice what a mailbox holds.
const MAX_ROUNDS: usize = 4_096;

/// What a directory's answer means that does not have what a deposit is for.
const NO_SUCH_DEVICE: &str = "its directory knows no such device";

/// Why a deposit was not made.
#[derive(Debug, thiserror::Error)]
pub(super) enum DepositError {
    #[error("the directory of its domain is not known here")]
    NoDirectory,
    #[error(transparent)]
    NoPrekey(#[from] NoSuite),
    #[error("the mailbox is full: {0}")]
    Full(String),
    #[error("requests of strangers fill the mailbox, and {bits} bits of work open it")]
    Work { bits: u8, window: u64 },
    #[error(transparent)]
    NoStamp(#[from] NoStamp),
    #[error("the directory does not honour our token")]
    Revoked,
    #[error("the directory refused it: {0}")]
    Refused(String),
    #[error("the directory knows no such account")]
    Gone,
    #[error(transparent)]
    Unreachable(DirectoryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

impl DepositError {
    /// Asking again soon would be answered the same. A new contact's token may just be on its way to the directory.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Unreachable(_) | Self::Store(_) | Self::Revoked)
    }

    /// What is noted of the attempt.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::NoDirectory => Outcome::failed_with(Reason::NoMailbox, self),
            Self::NoPrekey(why) => Outcome::failed(why.reason()),
            Self::Full(said) => Outcome::failed_with(Reason::MailboxFull, said),
            Self::Work { .. } => Outcome::failed_with(Reason::MailboxFull, self),
            Self::NoStamp(refusal) => Outcome::failed_with(Reason::WorkRefused, refusal),
            Self::Revoked => Outcome::failed(Reason::TokenRevoked),
            Self::Refused(said) => Outcome::failed_with(Reason::MailboxRefused, said),
            Self::Gone => Outcome::failed(Reason::AccountGone),
            Self::Unreachable(_) => Outcome::failed_with(Reason::MailboxUnreachable, self),
            Self::Store(_) | Self::Crypto(_) => Outcome::failed_with(Reason::Failed, self),
        }
    }

    fn of(error: DirectoryError) -> Self {
        match error {
            DirectoryError::WorkWanted { bits, window } => Self::Work { bits, window },
            DirectoryError::Refused { code: ErrorCode::MailboxFull, message } => Self::Full(message),
            DirectoryError::Refused { code: ErrorCode::TokenRevoked, .. } => Self::Revoked,
            // Of the account or of the device alone: the record tells.
            DirectoryError::NotFound => Self::Refused(NO_SUCH_DEVICE.into()),
            error if error.is_temporary() => Self::Unreachable(error),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// What a job does.
pub(super) struct Depositing {
    pub context: Context,
    pub contact: PeerId,
    /// The token of our session at the home directory.
    pub bearer: Option<String>,
}

/// What a job left there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// The mailbox took something.
    pub any: bool,
    /// Nothing at all waits for this contact any more.
    pub all: bool,
}

/// What was read, to be sealed.
struct Waiting {
    /// To which of its devices.
    to: Result<SealTo, NoSuite>,
    row: ContactRow,
    card: OwnCard,
    signals: Vec<SignalRow>,
    rows: Vec<OutboxRow>,
    ack_due: bool,
    floor: u64,
}

impl Depositing {
    /// Leaves everything that waits.
    pub async fn run(self) -> Result<Left, DepositError> {
        let (mut refreshed, mut any) = (false, false);
        // Whatever else goes wrong, this ends: a mailbox holds no more.
        for _ in 0..MAX_ROUNDS {
            let Some(waiting) = self.read()? else { break };
            let home = self.context.directories.of(&waiting.row.origin);
            let client = home.ok_or(DepositError::NoDirectory)?.clone();
            let now = self.context.clock.trusted_or_local_now();
            let to = waiting.to.clone();
            let old = newest_prekey(&waiting.row).is_none_or(|created| now - created > PREKEY_IS_OLD_SECONDS);
            if (to.is_err() || old) && !refreshed {
                refreshed = true;
                if refresh_record(&self.context, &waiting.row, self.bearer.as_deref()).await? == Said::Gone {
                    return Err(DepositError::Gone);
                }
                continue;
            }
            let to = to?;
            let row = waiting.row.clone();
            match self.leave(waiting, &client, &to).await {
                Ok(true) => any = true,
                Ok(false) => break,
                // The device may be gone: a restored account has another one.
                Err(DepositError::Refused(_) | DepositError::Revoked) if !refreshed => {
                    refreshed = true;
                    if refresh_record(&self.context, &row, self.bearer.as_deref()).await? == Said::Gone {
                        return Err(DepositError::Gone);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let contact = self.contact;
        let rest = self.context.store.read_blocking(|conn| outbox::anything_waits(conn, contact))?;
        Ok(Left { any, all: !rest })
    }

    fn read(&self) -> Result<Option<Waiting>, DepositError> {
        let (context, contact) = (&self.context, self.contact);
        Ok(context.store.read_blocking(|conn| read(conn, context, contact))?)
    }

    /// Seals and leaves what was read; `false` when there is nothing that may be left.
    async fn leave(&self, waiting: Waiting, client: &DirectoryClient, to: &SealTo) -> Result<bool, DepositError> {
        let Waiting { row, card, signals, rows, ack_due, floor, to: _ } = waiting;
        let token = row.token_held;
        let mut any = false;
        for signal in &signals {
            if token.is_none() && signal.kind != Kind::ContactRequest {
                continue;
            }
            any = true;
            let outer = seal(&sender(&self.context, &card), to, Vec::new(), &[&signal.core], MAX_TTL_SECONDS)?;
            let answer = match self.post(client, &row, token.as_ref(), outer.clone()).await {
                // Once: if it costs more by then, that is for the next time.
                Err(DepositError::Work { bits, window }) => {
                    let outer = stamped(outer, bits, window).await?;
                    self.post(client, &row, token.as_ref(), outer).await?
                }
                answer => answer?,
            };
            let (contact, id, kind) = (self.contact, signal.msgid, signal.kind);
            let until =
                (self.context.clock.trusted_or_local_now() * 1_000).saturating_add(seconds_ms(answer.expires_in));
            self.context.store.write(move |tx| signal_left(tx, contact, id, kind, until)).await?;
        }
        // Nothing but the contact protocol goes without a contact's token.
        let Some(token) = token else { return Ok(any) };
        let mut rest = rows.as_slice();
        let mut ack_due = ack_due;
        while !rest.is_empty() || ack_due {
            let acks = if ack_due { self.acks(to)? } else { Vec::new() };
            // A deposit is a range: what lies there already ends it.
            let count = consecutive(&rest[..fit(rest, acks.len())]);
            let (head, tail) = rest.split_at(count);
            let cores: Vec<&[u8]> = head.iter().map(|row| row.core.as_slice()).collect();
            let outer = seal(&sender(&self.context, &card), to, acks, &cores, MAX_TTL_SECONDS)?;
            let at = Timestamp(self.context.clock.trusted_or_local_now() * 1_000);
            proto::fault::point("mailbox.deposit.before");
            let answer = self.post(client, &row, Some(&token), outer).await?;
            proto::fault::point("mailbox.deposit.after");
            let place = head.first().zip(head.last()).map(|(first, last)| (first.stream, first.seq, last.seq));
            let (contact, mailbox, acked) = (self.contact, client.url().to_owned(), ack_due);
            let device = to.device;
            self.context
                .store
                .write(move |tx| {
                    if acked {
                        told::set_ack_due(tx, contact, false)?;
                    }
                    let Some((stream, low, high)) = place else { return Ok(()) };
                    let (number, seconds) = (answer.number, answer.expires_in);
                    deposits::deposited(
                        tx,
                        contact,
                        &Deposit { stream, device, low, high, mailbox, token, number, floor, at, seconds },
                    )
                })
                .await?;
            (ack_due, any, rest) = (false, true, tail);
        }
        Ok(any)
    }

    async fn post(
        &self,
        client: &DirectoryClient,
        row: &ContactRow,
        token: Option<&[u8; 32]>,
        outer: Vec<u8>,
    ) -> Result<proto::directory::api::DepositAnswer, DepositError> {
        let bearer = self.bearer.as_deref().filter(|_| self.context.directories.is_home(&row.origin));
        client.deposit(row.account, outer, bearer, token).await.map_err(DepositError::of)
    }

    fn acks(&self, to: &SealTo) -> Result<Vec<AckEntry>, StoreError> {
        let (contact, device) = (self.contact, to.device);
        self.context.store.read_blocking(|conn| told::acks_for(conn, contact, device))
    }
}

impl Engine {
    /// Begins a job, if what waits for a contact should go to its mailbox now.
    pub(super) fn deposit(&mut self, contact: PeerId, now: Instant) {
        let Some(route) = self.routes.get_mut(contact).filter(|_| self.counted) else { return };
        if route.is_usable() || !route.mailbox.may_begin(now) {
            return;
        }
        route.mailbox.begin();
        let (context, bearer) = (self.context.clone(), self.bearer.clone());
        let finished = self.finished.clone();
        tokio::spawn(async move {
            let result = Depositing { context, contact, bearer }.run().await;
            let _ = finished.send(Finished::Deposited { contact, result }).await;
        });
    }

    pub(super) fn deposited(&mut self, contact: PeerId, result: Result<Left, DepositError>) {
        if result.as_ref().is_ok_and(|left| left.any) {
            self.found(contact);
        }
        let route = self.route(contact);
        match result {
            Ok(left) => {
                route.mailbox.succeeded();
                // Unless something came meanwhile: there is nobody to dial for any more.
                if left.all && !route.mailbox.wanted && route.link.is_none() {
                    route.pending = false;
                }
            }
            // There is no such way, and nothing to tell of it.
            Err(DepositError::NoDirectory) => route.mailbox.succeeded(),
            Err(DepositError::Gone) => {
                route.mailbox.running = false;
                self.gone(contact, "mailbox", Instant::now());
            }
            Err(error) => {
                tracing::debug!(%contact, %error, "not left in the mailbox");
                route.mailbox.failed(Instant::now(), rand::random(), error.is_refusal());
                if let DepositError::Unreachable(DirectoryError::RateLimited { retry_after }) = &error {
                    route.mailbox.wait(Instant::now(), *retry_after, rand::random());
                }
                let outcome = error.outcome();
                self.context.store.note(move |tx| attempts::attempt_failed(tx, contact, "mailbox", outcome));
            }
        }
        self.advance(contact);
    }

    /// What lay in a mailbox for its whole time there without an answer is put there again.
    pub(super) fn deposits_ended(&self) {
        let now = self.context.clock.trusted_or_local_now() * 1_000;
        self.context.store.note(move |tx| deposits::end_deposits(tx, now));
    }
}

fn read(conn: &Connection, context: &Context, contact: PeerId) -> Result<Option<Waiting>, StoreError> {
    let now = Timestamp(context.clock.trusted_or_local_now() * 1_000);
    let row = peers::load(conn, contact)?;
    if row.state.blocked {
        return Ok(None);
    }
    let may_talk = row.state.may_talk() && row.trust != Trust::Changed;
    let signals: Vec<SignalRow> = control::waiting(conn, contact, now.0)?
        .into_iter()
        .filter(|signal| signal.deposited_until <= now.0 && (may_talk || is_contact_kind(signal.kind)))
        .collect();
    let ack_due = may_talk && told::ack_is_due(conn, contact)?;
    // The first device takes what is for any of them; each of the others what it has not got.
    let (mut to, refused) = match targets(&row, context.clock.trusted_or_local_now()) {
        Ok(to) => (to.into_iter(), NoSuite::Expired),
        Err(why) => (Vec::new().into_iter(), why),
    };
    let mut first = to.next();
    let mut rows = Vec::new();
    while let Some(of) = first.as_ref().filter(|_| may_talk) {
        rows = outbox::undeposited(conn, PeerDevice { peer: contact, device: of.device }, READ_BYTES)?;
        if !rows.is_empty() || !signals.is_empty() || ack_due {
            break;
        }
        match to.next() {
            Some(next) => first = Some(next),
            None => break,
        }
    }
    let nobody = first.is_none() && may_talk && outbox::anything_waits(conn, contact)?;
    if signals.is_empty() && rows.is_empty() && !ack_due && !nobody {
        return Ok(None);
    }
    let floor = match (context.directories.of(&row.origin), &row.token_held) {
        (Some(client), Some(token)) => deposits::highest_of(conn, client.url(), contact, token)?,
        _ => 0,
    };
    let to = first.ok_or(refused);
    Ok(Some(Waiting { card: account::own_card(conn)?, to, row, signals, rows, ack_due, floor }))
}

/// A removal or a rejection is acknowledged by nobody: the mailbox has it, and that is as far as it goes.
fn signal_left(
    tx: &mut crate::store::Tx<'_>,
    contact: PeerId,
    id: MessageId,
    kind: Kind,
    until: i64,
) -> Result<(), StoreError> {
    match kind {
        Kind::ContactReject | Kind::ContactRemove => control::signals_done(tx, contact, &[id]),
        _ => deposits::signals_deposited(tx, contact, &[id], until),
    }
}

/// How many rows follow each other without a gap.
fn consecutive(rows: &[OutboxRow]) -> usize {
    let follows = |pair: &[OutboxRow]| pair[0].seq + 1 == pair[1].seq;
    rows.windows(2).take_while(|pair| follows(pair)).count() + usize::from(!rows.is_empty())
}

fn seconds_ms(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}

fn newest_prekey(row: &ContactRow) -> Option<i64> {
    let record = SignedRecord::decode(&row.record).and_then(|signed| signed.peek()).ok()?;
    record.prekeys.iter().map(|prekey| prekey.created).max()
}
