//! Logs that a session follows: what is pushed of them, in what order and how far ahead of what the client has committed.
//!
//! Nothing waits in memory, as with mail: a session that has room in its window reads the next entries from the store behind its cursor of
//! that log, sends them, and reads again. It is woken when something is appended. Logs take turns.
//!
//! Invariants: pushed in the order of numbers; at most [`FOLLOW_WINDOW`] entries and [`PUSH_WINDOW_BYTES`] are with the client and
//! not read; what a token may read is looked at with each reading.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proto::directory::api::{Base64, ErrorCode, MAX_FRAME_ENTRIES, PUSH_WINDOW_BYTES, ServerFrame};
use proto::directory::groups::access::token_hash;
use proto::directory::groups::{FOLLOW_WINDOW, MAX_ENTRY_BYTES, Pushed};
use proto::ids::{Hex32, LogId};

use super::socket::{Ended, Socket};
use crate::cluster::{Followed, MAX_FOLLOWED, SessionId};
use crate::http::answer::Refusal;
use crate::state::Directory;
use crate::store::{EntriesFetch, Group, StoreError};

/// Bytes that are read at once at most: two large entries, or many small ones.
const CHUNK_BYTES: usize = 160 * 1024;

/// A log that is followed.
#[derive(Debug)]
struct Follow {
    token: [u8; 32],
    /// Everything up to here was pushed.
    after: u64,
    /// Whether the token was in force when it was looked at last.
    current: bool,
    /// There may be something in the store that was not pushed.
    due: bool,
    /// With the client: numbers and bytes.
    out: VecDeque<(u64, usize)>,
}

/// See the module.
#[derive(Debug)]
pub struct Follows<'a> {
    directory: &'a Directory,
    id: SessionId,
    followed: Arc<Followed>,
    logs: HashMap<LogId, Follow>,
    /// Those that are due, each once, in the order of their turns.
    turns: VecDeque<LogId>,
    /// With the client, of all logs.
    entries: usize,
    bytes: usize,
}

impl<'a> Follows<'a> {
    /// Of a session that follows nothing.
    pub fn new(directory: &'a Directory, id: SessionId) -> Self {
        let (followed, logs, turns) = (Arc::default(), HashMap::new(), VecDeque::new());
        Self { directory, id, followed, logs, turns, entries: 0, bytes: 0 }
    }

    /// By what it is woken.
    pub fn followed(&self) -> Arc<Followed> {
        Arc::clone(&self.followed)
    }

    /// Something came, or may have come.
    pub fn wake(&mut self) {
        for log in self.followed.take() {
            self.due(log);
        }
    }

    /// Whether there is something to read, and room to send it.
    pub fn wants(&self) -> bool {
        !self.turns.is_empty() && self.room().is_some()
    }

    /// Whether this names something that is with the client: then the frame is the answer to a push.
    pub fn has_out(&self, log: LogId, upto: u64) -> bool {
        let first = self.logs.get(&log).and_then(|follow| follow.out.front());
        first.is_some_and(|(number, _)| *number <= upto)
    }

    /// `follow`: begins behind a number, whatever was pushed before.
    pub async fn follow(&mut self, log: LogId, token: &Base64, after: u64) -> Result<Vec<ServerFrame>, Refusal> {
        let token = <[u8; 32]>::try_from(&token[..]).map(|token| token_hash(&token));
        let token = token.map_err(|_| Refusal::new(ErrorCode::Malformed, "a token has 32 bytes"))?;
        // Before the look: what is committed after it wakes the session.
        if !self.directory.cluster.follow(self.id, log, &self.followed) {
            return Err(Refusal::new(ErrorCode::TooLarge, format!("a session follows {MAX_FOLLOWED} logs at most")));
        }
        let read = match self.directory.store.readers().group(log, token).await {
            Ok(read) => read,
            Err(error) => {
                self.drop_log(log);
                return if matches!(error, StoreError::NoSuchGroup) {
                    Ok(vec![ServerFrame::Gone { log }])
                } else {
                    Err(error.into())
                };
            }
        };
        self.settle(log, u64::MAX);
        let due = self.logs.remove(&log).is_some_and(|follow| follow.due);
        self.logs.insert(log, Follow { token, after, current: read.current, due, out: VecDeque::new() });
        self.due(log);
        Ok(vec![head(&read.group, read.current)])
    }

    /// `unfollow`.
    pub fn unfollow(&mut self, logs: &[LogId]) -> Result<Vec<ServerFrame>, Refusal> {
        if logs.len() > MAX_FRAME_ENTRIES {
            return Err(Refusal::new(ErrorCode::TooLarge, format!("a frame has at most {MAX_FRAME_ENTRIES} entries")));
        }
        logs.iter().for_each(|log| self.drop_log(*log));
        Ok(Vec::new())
    }

    /// `read`: up to here it is committed there, and out of the window.
    pub fn read(&mut self, log: LogId, upto: u64) {
        self.settle(log, upto);
    }

    /// How many logs are followed.
    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Sends what there is room for, one chunk of the log whose turn it is.
    pub async fn push(&mut self, socket: &mut Socket) -> Ended {
        let (Some((count, bytes)), Some(log)) = (self.room(), self.turns.pop_front()) else { return Ok(()) };
        let Some(follow) = self.logs.get_mut(&log) else { return Ok(()) };
        // Before the read: what is committed after it wakes the session once more.
        follow.due = false;
        let (token, after, was) = (follow.token, follow.after, follow.current);
        let place = self.directory.pushing.try_acquire();
        let count = if place.is_ok() { count } else { 1 };
        let fetch = EntriesFetch { log, after, messages: true, keys: true, count, bytes, now: 0 };
        let read = match self.directory.store.readers().entries(token, fetch).await {
            Ok(read) => read,
            Err(StoreError::NoSuchGroup) => {
                self.drop_log(log);
                return socket.send(&ServerFrame::Gone { log }).await;
            }
            Err(error) => {
                tracing::error!(%error, "cannot read the log of a group");
                return Err("a log cannot be read");
            }
        };
        if read.current != was {
            socket.send(&head(&read.group, read.current)).await?;
        }
        for entry in &read.entries.entries {
            let bytes = entry.entry.as_ref().map_or(0, Vec::len);
            if let Some(follow) = self.logs.get_mut(&log) {
                follow.after = entry.number;
                follow.out.push_back((entry.number, bytes));
                self.entries += 1;
                self.bytes += bytes;
            }
            let content = entry.entry.as_deref().ok_or(entry.hash);
            let pushed = Pushed { log, number: entry.number, kind: entry.kind, entry: content };
            socket.binary(pushed.encode()).await?;
            self.directory.front.metrics.groups.pushed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(follow) = self.logs.get_mut(&log) {
            follow.current = read.current;
        }
        if read.entries.more {
            self.due(log);
        }
        Ok(())
    }

    /// Entries and bytes that may be sent now. One may always be under way, however large.
    fn room(&self) -> Option<(usize, usize)> {
        let entries = FOLLOW_WINDOW.saturating_sub(self.entries);
        let bytes = PUSH_WINDOW_BYTES.saturating_sub(self.bytes);
        let open = entries > 0 && (self.entries == 0 || bytes >= MAX_ENTRY_BYTES);
        open.then_some((entries, bytes.min(CHUNK_BYTES)))
    }

    fn due(&mut self, log: LogId) {
        if let Some(follow) = self.logs.get_mut(&log)
            && !std::mem::replace(&mut follow.due, true)
        {
            self.turns.push_back(log);
        }
    }

    fn settle(&mut self, log: LogId, upto: u64) {
        let Some(follow) = self.logs.get_mut(&log) else { return };
        while let Some((_, bytes)) = follow.out.front().filter(|(number, _)| *number <= upto).copied() {
            follow.out.pop_front();
            self.entries -= 1;
            self.bytes -= bytes;
        }
    }

    fn drop_log(&mut self, log: LogId) {
        self.directory.cluster.unfollow(self.id, log);
        self.settle(log, u64::MAX);
        self.logs.remove(&log);
        self.turns.retain(|other| *other != log);
    }
}

fn head(group: &Group, current: bool) -> ServerFrame {
    let head = current.then_some(group.head);
    ServerFrame::Head {
        log: group.log,
        number: head.map(|head| head.number),
        hash: head.map(|head| Hex32(head.hash)),
        event: group.event,
    }
}
