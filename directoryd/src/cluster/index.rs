//! The current state in memory, for lookups: filled from the database at the start, and changed by the store's thread
//! after each COMMIT, so that it never shows what could still be lost.
//!
//! Bounded by the number of accounts that the operator allows; the bytes of records are kept up to a budget, beyond
//! which a lookup reads the database.
//!
//! Invariant: the lock is held for map operations only, never across an await or IO.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use proto::directory::{ContactPolicy, Device, Record};
use proto::ids::{AccountId, DeviceId};
use proto::name::Name;

/// Bytes of records that are kept in memory at most: half of what the process may use as a whole, as 100,000 records
/// of some 600 bytes do.
const RECORD_BUDGET_BYTES: usize = 96 << 20;

/// What lookups need of an account.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose.
    pub account: AccountId,
    /// Their name.
    pub name: Name,
    /// The key that signs their records.
    pub identity_key: [u8; 32],
    /// Of the stored record.
    pub seq: u64,
    /// Who may ask.
    pub policy: ContactPolicy,
    /// Whether a search by address may find them.
    pub list_address: bool,
    /// Whether lists show their presence.
    pub show_online: bool,
    /// The devices that may start sessions and publish reach.
    pub devices: Vec<Device>,
    /// Where they are; empty unless `list_address`.
    pub addresses: Vec<SocketAddr>,
    /// The record's exact bytes, while the budget lasts.
    pub record: Option<Bytes>,
}

impl Entry {
    /// Of a record that is stored as `bytes`.
    pub fn new(record: &Record, bytes: Vec<u8>, addresses: Vec<SocketAddr>) -> Self {
        Self {
            account: record.account(),
            name: record.name.clone(),
            identity_key: record.identity_key,
            seq: record.seq,
            policy: record.policy,
            list_address: record.list_address,
            show_online: record.show_online,
            devices: record.devices.clone(),
            addresses,
            record: Some(bytes.into()),
        }
    }

    /// The signing key of one of the account's devices.
    pub fn device_key(&self, device: DeviceId) -> Option<&[u8; 32]> {
        self.devices.iter().find(|d| d.id == device).map(|d| &d.key)
    }
}

/// What a transaction changed.
#[derive(Debug)]
pub enum Change {
    /// A new or newer record.
    Put(Box<Entry>),
    /// A name was given up.
    Remove(AccountId),
    /// An account is somewhere else; ignored unless it has `list_address`.
    Addresses(AccountId, Vec<SocketAddr>),
}

#[derive(Debug, Default)]
struct Maps {
    by_name: BTreeMap<Name, Arc<Entry>>,
    by_account: HashMap<AccountId, Arc<Entry>>,
    record_bytes: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    maps: RwLock<Maps>,
}

impl Index {
    /// Accounts that are registered.
    pub fn len(&self) -> usize {
        self.read().by_name.len()
    }

    /// Who has this name.
    pub fn by_name(&self, name: &Name) -> Option<Arc<Entry>> {
        self.read().by_name.get(name).cloned()
    }

    /// Who has this id.
    pub fn by_account(&self, account: AccountId) -> Option<Arc<Entry>> {
        self.read().by_account.get(&account).cloned()
    }

    /// Calls `keep` for each account in the order of names, beginning after `after`, until it has kept `limit`; those,
    /// and whether there may be more. `keep` runs under the lock: it must be quick and take no other lock.
    pub fn page(&self, after: Option<&Name>, limit: usize, keep: &dyn Fn(&Entry) -> bool) -> (Vec<Arc<Entry>>, bool) {
        let maps = self.read();
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = maps.by_name.range::<Name, _>((start, Bound::Unbounded));
        let mut page = Vec::new();
        for (_, entry) in rest.by_ref() {
            if keep(entry) {
                page.push(Arc::clone(entry));
                if page.len() == limit {
                    return (page, rest.next().is_some());
                }
            }
        }
        (page, false)
    }

    /// Puts the changes of one committed transaction in force, all at once.
    pub fn apply(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        // A reader that panicked under the lock has changed nothing.
        let mut maps = self.maps.write().unwrap_or_else(PoisonError::into_inner);
        for change in changes {
            match change {
                Change::Put(entry) => maps.put(*entry),
                Change::Remove(account) => maps.remove(account),
                Change::Addresses(account, addresses) => {
                    if let Some(held) = maps.by_account.get(&account).filter(|held| held.list_address) {
                        let entry = Entry { addresses, ..Entry::clone(held) };
                        maps.put(entry);
                    }
                }
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    fn put(&mut self, mut entry: Entry) {
        self.remove(entry.account);
        let size = entry.record.as_ref().map_or(0, Bytes::len);
        if self.record_bytes + size > RECORD_BUDGET_BYTES {
            entry.record = None;
        } else {
            self.record_bytes += size;
        }
        let entry = Arc::new(entry);
        self.by_name.insert(entry.name.clone(), Arc::clone(&entry));
        self.by_account.insert(entry.account, entry);
    }

    fn remove(&mut self, account: AccountId) {
        if let Some(old) = self.by_account.remove(&account) {
            self.by_name.remove(&old.name);
            self.record_bytes -= old.record.as_ref().map_or(0, Bytes::len);
        }
    }
}
