//! Which accounts there are, whose they are, and which of them a call means.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use proto::advice::Step;
use proto::ids::{AccountId, DeviceId};
use proto::name::Address;
use proto::who::Who;

use super::Account;
use crate::model::{AccountRow, Caller};
use crate::service::error::ServiceError;

/// Nobody's uid (overflow): accounts are never given to it.
const OVERFLOW_UID: u32 = 65_534;

/// See the module.
#[derive(Default)]
pub(in crate::service) struct Registry {
    accounts: RwLock<HashMap<AccountId, Arc<Account>>>,
    /// Accounts that are being registered: (name, directory's URL) -> whose they will be.
    registering: Arc<Mutex<HashMap<(String, String), u32>>>,
}

/// A name, and a place under the cap, while an account is made; given back when dropped.
pub(in crate::service) struct Reservation {
    registering: Arc<Mutex<HashMap<(String, String), u32>>>,
    key: (String, String),
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.registering.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl Registry {
    /// All of them.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The one that has a device here.
    pub fn of_device(&self, device: DeviceId) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.values().find(|account| account.device == device).cloned()
    }

    /// Lets an account be found.
    pub fn insert(&self, account: &Arc<Account>) {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).insert(account.id, Arc::clone(account));
    }

    /// Whether it was there.
    pub fn remove(&self, id: AccountId) -> bool {
        self.accounts.write().unwrap_or_else(PoisonError::into_inner).remove(&id).is_some()
    }

    /// The caller's accounts; with a token the one that it is for.
    pub fn owned(&self, caller: &Caller) -> Vec<Arc<Account>> {
        let mut own = self.all();
        match &caller.grant {
            Some(grant) => own.retain(|account| account.id == grant.account),
            None => own.retain(|account| is_owner(caller, &account.state.now().row)),
        }
        own
    }

    /// The account that a call names, else the caller's default, else the only one; damaged or not.
    ///
    /// # Errors
    /// [`ServiceError::NoAccount`], [`ServiceError::AmbiguousAccount`].
    pub fn find(&self, caller: &Caller, name: Option<&str>) -> Result<Arc<Account>, ServiceError> {
        let own = self.owned(caller);
        let rows: Vec<AccountRow> = own.iter().map(|account| account.row()).collect();
        let at = choose(&rows, name)?;
        own.into_iter().nth(at).ok_or_else(|| ServiceError::NoAccount("you have no account here".into()))
    }

    /// Holds a name, and a place under the cap, while an account is made.
    ///
    /// # Errors
    /// A cap that is reached; a name that is being registered just now.
    pub fn reserve(
        &self,
        caller: &Caller,
        cap: usize,
        name: &str,
        directory: &str,
    ) -> Result<Reservation, ServiceError> {
        if caller.uid == OVERFLOW_UID {
            // It stands for many users: what is made would be nobody's, and count for nobody.
            return Err(ServiceError::Refused("the system does not say which user you are: no account for you".into()));
        }
        let own = self.owned(caller).len();
        let key = (name.to_owned(), directory.to_owned());
        let mut registering = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        if own + registering.values().filter(|uid| **uid == caller.uid).count() >= cap {
            let accounts = if cap == 1 { "1 account is".to_owned() } else { format!("{cap} accounts are") };
            let text = format!("{accounts} yours, which is the most here");
            return Err(ServiceError::LimitReached(text).advise(Step::Unregister.alone()));
        }
        if registering.contains_key(&key) {
            return Err(ServiceError::AlreadyExists(format!("{name} is being registered on this daemon already")));
        }
        registering.insert(key.clone(), caller.uid);
        Ok(Reservation { registering: Arc::clone(&self.registering), key })
    }
}

/// Whether an account is the caller's. A uid that was given to somebody else since takes no account along.
fn is_owner(caller: &Caller, row: &AccountRow) -> bool {
    let user = caller.user.as_deref().unwrap_or_default();
    caller.uid != OVERFLOW_UID && row.uid == caller.uid && (row.user == user || row.user.is_empty())
}

/// Which of the caller's accounts a call means.
fn choose(own: &[AccountRow], name: Option<&str>) -> Result<usize, ServiceError> {
    let mut meant: Vec<usize> = (0..own.len()).collect();
    match name.filter(|name| !name.is_empty()) {
        Some(name) => {
            let who = Who::parse(name);
            meant.retain(|at| is_called(&own[*at], &who));
            if meant.is_empty() {
                // What is no name cannot be registered.
                let advice = match who {
                    Who::Word(_) => Step::OwnAccounts.of(name),
                    _ => Step::OwnAccounts.alone(),
                };
                let text = format!("{name} is no account of yours here");
                return Err(ServiceError::NoAccount(text).advise(advice));
            }
        }
        None if own.len() > 1 => {
            let preferred = own.iter().map(|row| row.preferred).max().unwrap_or(0);
            if preferred > 0 {
                meant.retain(|at| own[*at].preferred == preferred);
            }
        }
        None => {}
    }
    match meant[..] {
        [] => Err(ServiceError::NoAccount("you have no account here".into()).advise(Step::Register.alone())),
        [one] => Ok(one),
        _ => {
            let mut names: Vec<String> = meant.iter().map(|at| own[*at].address()).collect();
            names.sort();
            Err(ServiceError::AmbiguousAccount(names.join(", ")))
        }
    }
}

/// Whether an account of the caller's is meant.
fn is_called(row: &AccountRow, who: &Who) -> bool {
    match who {
        Who::Id(id) => row.id == *id,
        Who::Handle(_) => false,
        Who::Word(word) => match word.parse::<Address>() {
            Ok(Address { name, domain }) => {
                name.as_str() == row.name && domain.is_none_or(|domain| domain == row.origin)
            }
            Err(_) => false,
        },
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn row(number: u8, name: &str, uid: u32, user: &str) -> AccountRow {
        AccountRow {
            id: AccountId([number; 16]),
            device: DeviceId([number; 16]),
            name: name.into(),
            origin: if number == 3 { "b.test".into() } else { "a.test".into() },
            directory: String::new(),
            uid,
            user: user.into(),
            logged_in: true,
            preferred: 0,
            standing: Default::default(),
        }
    }

    #[test]
    fn an_account_is_its_users_alone() {
        let caller = |uid, user: Option<&str>| Caller { uid, user: user.map(str::to_owned), pid: None, grant: None };
        for (uid, user, owner) in [
            (1000, Some("alice"), true),
            (1001, Some("alice"), false),
            // The uid changed hands.
            (1000, Some("mallory"), false),
            (1000, None, false),
            (OVERFLOW_UID, Some("alice"), false),
        ] {
            assert_eq!(is_owner(&caller(uid, user), &row(1, "alice", 1000, "alice")), owner, "{uid} {user:?}");
        }
        assert!(is_owner(&caller(1000, Some("alice")), &row(1, "alice", 1000, "")), "made before names were kept");
        assert!(!is_owner(&caller(OVERFLOW_UID, None), &row(1, "alice", OVERFLOW_UID, "")), "it stands for many");
    }

    #[test]
    fn a_call_means_the_one_it_names_or_the_default_or_the_only_one() {
        let mut own = [row(1, "alice", 1, ""), row(2, "work", 1, ""), row(3, "alice", 1, "")];
        assert_eq!(choose(&own[..1], None).unwrap(), 0, "the only one");
        assert_eq!(choose(&own, Some("work")).unwrap(), 1);
        assert_eq!(choose(&own, Some("WORK@a.test")).unwrap(), 1, "in any spelling");
        assert_eq!(choose(&own, Some("alice@b.test")).unwrap(), 2);
        assert_eq!(choose(&own, Some(&format!("id:{}", AccountId([2; 16])))).unwrap(), 1);
        let text = |name| choose(&own, name).unwrap_err().to_string();
        assert_eq!(text(Some("alice")), "several accounts are yours (alice@a.test, alice@b.test)");
        assert_eq!(text(None), "several accounts are yours (alice@a.test, alice@b.test, work@a.test)");
        assert_eq!(text(Some("%7")), "%7 is no account of yours here");
        let advice = |own: &[AccountRow], name| choose(own, name).unwrap_err().advice();
        assert_eq!(advice(&own, Some("%7")), Some(Step::OwnAccounts.alone()));
        assert_eq!(advice(&own, Some("bob")), Some(Step::OwnAccounts.of("bob")));
        assert_eq!(advice(&own, None), Some(Step::ChooseAccount.alone()));
        assert_eq!(advice(&[], None), Some(Step::Register.alone()));
        own[0].preferred = 1;
        own[2].preferred = 2;
        assert_eq!(choose(&own, None).unwrap(), 2, "the default, which was chosen last");
        assert_eq!(choose(&own, Some("")).unwrap(), 2, "an empty name is none");
        assert!(choose(&own, Some("alice")).is_err(), "the default decides only where no name does");
    }

    #[test]
    fn a_name_is_registered_once_at_a_time_and_counts_for_the_cap() {
        let registry = Registry::default();
        let caller = |uid| Caller { uid, user: None, pid: None, grant: None };
        let first = registry.reserve(&caller(1), 2, "alice", "http://a").unwrap();
        let text = |result: Result<Reservation, ServiceError>| result.err().unwrap().to_string();
        assert!(text(registry.reserve(&caller(2), 2, "alice", "http://a")).contains("being registered"));
        let second = registry.reserve(&caller(1), 2, "alice", "http://b").unwrap();
        assert!(text(registry.reserve(&caller(1), 2, "bob", "http://a")).contains("2 accounts are yours"));
        registry.reserve(&caller(2), 2, "bob", "http://a").unwrap();
        drop(second);
        drop(first);
        registry.reserve(&caller(1), 1, "alice", "http://a").unwrap();
        assert!(text(registry.reserve(&caller(OVERFLOW_UID), 2, "alice", "")).contains("which user you are"));
    }
}
