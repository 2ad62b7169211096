//! Rooms of the service with accounts on disk, and without a node, a directory or a client.
#![allow(clippy::unwrap_used)]

mod contacts;
mod directory;
mod settings;
mod status;
mod transfers;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::account::keys::Keys;
use super::account::runtime::{Parts, Shared};
use crate::directory::{Directories, NameOptions, Network};
use crate::model::AccountRow;
use crate::policy::limits::{Limits, SpaceLimits};
use crate::policy::rate::SharedLimits;
use crate::store::tests::fixture::Person;
use crate::store::{PrekeyStore, account};

/// Nothing of a test leaves this machine.
fn nobody_asks_the_dns() -> Directories {
    let names = NameOptions { servers: vec!["127.0.0.1:9".parse().unwrap()], ..NameOptions::default() };
    Directories::named(&Network::new(names, false), &Default::default()).unwrap()
}

/// A person's account as the service has it, offline and without a directory.
fn account_of(person: &Person) -> Arc<Account> {
    let folder = person.folder.path().to_owned();
    let prekeys = PrekeyStore::open(&folder).unwrap();
    let row = AccountRow { directory: String::new(), ..person.read(account::load) };
    let keys = Keys::new(person.identity.clone(), person.device.clone());
    let parts = Parts { folder, row, keys, store: person.store.clone(), prekeys, repair: None };
    let shared = Shared {
        limits: &SharedLimits::new(&Limits::default(), &SpaceLimits::default()),
        directories: &nobody_asks_the_dns(),
        gone: CancellationToken::new(),
    };
    Account::assemble(parts, shared).unwrap()
}
