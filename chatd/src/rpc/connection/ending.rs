//! Who is at the other end of a connection, what the connection weighs, and when it ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use proto::rpc::codec;
use proto::rpc::{ErrorCode, RpcError};
use tokio::time::Instant;
use zeroize::Zeroize;

use super::super::api::Api;
use super::super::client_limiter::Doing;
use super::super::dispatch::{Greeting, answer};
use super::{Connection, KEEP_BUFFER_BYTES, OUT_HIGH_BYTES};
use crate::model::Caller;

impl<A: Api, R, W> Connection<'_, A, R, W> {
    /// Tells the limiter what is held in memory, and what is done.
    pub(super) fn weigh(&mut self) {
        if self.sending == 0 {
            self.sending_bytes = 0;
        }
        let doing = if self.feeds.len() > 0 {
            Doing::Following
        } else if !self.waits.is_empty() {
            Doing::Waiting
        } else if self.lane.is_some() || self.sending > 0 || !self.reads.is_empty() || !self.out.is_empty() {
            Doing::Working
        } else {
            Doing::Idle
        };
        self.permit.weigh(self.frames.held_bytes() + self.out.capacity() + self.sending_bytes, doing);
    }

    /// No more requests and events; what is under way gets a little time.
    pub(super) fn close(&mut self) {
        self.dispatcher.closing.cancel();
        self.close_by.get_or_insert_with(|| Instant::now() + self.limits.closing_timeout);
        self.partial_since = None;
        self.held = None;
        self.feeds.clear();
    }

    pub(super) fn deadline_passed(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let is_over = |since: Option<Instant>, timeout: Duration| since.is_some_and(|since| since + timeout <= now);
        if is_over(self.stalled_since, self.limits.stall_timeout) {
            tracing::info!(often = "stalled", caller = ?self.dispatcher.caller, "an RPC client takes nothing; dropping it");
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.close_by.is_some_and(|by| by <= now) || is_over(self.silent_since, self.limits.frame_timeout) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if is_over(self.partial_since, self.limits.frame_timeout) {
            let id = codec::salvage_id(self.frames.rest());
            let seconds = self.limits.frame_timeout.as_secs();
            let text = format!("a message was begun and not finished within {seconds} s");
            codec::encode_error(&mut self.out, id, &RpcError::new(ErrorCode::Malformed, text));
            self.close();
        }
        Ok(())
    }

    /// Who has asked for something is known already.
    pub(super) fn too_late(&mut self, id: u32) {
        let text = "a token is presented before anything else is asked: connect anew";
        self.greeted(id, true, Box::new(Err(RpcError::new(ErrorCode::NotAllowed, text))));
    }

    /// From now on the connection is what its token grants. One whose token is none in force ends: it must not go on as its
    /// user.
    pub(super) fn greeted(&mut self, id: u32, presented: bool, outcome: Greeting) {
        let failed = presented && outcome.is_err();
        if let Ok((_, Some(grant))) = &*outcome {
            let caller = Caller { grant: Some(Arc::clone(grant)), ..Caller::clone(&self.dispatcher.caller) };
            self.dispatcher.caller = Arc::new(caller);
        }
        answer(&mut self.out, id, &outcome.map(|(result, _)| result));
        if failed {
            self.close();
        }
    }

    pub(super) fn wrote(&mut self, bytes: usize) -> io::Result<()> {
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.stalled_since = None;
        self.written += bytes;
        if self.written >= self.out.len() {
            self.written = 0;
            if self.secret {
                self.out.zeroize();
            }
            self.out.clear();
            if self.out.capacity() > KEEP_BUFFER_BYTES {
                self.out = Vec::new();
            }
        } else if self.written >= OUT_HIGH_BYTES {
            // Answers may be added faster than the socket takes them: what was taken must not stay.
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }
}
