//! Watches over holes in what contacts send: asks for what is missing, and gives it up when its time is over.
//!
//! Not its job: to decide what a hole is, or how long it is awaited (`store::log::reorder`).
//!
//! A timer runs only while something is held. A hole is asked for after a few seconds, not at once: what comes by mailbox
//! and by link at the same time is out of order for a moment.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use proto::time::Timestamp;

use crate::delivery::{Delivery, News};
use crate::model::ids::PeerId;
use crate::store::log::reorder::{self, HOLD_MS};
use crate::store::{Store, StoreError};

/// A hole is asked for when it is so old.
const ASK_AFTER_MS: i64 = 5_000;
/// And again after so long, twice as long each time.
const ASK_AGAIN: Duration = Duration::from_secs(25);
/// How often holes are polled while there are any.
const LOOK: Duration = Duration::from_secs(5);
/// Changes of the store are looked at so often at most.
const PAUSE: Duration = Duration::from_secs(1);
/// Slices of what was held that are shown before holes are looked at again; others are served between any two.
const MAX_SLICES: usize = 64;
/// The mailbox must have been empty for so long: as long as a hole is awaited.
const DRAINED_FOR: Duration = Duration::from_millis(HOLD_MS as u64);

/// Whose holes, and who asks for what is missing.
pub struct Holes {
    /// Of the account.
    pub store: Store,
    /// Of the account.
    pub delivery: Delivery,
    /// Whether nothing can be in the account's mailbox that has not been stored for so long.
    pub is_drained_for: Box<dyn Fn(Duration) -> bool + Send + Sync>,
}

/// When each contact was asked last, and when it may be asked again.
type Asked = HashMap<PeerId, (Instant, Duration)>;

/// Lives until the account goes offline, or its store is closed.
pub async fn watch(holes: Holes) {
    let mut changes = holes.store.outbox_watch();
    let mut asked = Asked::new();
    loop {
        let held = match poll(&holes, &mut asked).await {
            Ok(held) => held,
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "holes cannot be looked after now");
                true
            }
        };
        // Not a wait for something to happen: a bound on how often the same is looked at.
        tokio::time::sleep(PAUSE).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(LOOK), if held => {}
        }
    }
}

/// Whether something is held still.
async fn poll(watched: &Holes, asked: &mut Asked) -> Result<bool, StoreError> {
    let found = watched.store.read(reorder::holes).await?;
    if found.is_empty() {
        asked.clear();
        return Ok(false);
    }
    for _ in 0..MAX_SLICES {
        if !watched.store.write(reorder::show_ready).await? {
            break;
        }
    }
    let now = Timestamp::now();
    // One from the future was written before the clock was set back: the store puts that right.
    let age = |since: Timestamp| if since > now { i64::MAX } else { now.0 - since.0 };
    asked.retain(|contact, _| found.iter().any(|hole| hole.contact == *contact));
    for hole in found.iter().filter(|hole| age(hole.since) >= ASK_AFTER_MS) {
        let wait = match asked.get(&hole.contact) {
            Some((at, wait)) if at.elapsed() < *wait => continue,
            Some((_, wait)) => wait.saturating_mul(2),
            None => ASK_AGAIN,
        };
        asked.insert(hole.contact, (Instant::now(), wait));
        tracing::info!(often = "hole", contact = %hole.contact, "messages are missing: asking for them");
        watched.delivery.tell(News::Hole(hole.contact)).await;
    }
    if found.iter().any(|hole| age(hole.since) >= HOLD_MS) {
        let drained = (watched.is_drained_for)(DRAINED_FOR);
        for _ in 0..MAX_SLICES {
            match watched.store.write(move |tx| reorder::give_up_gaps(tx, tx.now, drained)).await? {
                Some(again) if again <= Timestamp::now() => {
                    watched.store.write(reorder::show_ready).await?;
                }
                again => return Ok(again.is_some()),
            }
        }
    }
    Ok(true)
}
