//! Slots: each the newest word of one device, which goes only forward. A new one needs the token in force; who has an old one may still
//! change what is its own, and ask for what it lacks by that.

use super::access::{Token, to_write};
use super::room::{Wanted, find};
use crate::store::command::{Applied, Commands};
use crate::store::error::StoreError;
use crate::store::groups::PutSlot;
use crate::store::rules::batch::Batch;
use proto::ids::sha256;

/// Slots of a log: four devices of as many members as a room has.
const MAX_SLOTS: u64 = 4_096;
/// Of which one writer has an eighth at most.
const SLOTS_OF_ONE: u64 = MAX_SLOTS / 8;

/// The counter that is stored.
pub fn put<C: Commands>(db: &mut C, new: &PutSlot, batch: &mut Batch) -> Applied<u64, C::Error> {
    batch.has_disk()?;
    let slot = &new.slot;
    let (group, token) = to_write(db, slot.log, &new.token)?;
    let held = db.slot(slot.log, &slot.key)?;
    match &held {
        Some(held) if held.hash == sha256(&[&new.bytes]) => return Ok(held.counter),
        Some(held) if !slot.follows(held.counter) => {
            let reason =
                format!("the slot with counter {} is stored, which {} does not follow", held.counter, slot.counter);
            return Err(StoreError::Conflict { reason, stored: None }.into());
        }
        None if token == Token::Old => return Err(StoreError::OldToken.into()),
        None if group.room.slots >= MAX_SLOTS || db.share(slot.log, new.writer)?.slots >= SLOTS_OF_ONE => {
            let why =
                format!("the log has {MAX_SLOTS} slots at most, and one writer {SLOTS_OF_ONE}; an admin can drop some");
            return Err(StoreError::GroupFull(why).into());
        }
        _ => {}
    }
    // It stays its first writer's, so that its room is counted where it was.
    let writer = held.map_or(new.writer, |held| held.writer);
    let freed = held.map_or(0, |held| held.size);
    let wanted = Wanted { entries: 0, bytes: new.bytes.len() as u64, freed, writer, proved: false };
    find(db, &group, wanted, batch)?;
    db.set_slot(slot.log, &slot.key, writer, slot.counter, &new.bytes)?;
    batch.logged = true;
    Ok(slot.counter)
}
