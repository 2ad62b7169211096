//! Clients, for `system.status`.

use proto::rpc::types::{Check, CheckLevel, ClientInfo, NetCheck, UserClients};

use crate::model;
use crate::service::health::{doctor, netcheck};

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

impl From<doctor::Level> for CheckLevel {
    fn from(level: doctor::Level) -> Self {
        match level {
            doctor::Level::Ok => Self::Ok,
            doctor::Level::Warning => Self::Warning,
            doctor::Level::Error => Self::Error,
        }
    }
}

impl From<doctor::Finding> for Check {
    fn from(found: doctor::Finding) -> Self {
        let doctor::Finding { what, account, level, text, advice } = found;
        Self { what: what.to_owned(), account, level: level.into(), text, advice }
    }
}

impl From<netcheck::Look> for NetCheck {
    fn from(look: netcheck::Look) -> Self {
        let netcheck::Look { what, account, level, value, text, took } = look;
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self { what: what.to_owned(), account, level: level.into(), value: value.to_owned(), text, took_us }
    }
}
