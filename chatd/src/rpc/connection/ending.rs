//! What a connection weighs, and when it ends.

use std::io;
use std::time::Duration;

use proto::rpc::codec;
use proto::rpc::{ErrorCode, RpcError};
use tokio::time::Instant;

use super::super::api::Api;
use super::super::client_limiter::Doing;
use super::Connection;

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
}
