//! Acknowledges on a link what was committed: merged, and only to devices that have proved themselves on it.
//!
//! Invariants: what a contact sent is acknowledged in the order of coming; a contact whose operations wait for their turn holds up
//! nobody else's acknowledgements.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use proto::ids::{DeviceId, MessageId};
use proto::wire::envelope::AckEntry;
use proto::wire::frame::{Frame, RefuseCode};
use tokio::sync::mpsc;

use super::handshake::Proved;
use crate::delivery::OpenLink;
use crate::model::ids::PeerId;
use crate::receive::{Receipt, Taken};
use crate::store::StoreError;

/// Envelopes of one link that wait for their COMMIT at most, and as many that wait to be waited for; beyond, the link is read no
/// further.
pub(super) const PENDING: usize = 64;

/// What was taken of an envelope, for which of our devices, and its number.
pub(super) type Item = (DeviceId, Taken, u64);

/// Of one account's contact: what follows is waited for when this has been committed.
type Lane = (DeviceId, PeerId);

pub(super) struct Acker {
    pub open: OpenLink,
    pub proved: Arc<Proved>,
}

#[derive(Default)]
struct Due {
    entries: Vec<AckEntry>,
    ids: Vec<MessageId>,
}

/// How an envelope's operation ended.
struct Done {
    lane: Lane,
    own: DeviceId,
    theirs: DeviceId,
    number: u64,
    result: Result<Receipt, StoreError>,
}

async fn outcome((own, taken, number): Item) -> Done {
    let lane = (own, taken.contact);
    Done { lane, own, theirs: taken.from_device, number, result: taken.outcome.outcome().await }
}

impl Acker {
    pub async fn run(self, mut queue: mpsc::Receiver<Item>) {
        let mut due: HashMap<(DeviceId, DeviceId), Due> = HashMap::new();
        // The first of each lane, and what stands behind it.
        let mut first = FuturesUnordered::new();
        let mut behind: HashMap<Lane, VecDeque<Item>> = HashMap::new();
        let (mut waiting, mut closed) = (0, false);
        loop {
            tokio::select! {
                item = queue.recv(), if !closed && waiting < PENDING => match item {
                    Some(item) => {
                        waiting += 1;
                        let lane = (item.0, item.1.contact);
                        match behind.get_mut(&lane) {
                            Some(line) => line.push_back(item),
                            None => {
                                behind.insert(lane, VecDeque::new());
                                first.push(outcome(item));
                            }
                        }
                        // There is nothing to tell of it yet.
                        continue;
                    }
                    None => closed = true,
                },
                done = first.next(), if !first.is_empty() => {
                    let mut next = done;
                    while let Some(done) = next {
                        waiting -= 1;
                        let lane = done.lane;
                        self.committed(done, &mut due).await;
                        match behind.get_mut(&lane).and_then(VecDeque::pop_front) {
                            Some(item) => first.push(outcome(item)),
                            None => drop(behind.remove(&lane)),
                        }
                        // More may be committed already: they share the frame.
                        next = first.next().now_or_never().flatten();
                    }
                }
                () = self.open.claims.changed() => {}
            }
            if !self.flush(&mut due).await || closed && waiting == 0 {
                return;
            }
        }
    }

    async fn committed(&self, done: Done, due: &mut HashMap<(DeviceId, DeviceId), Due>) {
        let Done { own, theirs, number, result, .. } = done;
        match result {
            Ok(receipt) if !receipt.silent => {
                let waiting = due.entry((own, theirs)).or_default();
                for entry in receipt.entries {
                    waiting.entries.retain(|e| (e.conversation, e.epoch) != (entry.conversation, entry.epoch));
                    waiting.entries.push(entry);
                }
                waiting.ids.extend(receipt.ids);
                // A contact that sends without ever proving itself must not fill the memory.
                waiting.entries.truncate(proto::wire::MAX_ACK_ENTRIES);
                waiting.ids.truncate(proto::wire::frame::MAX_ACK_IDS);
                if receipt.over_quota {
                    let (code, envelope, device) = (RefuseCode::Quota, Some(number), Some(own));
                    let _ = self.open.sender.send(Frame::Refuse { code, envelope, device }).await;
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "an envelope was not stored: the sender is asked to try later");
                let refuse = Frame::Refuse { code: RefuseCode::Unavailable, envelope: None, device: Some(own) };
                let _ = self.open.sender.send(refuse).await;
            }
        }
    }

    async fn flush(&self, due: &mut HashMap<(DeviceId, DeviceId), Due>) -> bool {
        let stands = |(own, theirs): &&(DeviceId, DeviceId)| {
            self.proved.peer(*own, *theirs).is_some() && self.open.claims.has(*own, *theirs)
        };
        let ready: Vec<(DeviceId, DeviceId)> = due.keys().filter(stands).copied().collect();
        for (own, theirs) in ready {
            let Some(Due { entries, ids }) = due.remove(&(own, theirs)) else { continue };
            if entries.is_empty() && ids.is_empty() {
                continue;
            }
            let frame = Frame::Ack { from_device: own, to_device: theirs, entries, ids };
            proto::fault::point("receive.ack.before");
            if self.open.sender.send(frame).await.is_err() {
                return false;
            }
            proto::fault::point("receive.ack.after");
        }
        true
    }
}
