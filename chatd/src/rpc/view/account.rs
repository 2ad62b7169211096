//! Accounts, their keys, and how they are.

use proto::ids::hex;
use proto::rpc::types::{
    AccountInfo, AccountStatus, ClockStatus, ClockWitness, KeyResult, RegisterResult, RestoreResult, SettingsResult,
};

use crate::model;
use crate::store::account::Settings;

/// Without a directory, there is none to tell of.
fn directory(url: String) -> Option<String> {
    (!url.is_empty()).then_some(url)
}

fn damage(damage: Option<model::Damage>) -> (Option<String>, Option<proto::advice::Advice>) {
    damage.map_or((None, None), |damage| (Some(damage.text), damage.advice))
}

impl From<model::AccountInfo> for AccountInfo {
    fn from(info: model::AccountInfo) -> Self {
        let model::AccountInfo {
            id,
            name,
            address,
            fingerprint,
            directory: url,
            directory_key,
            logged_in,
            online,
            is_default,
            damage: found,
        } = info;
        let (damaged, repair) = damage(found);
        Self {
            name,
            address,
            id,
            fingerprint,
            directory: directory(url),
            directory_key: directory_key.map(|key| hex(&key)),
            logged_in,
            online,
            default: is_default,
            damaged,
            repair,
        }
    }
}

impl From<model::AccountStatus> for AccountStatus {
    fn from(status: model::AccountStatus) -> Self {
        let model::AccountStatus { info, trouble, queued, unread, requests, contacts, seq, store_error, suite, clock } =
            status;
        let (directory_error, directory_advice) =
            trouble.map_or((None, None), |trouble| (Some(trouble.text), trouble.advice));
        let (damaged, repair) = damage(info.damage);
        Self {
            name: info.name,
            address: info.address,
            logged_in: info.logged_in,
            directory: directory(info.directory),
            online: info.online,
            default: info.is_default,
            directory_error,
            directory_advice,
            queued,
            unread,
            requests,
            contacts,
            seq,
            store_error,
            damaged,
            repair,
            encryption: suite.into(),
            clock: clock.map(Into::into),
        }
    }
}

impl From<model::ClockStatus> for ClockStatus {
    fn from(clock: model::ClockStatus) -> Self {
        let model::ClockStatus { ahead, of, problem } = clock;
        let of = match of {
            model::ClockWitness::Directory => ClockWitness::Directory,
            model::ClockWitness::Contacts => ClockWitness::Contacts,
        };
        Self { ahead, of, problem }
    }
}

impl From<model::Registered> for RegisterResult {
    fn from(made: model::Registered) -> Self {
        let model::Registered { account, recovery_key } = made;
        Self { account: account.into(), recovery_key: recovery_key.as_str().into() }
    }
}

impl From<model::NewKey> for KeyResult {
    fn from(key: model::NewKey) -> Self {
        let model::NewKey { account, recovery_key, published } = key;
        Self { account: account.into(), recovery_key: recovery_key.map(|key| key.as_str().into()), published }
    }
}

impl From<model::Restored> for RestoreResult {
    fn from(restored: model::Restored) -> Self {
        let model::Restored { account, made, published } = restored;
        Self { account: account.into(), made, published }
    }
}

impl From<Settings> for SettingsResult {
    fn from(settings: Settings) -> Self {
        let Settings { read_receipts, lifetime } = settings;
        Self { read_receipts, lifetime }
    }
}
