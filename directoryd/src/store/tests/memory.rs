//! The commands in memory: a model that is plain enough to be right, and not shared with SQLite in any line.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proto::ids::{AccountId, DeviceId, NodeId, sha256};

use super::Engine;
use super::memory_groups::Logs;
use crate::store::command::{
    Account, Amount, Applied, Commands, Fetch, Former, Held, Keep, Lane, Mail, Mailbox, Newcomer, Queries, Resting,
    Sums,
};

type Done<T> = Applied<T, Infallible>;

/// An envelope, and all that is known of it.
#[derive(Debug, Clone)]
struct Kept {
    held: Held,
    token: Vec<u8>,
    hash: [u8; 32],
    site: Vec<u8>,
    host: Vec<u8>,
    envelope: Vec<u8>,
}

/// All that is kept.
#[derive(Debug, Clone, Default)]
pub struct Model {
    accounts: BTreeMap<AccountId, Account>,
    resting: BTreeMap<String, Resting>,
    reach: BTreeMap<(AccountId, DeviceId), (u64, Vec<u8>)>,
    nodes: BTreeMap<(AccountId, DeviceId), NodeId>,
    sessions: BTreeMap<(AccountId, DeviceId), u64>,
    tokens: BTreeMap<(AccountId, [u8; 32]), u64>,
    numbers: BTreeMap<AccountId, u64>,
    mail: BTreeMap<(AccountId, u64), Kept>,
    uptime: u64,
    pub(super) logs: Logs,
}

/// A transaction: works on the model, and remembers what that was.
#[derive(Debug)]
pub struct Change<'m> {
    pub(super) model: &'m mut Model,
    before: Model,
}

impl Engine for Model {
    type Transaction<'t> = Change<'t>;

    fn begin(&mut self) -> Change<'_> {
        let before = self.clone();
        Change { model: self, before }
    }

    fn end(transaction: Change<'_>, commit: bool) {
        if !commit {
            *transaction.model = transaction.before;
        }
    }
}

impl Change<'_> {
    fn of(&self, account: AccountId) -> impl Iterator<Item = &Kept> {
        self.model.mail.iter().filter(move |((whose, _), _)| *whose == account).map(|(_, kept)| kept)
    }

    fn delete(&mut self, gone: impl Fn(AccountId, &Kept) -> bool) -> Amount {
        let before = self.model.sums().mail;
        self.model.mail.retain(|(account, _), kept| !gone(*account, kept));
        let after = self.model.sums().mail;
        Amount { envelopes: before.envelopes - after.envelopes, bytes: before.bytes - after.bytes }
    }
}

impl Model {
    fn sums(&self) -> Sums {
        let bytes = self.mail.values().map(|kept| kept.held.size).sum();
        let mail = Amount { envelopes: self.mail.len() as u64, bytes };
        let (groups, entries, group_bytes) = self.logs.sums();
        let (accounts, resting) = (self.accounts.len() as u64, self.resting.len() as u64);
        Sums { accounts, resting, mail, groups, entries, group_bytes }
    }
}

impl Queries for Change<'_> {
    type Error = Infallible;

    fn record(&self, account: AccountId) -> Done<Option<Vec<u8>>> {
        Ok(self.model.accounts.get(&account).map(|found| found.record.clone()))
    }

    fn reach(&self, account: AccountId) -> Done<Vec<Vec<u8>>> {
        Ok(self.model.reach.iter().filter(|((whose, _), _)| *whose == account).map(|(_, (_, r))| r.clone()).collect())
    }

    fn hosts_somebody(&self, node: NodeId) -> Done<bool> {
        let hosted = self.model.nodes.iter().filter(|(_, hosting)| **hosting == node);
        Ok(hosted.into_iter().any(|(who, _)| self.model.reach.contains_key(who)))
    }

    fn counted(&self, account: AccountId, token: &[u8; 32]) -> Done<Option<u64>> {
        Ok(self.model.tokens.get(&(account, *token)).copied())
    }

    fn last_mail(&self, account: AccountId, device: DeviceId, now: u64) -> Done<Option<u64>> {
        let here = self.of(account).filter(|kept| kept.held.device == device && kept.held.expires > now);
        Ok(here.map(|kept| kept.held.number).max())
    }

    fn mail(&self, fetch: &Fetch) -> Done<Mail> {
        let mut mail = Mail::default();
        let mut bytes = 0;
        for kept in self.of(fetch.account) {
            let Held { device, number, expires, .. } = kept.held;
            if device != fetch.device || number <= fetch.after || expires <= fetch.now || fetch.except.contains(&number)
            {
                continue;
            }
            let size = kept.envelope.len();
            let fits = mail.envelopes.len() < fetch.count && (mail.envelopes.is_empty() || bytes + size <= fetch.bytes);
            if !fits {
                mail.more = true;
                break;
            }
            assert_eq!(sha256(&[&kept.envelope]), kept.hash);
            bytes += size;
            mail.envelopes.push((number, kept.envelope.clone()));
        }
        Ok(mail)
    }

    fn sums(&self) -> Done<Sums> {
        Ok(self.model.sums())
    }

    fn saved_uptime(&self) -> Done<u64> {
        Ok(self.model.uptime)
    }
}

impl Commands for Change<'_> {
    fn is_registered(&self, account: AccountId) -> Done<bool> {
        Ok(self.model.accounts.contains_key(&account))
    }

    fn account(&self, account: AccountId) -> Done<Option<Account>> {
        Ok(self.model.accounts.get(&account).cloned())
    }

    fn taken(&self, name: &str, skeleton: &str) -> Done<Option<String>> {
        let alike = self.model.accounts.values().filter(|other| other.name == name || other.skeleton == skeleton);
        Ok(alike.map(|other| other.name.clone()).min_by_key(|other| (other != name, other.clone())))
    }

    fn stands_against(&self, newcomer: &Newcomer<'_>) -> Done<Option<(String, u64)>> {
        let against = self.model.resting.values().filter(|other| {
            (other.name == newcomer.name || other.skeleton == newcomer.skeleton)
                && other.account != newcomer.account
                && newcomer.rested.is_none_or(|rested| other.since > rested)
                && (newcomer.recovery.is_none() || other.recovery != newcomer.recovery)
        });
        Ok(against
            .map(|other| (other.name.clone(), other.since))
            .min_by_key(|(other, _)| (other != newcomer.name, other.clone())))
    }

    fn rests(&self, name: &str) -> Done<bool> {
        Ok(self.model.resting.contains_key(name))
    }

    fn former(&self, account: AccountId, recovery: Option<&[u8; 32]>) -> Done<Former> {
        let own: Vec<&Resting> = self.model.resting.values().filter(|rests| rests.account == account).collect();
        Ok(Former {
            seq: own.iter().map(|rests| rests.seq).max(),
            number: own.iter().map(|rests| rests.number).max().unwrap_or(0),
            recovers: recovery.is_some() && own.iter().any(|rests| rests.recovery.as_ref() == recovery),
        })
    }

    fn add_account(&mut self, new: &Account, number: u64) -> Done<()> {
        assert!(self.model.accounts.insert(new.account, new.clone()).is_none());
        self.model.numbers.insert(new.account, number);
        Ok(())
    }

    fn replace_record(&mut self, account: AccountId, seq: u64, record: &[u8]) -> Done<()> {
        if let Some(stored) = self.model.accounts.get_mut(&account) {
            (stored.seq, stored.record) = (seq, record.to_vec());
        }
        Ok(())
    }

    fn remove_account(&mut self, account: AccountId) -> Done<Amount> {
        let gone = self.delete(|whose, _| whose == account);
        self.model.accounts.remove(&account);
        self.model.numbers.remove(&account);
        self.model.reach.retain(|(whose, _), _| *whose != account);
        self.model.sessions.retain(|(whose, _), _| *whose != account);
        self.model.tokens.retain(|(whose, _), _| *whose != account);
        Ok(gone)
    }

    fn remove_device(&mut self, account: AccountId, device: DeviceId) -> Done<Amount> {
        self.model.reach.remove(&(account, device));
        self.model.sessions.remove(&(account, device));
        Ok(self.delete(|whose, kept| whose == account && kept.held.device == device))
    }

    fn rest(&mut self, resting: &Resting) -> Done<()> {
        self.model.resting.insert(resting.name.clone(), resting.clone());
        Ok(())
    }

    fn wake(&mut self, name: &str) -> Done<()> {
        self.model.resting.remove(name);
        Ok(())
    }

    fn wake_all(&mut self, until: u64, limit: usize) -> Done<usize> {
        let mut rested: Vec<&Resting> = self.model.resting.values().filter(|rests| rests.since <= until).collect();
        rested.sort_by_key(|rests| rests.since);
        let names: Vec<String> = rested.into_iter().take(limit).map(|rests| rests.name.clone()).collect();
        names.iter().for_each(|name| drop(self.model.resting.remove(name)));
        Ok(names.len())
    }

    fn reach_seq(&self, account: AccountId, device: DeviceId) -> Done<Option<u64>> {
        Ok(self.model.reach.get(&(account, device)).map(|(seq, _)| *seq))
    }

    fn set_reach(&mut self, who: (AccountId, DeviceId), node: NodeId, seq: u64, reach: &[u8]) -> Done<()> {
        self.model.reach.insert(who, (seq, reach.to_vec()));
        self.model.nodes.insert(who, node);
        Ok(())
    }

    fn sessions(&mut self, account: AccountId, device: DeviceId) -> Done<u64> {
        Ok(self.model.sessions.get(&(account, device)).copied().unwrap_or(0))
    }

    fn set_sessions(&mut self, account: AccountId, device: DeviceId, begun: u64) -> Done<()> {
        self.model.sessions.insert((account, device), begun);
        Ok(())
    }

    fn tokens(&self, account: AccountId) -> Done<usize> {
        Ok(self.model.tokens.keys().filter(|(whose, _)| *whose == account).count())
    }

    fn add_token(&mut self, account: AccountId, token: &[u8; 32]) -> Done<bool> {
        let new = !self.model.tokens.contains_key(&(account, *token));
        self.model.tokens.entry((account, *token)).or_insert(0);
        Ok(new)
    }

    fn remove_token(&mut self, account: AccountId, token: &[u8; 32]) -> Done<bool> {
        Ok(self.model.tokens.remove(&(account, *token)).is_some())
    }

    fn set_counted(&mut self, account: AccountId, token: &[u8; 32], counted: u64) -> Done<()> {
        self.model.tokens.insert((account, *token), counted);
        Ok(())
    }

    fn mailbox(&self, account: AccountId) -> Done<Mailbox> {
        let number = self.model.numbers.get(&account).copied().unwrap_or(0);
        let mut mailbox = Mailbox { number, ..Mailbox::default() };
        for kept in self.of(account) {
            mailbox.bytes += kept.held.size;
            match kept.held.lane {
                Lane::Contacts => {
                    mailbox.contacts += 1;
                    mailbox.contact_bytes += kept.held.size;
                }
                Lane::Strangers => mailbox.strangers += 1,
                Lane::Worked => mailbox.worked += 1,
            }
        }
        Ok(mailbox)
    }

    fn held(&self, account: AccountId, token: &[u8], hash: &[u8; 32]) -> Done<Option<Held>> {
        Ok(self.of(account).find(|kept| kept.token == token && kept.hash == *hash).map(|kept| kept.held))
    }

    fn places(&self, account: AccountId, site: &[u8], host: &[u8]) -> Done<(u64, u64)> {
        let there = || self.of(account).filter(|kept| kept.held.lane == Lane::Strangers);
        let of_site = there().filter(|kept| kept.site == site).count() as u64;
        Ok((of_site, there().filter(|kept| kept.host == host).count() as u64))
    }

    fn keep(&mut self, new: &Keep<'_>) -> Done<()> {
        let Keep { account, device, number, lane, counted, expires, .. } = *new;
        let held = Held { device, number, counted, expires, size: new.envelope.len() as u64, lane };
        let (site, host) = (new.site.to_vec(), new.host.to_vec());
        let (token, envelope) = (new.token.to_vec(), new.envelope.to_vec());
        let kept = Kept { held, token, hash: *new.hash, site, host, envelope };
        assert!(self.model.mail.insert((account, number), kept).is_none(), "a number is given once");
        self.model.numbers.insert(account, number);
        Ok(())
    }

    fn remove(&mut self, account: AccountId, device: DeviceId, number: u64) -> Done<Amount> {
        Ok(self.delete(|whose, kept| whose == account && kept.held.device == device && kept.held.number == number))
    }

    fn expire(&mut self, now: u64, limit: usize) -> Done<Amount> {
        let expired = self.model.mail.iter().filter(|(_, kept)| kept.held.expires <= now);
        let mut oldest: Vec<_> = expired.map(|(place, kept)| (kept.held.expires, *place)).collect();
        oldest.sort_unstable();
        oldest.truncate(limit);
        let expired: Vec<_> = oldest.into_iter().map(|(_, place)| place).collect();
        Ok(self.delete(|whose, kept| expired.contains(&(whose, kept.held.number))))
    }

    fn save_uptime(&mut self, uptime: u64) -> Done<()> {
        self.model.uptime = self.model.uptime.max(uptime);
        Ok(())
    }
}
