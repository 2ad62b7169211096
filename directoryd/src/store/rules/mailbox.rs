//! Envelopes that lie here: deposits, deletions, lifetimes, quotas.
//!
//! Invariants: nothing is evicted to make room; strangers and contacts never take each other's; a number of a mailbox is
//! given once. A depositor is told a number that is counted for its token, so that it learns nothing of what others leave;
//! a stranger, who has none, is told nothing.

use proto::ids::{AccountId, DeviceId};
use proto::wire::work::MAX_WORK_BITS;

use super::batch::Batch;
use crate::store::command::{Applied, Commands, Held, Keep, Lane, Mailbox};
use crate::store::error::StoreError;
use crate::store::options::Quotas;
use crate::store::request::{Deposit, Deposited, Depositor, RESERVED_SECONDS, Stranger};

/// Expired envelopes that one sweep takes at most: keeps its transaction to some milliseconds.
const SWEEP: usize = 512;
/// With so many envelopes in the lane that work opens, it costs twice as much.
const WORKED_A_STEP: u64 = 8;

pub fn deposit<C: Commands>(db: &mut C, new: &Deposit, batch: &mut Batch) -> Applied<Deposited, C::Error> {
    batch.has_disk()?;
    if !db.is_registered(new.account)? {
        return Err(StoreError::NotFound.into());
    }
    let (token, counted) = match &new.from {
        Depositor::Contact(token) => {
            let counted = db.counted(new.account, token)?.ok_or(StoreError::TokenRevoked)?;
            (&token[..], counted.saturating_add(1))
        }
        Depositor::Stranger(_) => (&[][..], 0),
    };
    let (held, mailbox, lane) = loop {
        let held = db.held(new.account, token, &new.hash)?;
        // Of a stranger's, the same bytes take the place of those that lie here, under a new number: the answer is the
        // same whether or not they do, so that a repetition does not tell a stranger whether somebody has fetched them.
        if let Some(held) = held.filter(|held| held.expires > batch.now && held.lane == Lane::Contacts) {
            return Ok(Deposited { created: false, number: held.counted, expires_in: held.expires - batch.now });
        }
        let mailbox = db.mailbox(new.account)?;
        match place(db, new, &mailbox, held.as_ref(), batch)? {
            Ok(lane) => break (held, mailbox, lane),
            // What has expired is in nobody's way.
            Err(full) if expire(db, batch)? == 0 => return Err(full.into()),
            Err(_) => {}
        }
    };
    if let Some(held) = held {
        let replaced = db.remove(new.account, held.device, held.number)?;
        batch.went(replaced);
    }
    let (site, host) = match &new.from {
        Depositor::Stranger(from) => (&from.site[..], &from.host[..]),
        Depositor::Contact(_) => (&[][..], &[][..]),
    };
    db.keep(&Keep {
        account: new.account,
        device: new.device,
        number: mailbox.number.saturating_add(1),
        lane,
        token,
        counted,
        // Rounded up: what is left of the second that has begun is the envelope's.
        expires: batch.now.saturating_add(u64::from(new.ttl)).saturating_add(1),
        hash: &new.hash,
        site,
        host,
        envelope: &new.envelope,
    })?;
    if let Depositor::Contact(token) = &new.from {
        db.set_counted(new.account, token, counted)?;
    }
    batch.came(new.envelope.len() as u64);
    Ok(Deposited { created: true, number: counted, expires_in: new.ttl.into() })
}

/// In which lane there is room, or why there is none. What `new` would replace makes room.
fn place<C: Commands>(
    db: &C,
    new: &Deposit,
    mailbox: &Mailbox,
    held: Option<&Held>,
    batch: &mut Batch,
) -> Applied<Result<Lane, StoreError>, C::Error> {
    let full = |why| Ok(Err(StoreError::MailboxFull(why)));
    let quotas = batch.bounds.quotas;
    let size = new.envelope.len() as u64;
    let replaced = held.map_or(0, |held| held.size);
    let after = |bytes: u64| bytes.saturating_add(size).saturating_sub(replaced);
    let lane = match (&new.from, held) {
        // It takes the place of the one that lies here, and stays in its lane.
        (Depositor::Stranger(_), Some(held)) => held.lane,
        (Depositor::Stranger(from), None) => match strangers_lane(db, new.account, from, mailbox, &quotas)? {
            Ok(lane) => lane,
            Err(refused) => return Ok(Err(refused)),
        },
        (Depositor::Contact(_), _) => {
            let envelopes = mailbox.contacts + 1 - u64::from(held.is_some());
            if envelopes > quotas.envelopes || after(mailbox.contact_bytes) > quotas.bytes {
                return full(format!(
                    "the mailbox is full ({} envelopes or {} bytes at most) until its owner fetches what lies in it; try again later",
                    quotas.envelopes, quotas.bytes
                ));
            }
            Lane::Contacts
        }
    };
    let total = after(batch.lying(db)?);
    if total > quotas.total_bytes {
        let most = quotas.total_bytes;
        return full(format!("this directory's mailboxes are full ({most} bytes at most); try again later"));
    }
    // Nobody may have more than is left for all others: so however many fill theirs, there is room for one more, and
    // those who have much are refused first (dynamic thresholds; Choudhury and Hahne, 1998).
    let left = quotas.total_bytes.saturating_sub(total - size.min(total));
    if after(mailbox.bytes) > left {
        return full(format!(
            "this directory has little room left of the {} bytes for all its mailboxes, and this one has its share of it; \
             try again later",
            quotas.total_bytes
        ));
    }
    Ok(Ok(lane))
}

/// In which lane a stranger's envelope finds room. The first is shared by places: no network may have more of it than is
/// left for all others, and none of its hosts more than half of that, so that the loud are refused first. Who finds no
/// room there is let into the second by proof of work, which costs more the fuller that is.
fn strangers_lane<C: Commands>(
    db: &C,
    account: AccountId,
    from: &Stranger,
    mailbox: &Mailbox,
    quotas: &Quotas,
) -> Applied<Result<Lane, StoreError>, C::Error> {
    let free = quotas.strangers.saturating_sub(mailbox.strangers);
    if free > 0 {
        let (of_site, of_host) = db.places(account, &from.site, &from.host)?;
        if from.exempt || (of_site < free && of_host * 2 < free) {
            return Ok(Ok(Lane::Strangers));
        }
    }
    if mailbox.worked >= quotas.strangers {
        let most = quotas.strangers;
        return Ok(Err(StoreError::MailboxFull(format!(
            "{most} requests of strangers wait for this account, and as many with work, which are the most; try again later"
        ))));
    }
    let steps = u8::try_from(mailbox.worked / WORKED_A_STEP).unwrap_or(u8::MAX);
    let bits = quotas.work_bits.saturating_add(steps).min(MAX_WORK_BITS);
    Ok(if from.work >= bits { Ok(Lane::Worked) } else { Err(StoreError::StrangersFull { bits }) })
}

/// Deletes envelopes of one device, and nothing else; how many there were.
pub fn delete<C: Commands>(
    db: &mut C,
    account: AccountId,
    device: DeviceId,
    numbers: &[u64],
    batch: &mut Batch,
) -> Applied<u64, C::Error> {
    let mut deleted = 0;
    for number in numbers {
        let gone = db.remove(account, device, *number)?;
        deleted += gone.envelopes;
        batch.went(gone);
    }
    batch.deleted += deleted;
    Ok(deleted)
}

/// Deletes some of what has expired, lets names that rest no longer go, and saves the clock while there is anything whose
/// time it counts; whether there may be more.
pub fn sweep<C: Commands>(db: &mut C, batch: &mut Batch) -> Applied<bool, C::Error> {
    let expired = expire(db, batch)?;
    let rested = batch.now.checked_sub(RESERVED_SECONDS as u64);
    let free = rested.map_or(Ok(0), |rested| db.wake_all(rested, SWEEP))?;
    let more = super::groups::sweep(db, batch)?;
    let sums = db.sums()?;
    if sums.mail.envelopes + sums.resting + sums.groups > 0 {
        db.save_uptime(batch.now)?;
    }
    Ok(expired == SWEEP as u64 || free == SWEEP || more)
}

/// How many envelopes went.
fn expire<C: Commands>(db: &mut C, batch: &mut Batch) -> Applied<u64, C::Error> {
    let gone = db.expire(batch.now, SWEEP)?;
    batch.expired += gone.envelopes;
    batch.went(gone);
    Ok(gone.envelopes)
}
