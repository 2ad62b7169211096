//! Words of the domain that every room shares: accounts, contacts, messages, events. No IO, no policy.
//!
//! Not its job: what these look like to clients (`rpc::view` turns them into the types of the RPC), or on disk (the store
//! gives each its columns). So nothing here is serialised, but for the numbers in [`ids`].

mod account;
mod client;
mod contact;
mod event;
mod feed;
pub mod ids;
mod message;
mod outcome;
mod profile;
mod trace;

pub use self::account::{AccountRow, Standing};
pub use self::client::{Caller, ClientInfo, Clients, UserClients};
pub use self::contact::{Called, Contact, ContactStage, Trust, Unread};
pub use self::event::{ContactChange, Event, EventBody, EventKind};
pub use self::feed::{Consumer, DeadLetter};
pub use self::message::{Format, FoundMessage, Message, MessageState, Priority};
pub use self::outcome::{Failure, Outcome};
pub use self::profile::ProfileRow;
pub use self::trace::{Step, TraceStep};
