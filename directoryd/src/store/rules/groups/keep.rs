//! What whoever has the log key may know and drop: nothing else is evicted.

use crate::store::command::{Applied, Commands};
use crate::store::error::StoreError;
use crate::store::groups::{Keep, Kept};
use crate::store::rules::batch::Batch;

pub fn keep<C: Commands>(db: &mut C, asked: &Keep, batch: &mut Batch) -> Applied<Kept, C::Error> {
    let group = db.group(asked.log)?.ok_or(StoreError::NoSuchGroup)?;
    if group.log_key != asked.by {
        return Err(StoreError::BadSignature("not signed by the log key in force").into());
    }
    let mut kept = Kept { writers: db.writers(asked.log, &asked.numbers)?, dropped: 0 };
    if asked.drop {
        for number in &asked.numbers {
            kept.dropped += u64::from(db.drop_entry(asked.log, *number)?);
        }
        for slot in &asked.slots {
            kept.dropped += u64::from(db.remove_slot(asked.log, slot)?);
        }
        batch.cut += kept.dropped;
        batch.logged |= kept.dropped > 0;
    }
    Ok(kept)
}
