//! Words of the domain that every room shares: callers, accounts, profiles. No IO, no policy.

mod account;
mod client;
pub mod ids;
mod profile;

pub use self::account::{AccountRow, Standing};
pub use self::client::{Caller, ClientInfo, Clients, UserClients};
pub use self::profile::ProfileRow;
