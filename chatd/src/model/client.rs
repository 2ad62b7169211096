//! Programs that are connected by RPC, and whose they are.

use std::fmt;
use std::sync::Arc;

use proto::time::Timestamp;

use super::Grant;

/// Who is at the other end of an RPC connection, as the kernel told it.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// Effective uid of the connecting process.
    pub uid: u32,
    /// Its user name, if the system knows one.
    pub user: Option<String>,
    /// Its process id, for the log.
    pub pid: Option<i32>,
    /// What the token grants that the connection presented: all that the connection may do, whoever the user is.
    pub grant: Option<Arc<Grant>>,
}

/// For the log, in which nobody is named.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uid, user: _, pid, grant } = self;
        f.debug_struct("Caller").field("uid", uid).field("pid", pid).field("token", &grant.is_some()).finish()
    }
}

/// Who is connected by RPC, for those who may know.
pub trait Clients: Send + Sync {
    /// Those of a user.
    fn of_user(&self, uid: u32) -> Vec<ClientInfo>;
    /// How many each user has.
    fn by_user(&self) -> Vec<UserClients>;
}

/// One connected client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientInfo {
    /// What the kernel calls its program, at most 15 bytes; empty if it does not say.
    pub program: String,
    /// Its process.
    pub pid: Option<u32>,
    /// Since when it is connected.
    pub since: Timestamp,
    /// What it does, in words.
    pub does: String,
}

/// How many clients a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserClients {
    /// Who.
    pub uid: u32,
    /// How many.
    pub clients: u64,
}
