//! The same of the logs of groups: what lies in one is added up anew whenever it is asked for.

use std::collections::BTreeMap;

use proto::directory::groups::{EntryKind, Running, entry_hash};
use proto::ids::{AccountId, LogId, sha256};

use super::memory::Change;
use crate::store::command::{
    Applied, Entries, EntriesFetch, Entry, Group, GroupCommands, GroupQueries, KeptSlot, Known, LOG_BYTES, NewEntry,
    Queries, ROW_BYTES, Room, Share, Slots, Waiting, Writer,
};

type Done<T> = Applied<T, <Change<'static> as Queries>::Error>;

/// An entry, or what it left.
#[derive(Debug, Clone)]
struct Kept {
    kind: EntryKind,
    writer: Writer,
    hash: [u8; 32],
    running: [u8; 32],
    expires: Option<u64>,
    entry: Option<Vec<u8>>,
}

/// All logs.
#[derive(Debug, Clone, Default)]
pub struct Logs {
    groups: BTreeMap<LogId, Group>,
    entries: BTreeMap<(LogId, u64), Kept>,
    shares: BTreeMap<(LogId, Writer), Share>,
    tokens: BTreeMap<(LogId, [u8; 32]), (bool, u64)>,
    slots: BTreeMap<(LogId, [u8; 32]), Waiting>,
    staged: BTreeMap<(LogId, [u8; 32]), Waiting>,
}

fn row(bytes: &[u8]) -> u64 {
    bytes.len() as u64 + ROW_BYTES
}

impl Logs {
    /// Logs, entries, bytes.
    pub fn sums(&self) -> (u64, u64, u64) {
        let rooms = self.groups.keys().map(|log| self.room(*log));
        rooms.fold((0, 0, 0), |sum, room| (sum.0 + 1, sum.1 + room.entries, sum.2 + room.bytes))
    }

    fn room(&self, log: LogId) -> Room {
        let mut room = Room { bytes: LOG_BYTES, ..Room::default() };
        for kept in self.entries.range((log, 0)..=(log, u64::MAX)).map(|(_, kept)| kept) {
            match &kept.entry {
                Some(_) => room.entries += 1,
                None => room.dropped += 1,
            }
            room.bytes += row(kept.entry.as_deref().unwrap_or_default());
        }
        for ((_, _), (_, _, slot)) in self.slots.iter().filter(|((of, _), _)| *of == log) {
            room.slots += 1;
            room.bytes += row(slot);
        }
        let staged = self.staged.iter().filter(|((of, _), _)| *of == log);
        room.bytes += staged.map(|(_, (_, _, entry))| row(entry)).sum::<u64>();
        room
    }

    /// Entries, slots and bytes.
    fn of(&self, log: LogId, writer: Writer) -> (u64, u64, u64) {
        let there = self.entries.iter().filter(|((of, _), kept)| *of == log && kept.writer == writer);
        let entries: Vec<u64> = there.filter_map(|(_, kept)| kept.entry.as_deref().map(row)).collect();
        let slots = self.slots.iter().filter(|((of, _), (by, ..))| *of == log && *by == writer);
        let slots: Vec<u64> = slots.map(|(_, (_, _, slot))| row(slot)).collect();
        let staged = self.staged.iter().filter(|((of, _), (by, ..))| *of == log && *by == writer);
        let staged: u64 = staged.map(|(_, (_, _, entry))| row(entry)).sum();
        let bytes = entries.iter().sum::<u64>() + slots.iter().sum::<u64>() + staged;
        (entries.len() as u64, slots.len() as u64, bytes)
    }

    fn drop_if(&mut self, limit: usize, gone: impl Fn(LogId, u64, &Kept) -> bool) -> usize {
        let there =
            self.entries.iter().filter(|((log, number), kept)| kept.entry.is_some() && gone(*log, *number, kept));
        let mut places: Vec<_> = there.map(|(place, kept)| (kept.expires, *place)).collect();
        places.sort_unstable();
        places.truncate(limit);
        for (_, place) in &places {
            let kept = self.entries.get_mut(place).unwrap();
            (kept.entry, kept.expires) = (None, None);
        }
        places.len()
    }
}

impl GroupQueries for Change<'_> {
    fn group(&self, log: LogId) -> Done<Option<Group>> {
        let logs = &self.model.logs;
        Ok(logs.groups.get(&log).map(|group| Group { room: logs.room(log), ..group.clone() }))
    }

    fn old_token(&self, log: LogId, hash: &[u8; 32]) -> Done<Option<bool>> {
        Ok(self.model.logs.tokens.get(&(log, *hash)).map(|(writes, _)| *writes))
    }

    fn entries(&self, fetch: &EntriesFetch) -> Done<Entries> {
        let mut found = Entries::default();
        let mut bytes = 0;
        for ((log, number), kept) in &self.model.logs.entries {
            let wanted = match kept.kind {
                EntryKind::Event => true,
                EntryKind::Keys => fetch.keys,
                EntryKind::Message => fetch.messages,
            };
            if *log != fetch.log || *number <= fetch.after || !wanted {
                continue;
            }
            let entry = kept.entry.clone().filter(|_| kept.expires.is_none_or(|expires| expires > fetch.now));
            let size = entry.as_ref().map_or(0, Vec::len);
            if found.entries.len() == fetch.count || !found.entries.is_empty() && bytes + size > fetch.bytes {
                found.more = true;
                break;
            }
            assert!(entry.as_ref().is_none_or(|entry| entry_hash(kept.kind, entry) == kept.hash));
            bytes += size;
            found.entries.push(Entry { number: *number, kind: kept.kind, hash: kept.hash, entry });
        }
        Ok(found)
    }

    fn running(&self, log: LogId, number: u64) -> Done<Option<[u8; 32]>> {
        let found = self.model.logs.entries.get(&(log, number)).map(|kept| kept.running);
        Ok(if number == 0 { Some(Running::start(log).hash) } else { found })
    }

    fn slots(&self, log: LogId, after: Option<&[u8; 32]>, count: usize, bytes: usize) -> Done<Slots> {
        let mut found = Slots::default();
        let mut taken = 0;
        for ((of, key), (_, _, slot)) in &self.model.logs.slots {
            if *of != log || after.is_some_and(|after| key <= after) {
                continue;
            }
            taken += slot.len();
            if found.slots.len() == count || !found.slots.is_empty() && taken > bytes {
                found.more = true;
                break;
            }
            found.slots.push((*key, slot.clone()));
        }
        Ok(found)
    }

    fn slot_bytes(&self, log: LogId, key: &[u8; 32]) -> Done<Option<Vec<u8>>> {
        Ok(self.model.logs.slots.get(&(log, *key)).map(|(_, _, slot)| slot.clone()))
    }

    fn writers(&self, log: LogId, numbers: &[u64]) -> Done<Vec<(u64, Writer)>> {
        let found = |number: &u64| self.model.logs.entries.get(&(log, *number)).map(|kept| (*number, kept.writer));
        Ok(numbers.iter().filter_map(found).collect())
    }
}

impl GroupCommands for Change<'_> {
    fn groups_of(&self, account: AccountId) -> Done<(u64, u64)> {
        let logs = &self.model.logs;
        let own = logs.groups.values().filter(|group| group.account == account);
        Ok(own.fold((0, 0), |sum, group| (sum.0 + 1, sum.1 + logs.room(group.log).bytes)))
    }

    fn add_group(&mut self, new: &Group) -> Done<()> {
        assert!(self.model.logs.groups.insert(new.log, new.clone()).is_none());
        Ok(())
    }

    fn set_group(&mut self, group: &Group) -> Done<()> {
        assert!(self.model.logs.groups.insert(group.log, group.clone()).is_some());
        Ok(())
    }

    fn remove_group(&mut self, log: LogId) -> Done<()> {
        let logs = &mut self.model.logs;
        logs.groups.remove(&log);
        logs.entries.retain(|(of, _), _| *of != log);
        logs.shares.retain(|(of, _), _| *of != log);
        logs.tokens.retain(|(of, _), _| *of != log);
        logs.slots.retain(|(of, _), _| *of != log);
        logs.staged.retain(|(of, _), _| *of != log);
        Ok(())
    }

    fn orphan_groups(&mut self, account: AccountId, since: Option<u64>) -> Done<()> {
        let own = self.model.logs.groups.values_mut().filter(|group| group.account == account);
        own.for_each(|group| group.orphaned = since);
        Ok(())
    }

    fn orphaned(&self, until: u64, limit: usize) -> Done<Vec<LogId>> {
        let gone = self.model.logs.groups.values().filter_map(|group| Some((group.orphaned?, group.log)));
        let mut gone: Vec<_> = gone.filter(|(since, _)| *since <= until).collect();
        gone.sort_unstable();
        Ok(gone.into_iter().take(limit).map(|(_, log)| log).collect())
    }

    fn share(&self, log: LogId, writer: Writer) -> Done<Share> {
        let (entries, slots, bytes) = self.model.logs.of(log, writer);
        let share = self.model.logs.shares.get(&(log, writer)).copied().unwrap_or_default();
        Ok(Share { entries, slots, bytes, ..share })
    }

    fn set_share(&mut self, log: LogId, writer: Writer, share: &Share) -> Done<()> {
        self.model.logs.shares.insert((log, writer), *share);
        Ok(())
    }

    fn forget_shares(&mut self, minute: u64, now: u64, _: usize) -> Done<usize> {
        let logs = &self.model.logs;
        let empty = logs.shares.iter().filter(|((log, writer), share)| {
            let (entries, _, bytes) = logs.of(*log, *writer);
            entries == 0 && bytes == 0 && share.minute < minute && share.next_turn <= now
        });
        let empty: Vec<_> = empty.map(|(key, _)| *key).collect();
        self.model.logs.shares.retain(|key, _| !empty.contains(key));
        Ok(empty.len())
    }

    fn known(&self, log: LogId, hash: &[u8; 32]) -> Done<Option<Known>> {
        let found = self.model.logs.entries.iter().find(|((of, _), kept)| *of == log && kept.hash == *hash);
        Ok(found.map(|((_, number), kept)| Known { place: Running { number: *number, hash: kept.running } }))
    }

    fn append(&mut self, new: &NewEntry<'_>) -> Done<()> {
        let NewEntry { log, place, kind, writer, hash, expires, entry } = *new;
        let before = if place.number == 1 {
            Some(Running::start(log).hash)
        } else {
            self.model.logs.entries.get(&(log, place.number - 1)).map(|kept| kept.running)
        };
        // Unless that was forgotten.
        assert!(before.is_none_or(|hash_before| sha256(&[&hash_before, hash]) == place.hash));
        let kept = Kept { kind, writer, hash: *hash, running: place.hash, expires, entry: Some(entry.to_vec()) };
        assert!(self.model.logs.entries.insert((log, place.number), kept).is_none(), "a number is given once");
        self.model.logs.shares.entry((log, writer)).or_default();
        Ok(())
    }

    fn drop_entry(&mut self, log: LogId, number: u64) -> Done<bool> {
        Ok(self.model.logs.drop_if(1, |of, n, _| of == log && n == number) > 0)
    }

    fn supersede_keys(&mut self, log: LogId, expires: u64) -> Done<()> {
        let there = self.model.logs.entries.iter_mut().filter(|((of, _), kept)| *of == log && kept.entry.is_some());
        let newest = there.map(|(_, kept)| kept).filter(|kept| kept.kind == EntryKind::Keys && kept.expires.is_none());
        newest.for_each(|kept| kept.expires = Some(expires));
        Ok(())
    }

    fn expire_entries(&mut self, now: u64, limit: usize) -> Done<usize> {
        Ok(self.model.logs.drop_if(limit, |_, _, kept| kept.expires.is_some_and(|expires| expires <= now)))
    }

    fn forget_entries(&mut self, log: LogId, limit: usize) -> Done<Option<u64>> {
        let logs = &mut self.model.logs;
        let left = logs.entries.iter().filter(|((of, _), kept)| *of == log && kept.entry.is_none());
        let numbers: Vec<u64> = left.map(|((_, number), _)| *number).take(limit).collect();
        numbers.iter().for_each(|number| drop(logs.entries.remove(&(log, *number))));
        Ok(numbers.last().copied())
    }

    fn stage(&mut self, log: LogId, writer: Writer, hash: &[u8; 32], expires: u64, entry: &[u8]) -> Done<()> {
        let staged = (writer, expires, entry.to_vec());
        assert!(self.model.logs.staged.insert((log, *hash), staged).is_none());
        self.model.logs.shares.entry((log, writer)).or_default();
        Ok(())
    }

    fn staged(&self, log: LogId, hash: &[u8; 32]) -> Done<Option<Waiting>> {
        Ok(self.model.logs.staged.get(&(log, *hash)).cloned())
    }

    fn unstage(&mut self, log: LogId, hash: &[u8; 32]) -> Done<()> {
        self.model.logs.staged.remove(&(log, *hash));
        Ok(())
    }

    fn expire_staged(&mut self, now: u64, _: usize) -> Done<usize> {
        let before = self.model.logs.staged.len();
        self.model.logs.staged.retain(|_, (_, expires, _)| *expires > now);
        Ok(before - self.model.logs.staged.len())
    }

    fn slot(&self, log: LogId, key: &[u8; 32]) -> Done<Option<KeptSlot>> {
        let slot = self.model.logs.slots.get(&(log, *key));
        Ok(slot.map(|(writer, counter, slot)| KeptSlot {
            counter: *counter,
            size: row(slot),
            writer: *writer,
            hash: sha256(&[slot]),
        }))
    }

    fn set_slot(&mut self, log: LogId, key: &[u8; 32], writer: Writer, counter: u64, slot: &[u8]) -> Done<()> {
        self.model.logs.slots.insert((log, *key), (writer, counter, slot.to_vec()));
        self.model.logs.shares.entry((log, writer)).or_default();
        Ok(())
    }

    fn remove_slot(&mut self, log: LogId, key: &[u8; 32]) -> Done<bool> {
        Ok(self.model.logs.slots.remove(&(log, *key)).is_some())
    }

    fn add_old_token(&mut self, log: LogId, hash: &[u8; 32], writes: bool, change: u64) -> Done<()> {
        self.model.logs.tokens.insert((log, *hash), (writes, change));
        Ok(())
    }

    fn forget_tokens(&mut self, log: LogId, change: u64) -> Done<()> {
        self.model.logs.tokens.retain(|(of, _), (_, at)| *of != log || *at > change);
        Ok(())
    }
}
