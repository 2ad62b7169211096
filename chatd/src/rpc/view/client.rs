//! Clients, for `system.status`.

use proto::rpc::types::{Check, CheckLevel, ClientInfo, UserClients};

use crate::model;
use crate::service::health::doctor;

impl From<model::ClientInfo> for ClientInfo {
    fn from(client: model::ClientInfo) -> Self {
        let model::ClientInfo { program, pid, since, does } = client;
        Self { program, pid, since, does }
    }
}

impl From<model::UserClients> for UserClients {
    fn from(user: model::UserClients) -> Self {
        let model::UserClients { uid, clients } = user;
        Self { uid, clients }
    }
}

impl From<doctor::Finding> for Check {
    fn from(found: doctor::Finding) -> Self {
        let doctor::Finding { what, account, level, text, advice } = found;
        let level = match level {
            doctor::Level::Ok => CheckLevel::Ok,
            doctor::Level::Warning => CheckLevel::Warning,
            doctor::Level::Error => CheckLevel::Error,
        };
        Self { what: what.to_owned(), account, level, text, advice }
    }
}
