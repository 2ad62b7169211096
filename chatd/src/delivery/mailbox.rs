//! The way by mailbox: while a contact cannot be reached, what waits for it is sealed and left at its directory.
//!
//! One job at a time per device. Nothing leaves the outbox by it: the recipient's own acknowledgement ends a message, and
//! comes by the same way if need be, inside of an envelope.

use proto::directory::SignedRecord;
use proto::directory::api::ErrorCode;
use proto::ids::{DeviceId, MessageId};
use proto::reason::Reason;
use proto::time::Timestamp;
use proto::wire::MAX_TTL_SECONDS;
use proto::wire::envelope::AckEntry;
use proto::wire::payload::Kind;
use rusqlite::Connection;

use super::context::Context;
use super::core::event::{Deposited, RouteKey};
use super::dialer::{Said, refresh_record};
use super::sealer::{devices_of, fit, is_contact_kind, named, sender, target};
use super::stamp::{NoStamp, stamped};
use crate::crypto::CryptoError;
use crate::crypto::envelope::{SealTo, capacity, seal};
use crate::directory::{DirectoryClient, DirectoryError};
use crate::model::ids::{PeerDevice, PeerId};
use crate::model::{Outcome, Trust};
use crate::policy::suite::NoSuite;
use crate::store::account::{self, OwnCard};
use crate::store::delivery::control::{self, SignalRow};
use crate::store::delivery::deposits::{self, Deposit};
use crate::store::delivery::outbox::{self, OutboxRow};
use crate::store::log::told;
use crate::store::{ContactRow, StoreError, Tx, peers};

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
enum DepositError {
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

/// Leaves everything that waits for a device: which devices what waits is owed to (none: that was not found out), and what became
/// of it.
pub(super) async fn run(context: Context, key: RouteKey, bearer: Option<String>) -> (Vec<DeviceId>, Deposited) {
    let mut job = Depositing { context, key, bearer, devices: Vec::new() };
    let result = match job.leave_all().await {
        Ok(left) => left,
        Err(DepositError::NoDirectory) => Deposited::NoWay,
        Err(DepositError::Gone) => Deposited::Gone,
        Err(error) => {
            tracing::debug!(contact = %key.peer, %error, "not left in the mailbox");
            let wait = match &error {
                DepositError::Unreachable(DirectoryError::RateLimited { retry_after }) => Some(*retry_after),
                _ => None,
            };
            Deposited::Failed { refusal: error.is_refusal(), wait, outcome: error.outcome() }
        }
    };
    (job.devices, result)
}

/// A job.
struct Depositing {
    context: Context,
    key: RouteKey,
    /// The token of our session at the home directory.
    bearer: Option<String>,
    devices: Vec<DeviceId>,
}

/// What was read, to be sealed.
pub(in crate::delivery) struct Waiting {
    /// To the device, if it has a prekey that may be sealed to.
    pub to: Result<SealTo, NoSuite>,
    pub row: ContactRow,
    pub card: OwnCard,
    pub signals: Vec<SignalRow>,
    pub rows: Vec<OutboxRow>,
    pub ack_due: bool,
    /// The highest number that was known for the token before.
    pub floor: u64,
}

impl Depositing {
    async fn leave_all(&mut self) -> Result<Deposited, DepositError> {
        let (mut refreshed, mut any) = (false, false);
        // Whatever else goes wrong, this ends: a mailbox holds no more.
        for _ in 0..MAX_ROUNDS {
            let Some(waiting) = self.read()? else { break };
            let home = self.context.directories.of(&waiting.row.origin);
            let client = home.ok_or(DepositError::NoDirectory)?.clone();
            let now = self.context.clock.trusted_or_local_now();
            self.devices = devices_of(&waiting.row, now);
            let (before, named) = (self.key.device, named(self.key, &self.devices));
            self.key = named;
            if before.is_some() && before != named.device {
                // What was read is for a device that is none any more.
                continue;
            }
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
        let peer = self.key.peer;
        let rest = self.context.store.read_blocking(|conn| outbox::anything_waits(conn, peer))?;
        Ok(Deposited::Left { any, all: !rest })
    }

    fn read(&self) -> Result<Option<Waiting>, DepositError> {
        let (context, now) = (&self.context, self.context.clock.trusted_or_local_now());
        let url = |origin: &str| context.directories.of(origin).map(|client| client.url().to_owned());
        Ok(context.store.read_blocking(|conn| read(conn, self.key, now, url))?)
    }

    /// Seals and leaves what was read; `false` when there is nothing that may be left.
    async fn leave(&self, waiting: Waiting, client: &DirectoryClient, to: &SealTo) -> Result<bool, DepositError> {
        let Waiting { to: _, row, card, signals, rows, ack_due, floor } = waiting;
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
            let (contact, id, kind) = (self.key.peer, signal.msgid, signal.kind);
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
            let count = cut(rest, acks.len());
            let (head, tail) = rest.split_at(count);
            let cores: Vec<&[u8]> = head.iter().map(|row| row.core.as_slice()).collect();
            let outer = seal(&sender(&self.context, &card), to, acks, &cores, MAX_TTL_SECONDS)?;
            let at = Timestamp(self.context.clock.trusted_or_local_now() * 1_000);
            proto::fault::point("mailbox.deposit.before");
            let answer = self.post(client, &row, Some(&token), outer).await?;
            proto::fault::point("mailbox.deposit.after");
            let place = head.first().zip(head.last()).map(|(first, last)| (first.stream, first.seq, last.seq));
            let (number, seconds, mailbox) = (answer.number, answer.expires_in, client.url().to_owned());
            let device = to.device;
            let deposit = place.map(|(stream, low, high)| Deposit {
                stream,
                device,
                low,
                high,
                mailbox,
                token,
                number,
                floor,
                at,
                seconds,
            });
            let (peer, acked) = (self.key.peer, ack_due);
            self.context.store.write(move |tx| left(tx, peer, acked, deposit.as_ref())).await?;
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
        let (contact, device) = (self.key.peer, to.device);
        self.context.store.read_blocking(|conn| told::acks_for(conn, contact, device))
    }
}

/// What waits for a device and may be left at `now` (Unix seconds, by the clock that judges keys). `url`: of the mailbox of a domain.
pub(in crate::delivery) fn read(
    conn: &Connection,
    key: RouteKey,
    now: i64,
    url: impl Fn(&str) -> Option<String>,
) -> Result<Option<Waiting>, StoreError> {
    let now = Timestamp(now * 1_000);
    let peer = key.peer;
    let row = peers::load(conn, peer)?;
    if row.state.blocked {
        return Ok(None);
    }
    let may_talk = row.state.may_talk() && row.trust != Trust::Changed;
    let signals: Vec<SignalRow> = control::waiting(conn, peer, now.0)?
        .into_iter()
        .filter(|signal| signal.deposited_until <= now.0 && (may_talk || is_contact_kind(signal.kind)))
        .collect();
    let ack_due = may_talk && told::ack_is_due(conn, peer)?;
    let to = target(&row, key.device, now.0 / 1_000);
    let rows = match &to {
        Ok(to) if may_talk => outbox::undeposited(conn, PeerDevice { peer, device: to.device }, READ_BYTES)?,
        _ => Vec::new(),
    };
    let nobody = to.is_err() && may_talk && outbox::anything_waits(conn, peer)?;
    if signals.is_empty() && rows.is_empty() && !ack_due && !nobody {
        return Ok(None);
    }
    let floor = match (url(&row.origin), &row.token_held) {
        (Some(url), Some(token)) => deposits::highest_of(conn, &url, peer, token)?,
        _ => 0,
    };
    Ok(Some(Waiting { card: account::own_card(conn)?, to, row, signals, rows, ack_due, floor }))
}

/// How many of the rows one deposit takes beside `acks` acknowledgements: it is a range, and what lies there already ends it.
pub(in crate::delivery) fn cut(rows: &[OutboxRow], acks: usize) -> usize {
    consecutive(&rows[..fit(rows, acks)])
}

/// Writes down that an envelope was left; `acked`: it told what arrived.
pub(in crate::delivery) fn left(
    tx: &mut Tx<'_>,
    peer: PeerId,
    acked: bool,
    deposit: Option<&Deposit>,
) -> Result<(), StoreError> {
    if acked {
        told::set_ack_due(tx, peer, false)?;
    }
    deposit.map_or(Ok(()), |deposit| deposits::deposited(tx, peer, deposit))
}

/// A removal or a rejection is acknowledged by nobody: the mailbox has it, and that is as far as it goes.
fn signal_left(tx: &mut Tx<'_>, contact: PeerId, id: MessageId, kind: Kind, until: i64) -> Result<(), StoreError> {
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
