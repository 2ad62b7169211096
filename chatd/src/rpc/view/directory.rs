//! Directories, and who is in them.

use proto::ids::hex;
use proto::rpc::types::{DirectoryKeyResult, User, UsersResult};

use crate::model;

impl From<model::DirectoryKey> for DirectoryKeyResult {
    fn from(key: model::DirectoryKey) -> Self {
        let model::DirectoryKey { origin, url, known, shown, problem } = key;
        Self { origin, url, known: known.map(|key| hex(&key)), shown: shown.map(|key| hex(&key)), problem }
    }
}

impl From<model::User> for User {
    fn from(user: model::User) -> Self {
        let model::User { name, account, online, is_contact } = user;
        Self { name, account, online, contact: is_contact }
    }
}

impl From<model::Page<model::User>> for UsersResult {
    fn from(page: model::Page<model::User>) -> Self {
        let model::Page { entries, next } = page;
        Self { users: entries.into_iter().map(Into::into).collect(), next }
    }
}
