//! One bound in bytes for everything that clients make this process hold: bodies of requests that are read, and answers
//! that are written.
//!
//! An answer is handed to the connection a slice at a time, and counts until its last slice was taken: a client that asks
//! and does not read holds its own answer, is given `ANSWER_TIMEOUT`, and meets the bound together with all others.
//! Of an address that is limited the share is a part of the whole, so that one who is loud is refused first.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::limits::Peer;

/// Bytes that are held at once at most.
pub const MAX_HELD_BYTES: usize = 64 << 20;
/// Of which one address may have so many.
const MAX_SHARE_BYTES: usize = 8 << 20;
/// Handed to a connection at a time.
const SLICE_BYTES: usize = 16 * 1024;
/// For a client to take all of an answer: a megabyte at 140 kbit/s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What is held now.
#[derive(Debug, Default)]
pub struct Memory {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Without those that are exempt, who have no share to be kept to.
    by_address: HashMap<IpAddr, usize>,
}

impl Memory {
    /// Counts bytes in; `None` when there is no room for them.
    pub fn hold(self: &Arc<Self>, peer: Peer, bytes: usize) -> Option<Hold> {
        let address = (!peer.exempt).then_some(peer.address);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let share = address.and_then(|address| held.by_address.get(&address)).copied().unwrap_or(0);
        if held.all + bytes > MAX_HELD_BYTES || share + bytes > MAX_SHARE_BYTES {
            return None;
        }
        held.all += bytes;
        if let Some(address) = address.filter(|_| bytes > 0) {
            *held.by_address.entry(address).or_insert(0) += bytes;
        }
        Some(Hold { memory: Arc::clone(self), address, bytes })
    }

    /// Bytes that are held now.
    pub fn held(&self) -> usize {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// Bytes that count until this is dropped.
#[derive(Debug)]
pub struct Hold {
    memory: Arc<Memory>,
    address: Option<IpAddr>,
    bytes: usize,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut held = self.memory.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.all -= self.bytes;
        if let Some(address) = self.address
            && let Some(share) = held.by_address.get_mut(&address)
        {
            *share -= self.bytes;
            if *share == 0 {
                held.by_address.remove(&address);
            }
        }
    }
}

/// The body of an answer, which counts until it was taken.
#[derive(Debug)]
pub struct Answer {
    rest: Bytes,
    until: Instant,
    _hold: Option<Hold>,
}

impl Answer {
    /// Of these bytes.
    pub fn new(bytes: Bytes, hold: Hold) -> Self {
        Self { rest: bytes, until: Instant::now() + ANSWER_TIMEOUT, _hold: Some(hold) }
    }

    /// A short one, for which there need not be room.
    pub fn unheld(bytes: Bytes) -> Self {
        Self { rest: bytes, until: Instant::now() + ANSWER_TIMEOUT, _hold: None }
    }
}

/// The client did not take its answer in time.
#[derive(Debug, thiserror::Error)]
#[error("the client was too slow to take its answer")]
pub struct TooSlow;

impl Body for Answer {
    type Data = Bytes;
    type Error = TooSlow;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, TooSlow>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        if this.until <= Instant::now() {
            return Poll::Ready(Some(Err(TooSlow)));
        }
        let slice = this.rest.split_to(this.rest.len().min(SLICE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(slice))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_a_share_and_all_have_a_bound() {
        let memory = Arc::new(Memory::default());
        let peer = |n: u8| Peer { address: IpAddr::from([192, 0, 2, n]), exempt: false };
        let loud: Vec<_> = std::iter::from_fn(|| memory.hold(peer(1), 1 << 20)).take(100).collect();
        assert_eq!(loud.len(), MAX_SHARE_BYTES >> 20);
        assert!(memory.hold(peer(2), 1 << 20).is_some(), "the others have room");
        let crowd: Vec<_> = (2..=255).map_while(|n| memory.hold(peer(n), 1 << 20)).collect();
        assert_eq!(memory.held(), MAX_HELD_BYTES);
        assert!(memory.hold(Peer { exempt: true, ..peer(9) }, 1).is_none(), "one bound for all");
        drop((loud, crowd));
        assert_eq!(memory.held(), 0);
        assert!(memory.held.lock().unwrap().by_address.is_empty(), "nothing is kept of who is gone");
    }
}
