//! Clients, for `system.status`.

use proto::rpc::types::{ClientInfo, UserClients};

use crate::model;

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
