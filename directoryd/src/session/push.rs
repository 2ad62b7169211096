//! Mail of a session: what is pushed to the device, in what order and how far ahead of its deletions.
//!
//! Nothing waits in memory: a session that has room in its window reads the next envelopes from the store, sends them,
//! and reads again. It is woken when something is deposited.
//!
//! Invariants: pushed in the order of numbers; at most [`PUSH_WINDOW`] envelopes and [`PUSH_WINDOW_BYTES`] are with the
//! client and neither deleted nor released; an envelope stays in the store until the client has signed for it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use proto::directory::api::{
    Base64, ErrorCode, MAX_DELETE_NUMBERS, MAX_DEPOSIT_BYTES, PUSH_WINDOW, PUSH_WINDOW_BYTES, ServerFrame,
    delete_message, encode_push,
};
use proto::directory::verified;
use proto::ids::{AccountId, DeviceId};

use super::socket::{Ended, Socket};
use crate::http::answer::Refusal;
use crate::state::Directory;
use crate::store::Fetch;

/// Bytes that are read at once at most: two large envelopes, or all of a window of small ones.
const CHUNK_BYTES: usize = 160 * 1024;
/// What a session knows of its device's mail.
#[derive(Debug)]
pub struct Push<'a> {
    directory: &'a Directory,
    account: AccountId,
    device: DeviceId,
    window: Window,
}

/// How far ahead of its deletions a device is.
#[derive(Debug, Default)]
struct Window {
    /// The client wants it.
    asked: bool,
    /// There may be something in the store that was not pushed.
    due: bool,
    /// Everything up to here was pushed.
    upto: u64,
    /// With the client, with their bytes.
    out: HashMap<u64, usize>,
    /// Sum of the above.
    bytes: usize,
    /// The highest number that lay there when the client asked, until it was told that it has all.
    drain: Option<u64>,
}

impl Window {
    /// Whether there is something to read, and room to send it.
    fn wants(&self) -> bool {
        self.asked && self.due && self.room().is_some()
    }

    /// Envelopes and bytes that may be sent now. One may always be under way, however large.
    fn room(&self) -> Option<(usize, usize)> {
        let envelopes = PUSH_WINDOW.saturating_sub(self.out.len());
        let bytes = PUSH_WINDOW_BYTES.saturating_sub(self.bytes);
        let open = envelopes > 0 && (self.out.is_empty() || bytes >= MAX_DEPOSIT_BYTES);
        open.then_some((envelopes, bytes.min(CHUNK_BYTES)))
    }

    fn settle(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.bytes -= self.out.remove(number).unwrap_or(0);
        }
    }
}

impl<'a> Push<'a> {
    /// Of a device's session.
    pub fn new(directory: &'a Directory, account: AccountId, device: DeviceId) -> Self {
        Self { directory, account, device, window: Window::default() }
    }

    /// Mail came, or may have come.
    pub fn wake(&mut self) {
        self.window.due = true;
    }

    /// Whether there is something to read, and room to send it.
    pub fn wants(&self) -> bool {
        self.window.wants()
    }

    /// Whether any of these is with the client: then the frame that names it is the answer to a push.
    pub fn has_any(&self, numbers: &[u64]) -> bool {
        numbers.iter().any(|number| self.window.out.contains_key(number))
    }

    /// `mailbox`: begins with the first envelope again, except those that are with the client.
    pub async fn mailbox(&mut self) -> Result<Vec<ServerFrame>, Refusal> {
        let last = self.directory.store.readers().last_mail(self.account, self.device).await?;
        self.window.asked = true;
        self.window.due = true;
        self.window.upto = 0;
        self.window.drain = last;
        Ok(if last.is_none() { vec![ServerFrame::Drained { upto: 0 }] } else { Vec::new() })
    }

    /// `delete`: answered when it is durable.
    pub async fn delete(&mut self, numbers: &[u64], signature: &Base64) -> Result<Vec<ServerFrame>, Refusal> {
        few(numbers)?;
        let entry = self.directory.cluster.by_account(self.account).ok_or_else(Refusal::not_found)?;
        let key = entry.device_key(self.device);
        let message = delete_message(&self.directory.config.origin, numbers);
        let signature = <[u8; 64]>::try_from(&signature[..]);
        if !key.zip(signature.ok()).is_some_and(|(key, signature)| verified(key, &message, &signature)) {
            return Err(Refusal::new(ErrorCode::BadSignature, "the deletion is not signed by the device's key"));
        }
        self.directory.store.delete(self.account, self.device, numbers.to_vec()).await?;
        self.window.settle(numbers);
        Ok(vec![ServerFrame::Deleted { numbers: numbers.to_vec() }])
    }

    /// `release`: they stay in the store, and out of the window.
    pub fn release(&mut self, numbers: &[u64]) -> Result<Vec<ServerFrame>, Refusal> {
        few(numbers)?;
        self.window.settle(numbers);
        Ok(Vec::new())
    }

    /// Sends what there is room for, one chunk of it.
    pub async fn push(&mut self, socket: &mut Socket) -> Ended {
        let Some((count, bytes)) = self.window.room() else { return Ok(()) };
        let place = self.directory.pushing.try_acquire();
        let count = if place.is_ok() { count } else { 1 };
        // Before the read: what is committed after it wakes the session once more.
        self.window.due = false;
        let out: HashSet<u64> = self.window.out.keys().copied().collect();
        let readers = self.directory.store.readers();
        let (account, device, after) = (self.account, self.device, self.window.upto);
        let fetch = Fetch { account, device, after, except: out, count, bytes, now: 0 };
        let mail = readers.mail(fetch).await;
        let mail = mail.map_err(|error| {
            tracing::error!(%error, "cannot read a mailbox");
            "the mailbox cannot be read"
        })?;
        for (number, envelope) in mail.envelopes {
            if self.window.drain.is_some_and(|last| last < number) {
                self.drained(socket).await?;
            }
            self.window.upto = number;
            self.window.out.insert(number, envelope.len());
            self.window.bytes += envelope.len();
            socket.binary(encode_push(number, &envelope)).await?;
            self.directory.front.metrics.mailbox.pushed.fetch_add(1, Ordering::Relaxed);
            if self.window.drain == Some(number) {
                self.drained(socket).await?;
            }
        }
        if mail.more {
            self.window.due = true;
        } else if self.window.drain.is_some() {
            // The last one expired, or was deleted, before its turn came; or it is with the client.
            self.drained(socket).await?;
        }
        Ok(())
    }

    async fn drained(&mut self, socket: &mut Socket) -> Ended {
        match self.window.drain.take() {
            Some(upto) => socket.send(&ServerFrame::Drained { upto }).await,
            None => Ok(()),
        }
    }
}

fn few(numbers: &[u64]) -> Result<(), Refusal> {
    if numbers.len() <= MAX_DELETE_NUMBERS {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::TooLarge, format!("a frame names at most {MAX_DELETE_NUMBERS} envelopes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_at_its_number_and_its_bytes() {
        let mut push = Window { asked: true, due: true, ..Window::default() };
        assert_eq!(push.room(), Some((PUSH_WINDOW, CHUNK_BYTES)));
        for number in 1..=PUSH_WINDOW as u64 {
            assert!(push.wants());
            push.out.insert(number, 1);
            push.bytes += 1;
        }
        assert!(!push.wants());
        push.settle(&[1, 1, 999]);
        assert!(push.wants() && push.bytes == PUSH_WINDOW - 1, "named twice, settled once");
        push.out.insert(500, PUSH_WINDOW_BYTES);
        push.bytes += PUSH_WINDOW_BYTES;
        assert_eq!(push.room(), None);
        // All but the large one gone: it still is what the window holds.
        push.settle(&(2..=PUSH_WINDOW as u64).collect::<Vec<_>>());
        assert_eq!(push.room(), None);
        push.settle(&[500]);
        assert!(push.wants());
    }
}
