//! Appending: an entry gets the next number; an event only behind the newest one, with the keys that were staged for it and what is to hold
//! from then on.

use proto::directory::api::{Base64, EntryAnswer};
use proto::directory::groups::EntryKind;
use proto::ids::Hex32;

use super::access::{Token, to_write};
use super::room::{Wanted, count, find};
use super::statements;
use crate::store::command::{Applied, Commands, EntriesFetch, Group, NewEntry, Share, Turn};
use crate::store::error::StoreError;
use crate::store::groups::{Appended, GroupAppend, Staged};
use crate::store::rules::batch::Batch;

/// Seconds, by the mailbox's clock, that messages are kept, and keys behind the next: 35 days.
pub const KEPT_SECONDS: u64 = 35 * 86_400;
/// Seconds that what is staged waits for its event.
const STAGED_SECONDS: u64 = 600;
/// Hashes of entries that were dropped, in one log; the oldest go first, and nobody can check across them any more.
const MAX_DROPPED: u64 = 100_000;
/// Of those, forgotten at once.
const FORGET: usize = 512;
/// Races that somebody loses before it has a turn.
const LOSES: u64 = 3;
/// Seconds of a turn.
const TURN: u64 = 2;
/// Seconds between two turns in a log: so that whoever loses on purpose takes a fifth of the time at most.
const BETWEEN_TURNS: u64 = 10;
/// Seconds between two turns of one writer.
const OWN_TURNS: u64 = 60;
/// Newer events that a lost race tells at most.
const TELL: usize = 16;
/// Bytes of them at most.
const TELL_BYTES: usize = 128 * 1024;

pub fn append<C: Commands>(db: &mut C, new: &GroupAppend, batch: &mut Batch) -> Applied<Appended, C::Error> {
    batch.has_disk()?;
    let (old, token) = to_write(db, new.log, &new.token)?;
    // Repeated: the answer was lost.
    if let Some(known) = db.known(new.log, &new.hash)? {
        return Ok(Appended { created: false, place: known.place });
    }
    if token == Token::Old {
        return Err(StoreError::OldToken.into());
    }
    let (append, kind) = (&new.append, new.append.kind);
    let bad = StoreError::BadSignature("a root or header is not signed by the key in force");
    let said = new.statements.as_ref().ok_or(bad)?;
    let proved = proved(&old, new)?;
    let mut share = db.share(new.log, new.writer)?;
    if kind == EntryKind::Event {
        race(db, &old, &mut share, new, proved, batch)?;
    }
    let mut head = old.head;
    let mut staged = Vec::with_capacity(append.staged.len());
    for hash in &append.staged {
        let (writer, _, entry) = db.staged(new.log, hash)?.ok_or_else(|| gone("an entry that was staged"))?;
        head = head.with(hash);
        staged.push((head, *hash, writer, entry));
    }
    let place = head.with(&new.hash);
    if append.at.is_some_and(|at| at != place) {
        let reason = format!("another entry comes to lie under number {}, or another history before it", place.number);
        return Err(StoreError::Conflict { reason, stored: None }.into());
    }
    let (mut group, changed) = statements::with(&old, said)?;
    count(&mut group, &mut share, (new.exempt, proved), batch)?;
    let entries = 1 + staged.len() as u64;
    let wanted = Wanted { entries, bytes: append.entry.len() as u64, freed: 0, writer: new.writer, proved };
    find(db, &old, wanted, batch)?;
    if !staged.is_empty() {
        db.supersede_keys(new.log, batch.now.saturating_add(KEPT_SECONDS))?;
    }
    for (place, hash, writer, entry) in &staged {
        db.unstage(new.log, hash)?;
        let (log, kind) = (new.log, EntryKind::Keys);
        // The newest keys stay until others come.
        db.append(&NewEntry { log, place: *place, kind, writer: *writer, hash, expires: None, entry })?;
    }
    let expires = (kind != EntryKind::Event).then(|| batch.now.saturating_add(KEPT_SECONDS));
    let (log, writer, hash) = (new.log, new.writer, &new.hash);
    db.append(&NewEntry { log, place, kind, writer, hash, expires, entry: &append.entry })?;
    group.head = place;
    if kind == EntryKind::Event {
        group.event = place.number;
        group.turn = None;
        share.lost = 0;
    }
    if old.room.dropped > MAX_DROPPED
        && let Some(forgotten) = db.forget_entries(new.log, FORGET)?
    {
        group.floor = group.floor.max(forgotten);
    }
    db.set_group(&group)?;
    db.set_share(new.log, new.writer, &share)?;
    if changed {
        statements::replaced(db, &old, &group)?;
    }
    batch.appended += entries;
    batch.logged = true;
    Ok(Appended { created: true, place })
}

/// Keeps an entry of keys for an event that names it. It has no number before, and nobody reads it.
pub fn stage<C: Commands>(db: &mut C, new: &GroupAppend, batch: &mut Batch) -> Applied<Staged, C::Error> {
    batch.has_disk()?;
    let (group, token) = to_write(db, new.log, &new.token)?;
    if token == Token::Old {
        return Err(StoreError::OldToken.into());
    }
    if let Some((_, expires, _)) = db.staged(new.log, &new.hash)?.filter(|(_, expires, _)| *expires > batch.now) {
        return Ok(Staged { created: false, expires_in: expires - batch.now });
    }
    if db.known(new.log, &new.hash)?.is_some() {
        let reason = "this entry is in the log already".into();
        return Err(StoreError::Conflict { reason, stored: None }.into());
    }
    let proved = proved(&group, new)?;
    let entry = &new.append.entry;
    // Counted as an entry, though it is none yet: else what is staged could not come in when the log is full.
    let wanted = Wanted { entries: 1, bytes: entry.len() as u64, freed: 0, writer: new.writer, proved };
    find(db, &group, wanted, batch)?;
    db.unstage(new.log, &new.hash)?;
    let expires = batch.now.saturating_add(STAGED_SECONDS).saturating_add(1);
    db.stage(new.log, new.writer, &new.hash, expires, entry)?;
    batch.logged = true;
    Ok(Staged { created: true, expires_in: STAGED_SECONDS })
}

/// Whether the log key wants it.
fn proved(group: &Group, new: &GroupAppend) -> Result<bool, StoreError> {
    let Some(proof) = new.append.proof else { return Ok(false) };
    if new.proved_by != Some(group.log_key) {
        return Err(StoreError::BadSignature("the append is not signed by the log key in force"));
    }
    // What the log has forgotten cannot be told from what it never had.
    if proof.seen < group.floor { Err(gone("what this proof was made for")) } else { Ok(true) }
}

fn gone(what: &str) -> StoreError {
    StoreError::Conflict { reason: format!("{what} is not there any more; begin again"), stored: None }
}

/// Compare-and-set. A race that is lost costs no rate; whoever loses several has a turn.
fn race<C: Commands>(
    db: &mut C,
    group: &Group,
    share: &mut Share,
    new: &GroupAppend,
    proved: bool,
    batch: &mut Batch,
) -> Applied<(), C::Error> {
    let now = batch.now;
    let turn = group.turn.filter(|turn| turn.until > now && turn.of != new.writer && !proved);
    if let Some(turn) = turn {
        return Err(StoreError::LostRace { newer: Vec::new(), wait: Some(turn.until - now) }.into());
    }
    if new.append.after == group.event {
        return Ok(());
    }
    share.lost = share.lost.saturating_add(1);
    if share.lost >= LOSES && share.next_turn <= now && group.next_turn <= now {
        // A second that has begun is half over: one more.
        let until = now + TURN + 1;
        share.lost = 0;
        share.next_turn = now + OWN_TURNS;
        let turn = Some(Turn { of: new.writer, until });
        db.set_group(&Group { turn, next_turn: now + BETWEEN_TURNS, ..group.clone() })?;
    }
    db.set_share(new.log, new.writer, share)?;
    batch.raced += 1;
    let fetch = EntriesFetch {
        log: new.log,
        after: new.append.after,
        messages: false,
        keys: false,
        count: TELL,
        bytes: TELL_BYTES,
        now,
    };
    let newer = db.entries(&fetch)?.entries.into_iter();
    let told = newer.map(|entry| EntryAnswer {
        number: entry.number,
        kind: entry.kind,
        hash: entry.entry.is_none().then_some(Hex32(entry.hash)),
        entry: entry.entry.map(Base64),
    });
    Err(StoreError::LostRace { newer: told.collect(), wait: None }.into())
}
