//! Backups and uploads that are on their way: whose they are, how many, and what they may take of the machine.
//!
//! Invariants: places, memory and disk are shares of a user; a passphrase is tried by one thread of its own, so that calls of
//! others never wait for it; an upload leaves the ballast, and most of what is free, alone.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::crypto::random_bytes;
use crate::model::Caller;
use crate::service::error::ServiceError;
use crate::store::disk::reserve::Space;

/// Of the room that the disk has beyond the ballast, the part that one user's uploads may take.
const UPLOAD_PART: u64 = 4;
/// And one without an account here, who has more to gain than to lose by filling it. Nobody's account comes from a larger one.
const STRANGER_UPLOAD_PART: u64 = 16;
/// Passphrases that are tried or made at a time. Each takes up to 256 MiB and a second (docs/security.md).
const HEAVY: usize = 1;
/// Backups and uploads of one user that are under way at most.
const MAX_PER_USER: usize = 2;
/// And of all.
const MAX_TRANSFERS: usize = 16;
/// One that nobody asks for is dropped after this: its client went away.
pub(in crate::service) const IDLE: Duration = Duration::from_secs(120);
/// A file on its way.
pub(in crate::service) struct Transfer {
    pub(in crate::service) id: String,
    uid: u32,
    upload: bool,
    file: Arc<File>,
    size: u64,
    touched: Instant,
}

/// Whose a transfer is.
#[derive(Debug, Clone, Copy)]
pub(in crate::service) struct Owner {
    pub uid: u32,
    /// Who has no account here gets less.
    pub has_account: bool,
}

/// What is on its way, of all users.
pub(in crate::service) struct Transfers {
    list: Mutex<Vec<Transfer>>,
    /// Users whose backup is made, or read, just now: each takes a place.
    busy: Mutex<Vec<u32>>,
    /// For those who work with passphrases: in the order in which they came, and never all blocking threads.
    heavy: Arc<Semaphore>,
    /// The disk under the data directory.
    space: Arc<Space>,
}

/// A place of a user while something is made for them; given back when dropped.
pub(in crate::service) struct Place {
    transfers: Arc<Transfers>,
    uid: u32,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut busy = self.transfers.busy();
        if let Some(at) = busy.iter().position(|uid| *uid == self.uid) {
            busy.swap_remove(at);
        }
    }
}

impl Transfers {
    /// None is on its way.
    pub(in crate::service) fn new(space: Arc<Space>) -> Arc<Self> {
        let heavy = Arc::new(Semaphore::new(HEAVY));
        Arc::new(Self { list: Mutex::default(), busy: Mutex::default(), heavy, space })
    }

    /// Takes a place among those who make or read backups.
    pub(in crate::service) fn place(self: &Arc<Self>, owner: Owner) -> Result<Place, ServiceError> {
        self.reserve(owner.uid, if owner.has_account { MAX_PER_USER } else { 1 })?;
        Ok(Place { transfers: Arc::clone(self), uid: owner.uid })
    }

    /// The place of an upload that was taken off the list and is being read: it is kept until all is done, so that whoever
    /// lets passphrases be tried without end waits for them.
    pub(in crate::service) fn keep_place(self: &Arc<Self>, uid: u32) -> Place {
        self.busy().push(uid);
        Place { transfers: Arc::clone(self), uid }
    }

    /// Runs what takes much memory and time: on a thread of its own, one after the other.
    pub(in crate::service) async fn heavy<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> Result<T, ServiceError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let permit = Arc::clone(&self.heavy).acquire_owned().await;
        let permit = permit.map_err(|_| ServiceError::ShuttingDown)?;
        let (tell, told) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("passphrase".into()).spawn(move || {
            let _permit = permit;
            let _ = tell.send(call());
        });
        thread.map_err(|source| ServiceError::Io { path: "passphrase thread".into(), source })?;
        told.await.unwrap_or(Err(ServiceError::ShuttingDown))
    }

    /// Whether the disk has room for so many bytes of a user's uploads, beside the ballast and what others need.
    pub(in crate::service) fn room_for(&self, owner: Owner, bytes: u64) -> Result<(), ServiceError> {
        let part = if owner.has_account { UPLOAD_PART } else { STRANGER_UPLOAD_PART };
        let before = self.uploaded(owner.uid);
        // What was uploaded is no longer free, and counts as the user's all the same.
        let free = self.space.spare().unwrap_or_default().saturating_add(before);
        if before + bytes > free / part {
            return Err(ServiceError::LimitReached(format!(
                "a {part}th of the free disk, {} MiB, is the most that uploads of one user may take: free some space",
                (free / part) >> 20
            )));
        }
        Ok(())
    }

    pub(in crate::service) fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Transfer>> {
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|transfer| transfer.touched.elapsed() < IDLE);
        list
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place, or finds that there is none.
    fn reserve(&self, uid: u32, most: usize) -> Result<(), ServiceError> {
        let (list, mut busy) = (self.lock(), self.busy());
        let all = list.len() + busy.len();
        let own = list.iter().filter(|transfer| transfer.uid == uid).count();
        let own = own + busy.iter().filter(|other| **other == uid).count();
        if all >= MAX_TRANSFERS || own >= most {
            return Err(ServiceError::LimitReached(format!(
                "of backups that are made or restored at a time, one user has {most} at most, and all together \
                     {MAX_TRANSFERS}: wait for one to end, two minutes at most"
            )));
        }
        busy.push(uid);
        Ok(())
    }

    pub(in crate::service) fn add(
        &self,
        uid: u32,
        upload: bool,
        file: File,
        size: u64,
    ) -> Result<String, ServiceError> {
        let id = proto::ids::hex(&random_bytes::<16>()?);
        let touched = Instant::now();
        self.lock().push(Transfer { id: id.clone(), uid, upload, file: Arc::new(file), size, touched });
        Ok(id)
    }

    /// The file and its size, and what `change` makes of the latter.
    pub(in crate::service) fn touch(
        &self,
        caller: &Caller,
        id: &str,
        upload: bool,
        change: impl FnOnce(u64) -> Result<u64, ServiceError>,
    ) -> Result<(Arc<File>, u64), ServiceError> {
        let mut list = self.lock();
        let transfer =
            list.iter_mut().find(|t| t.id == id && t.uid == caller.uid && t.upload == upload).ok_or_else(unknown)?;
        transfer.touched = Instant::now();
        let before = transfer.size;
        transfer.size = change(before)?;
        Ok((Arc::clone(&transfer.file), before))
    }

    /// Bytes that a user's uploads have on the disk.
    fn uploaded(&self, uid: u32) -> u64 {
        self.lock().iter().filter(|transfer| transfer.uid == uid && transfer.upload).map(|transfer| transfer.size).sum()
    }

    pub(in crate::service) fn take(&self, caller: &Caller, id: &str, upload: bool) -> Option<(Arc<File>, u64)> {
        let mut list = self.lock();
        let at = list.iter().position(|t| t.id == id && t.uid == caller.uid && t.upload == upload)?;
        let transfer = list.swap_remove(at);
        Some((transfer.file, transfer.size))
    }
}

pub(in crate::service) fn unknown() -> ServiceError {
    ServiceError::NotFound("that backup is not under way (any more): begin anew".into())
}
