//! Words of the domain that every room shares: accounts, contacts, messages, events. No IO, no policy.
//!
//! Not its job: what these look like to clients (`rpc::view` turns them into the types of the RPC), or on disk (the store
//! gives each its columns). So nothing here is serialised, but for the numbers in [`ids`].

mod account;
mod client;
mod contact;
mod event;
mod feed;
mod grant;
pub mod ids;
mod list;
mod message;
mod outcome;
mod trace;

pub use self::account::{
    AccountInfo, AccountRow, AccountStatus, ClockStatus, ClockWitness, DaemonStatus, Damage, NewKey, Registered,
    Restored, Standing, Trouble,
};
pub use self::client::{Caller, ClientInfo, Clients, UserClients};
pub use self::contact::{
    Called, Contact, ContactNow, ContactStage, DirectoryKey, Invite, Pong, Presence, ProfileRow, Route, Suite, Trust,
    Unread, User, Verified,
};
pub use self::event::{ContactChange, Event, EventBody, EventKind};
pub use self::feed::{Consumer, ConsumerNow, DeadLetter, Wanted};
pub use self::grant::{Grant, Rate, TokenRow, TokenUse};
pub use self::list::{Page, PageOf};
pub use self::message::{Draft, Format, FoundMessage, Message, MessageState, Messages, Priority, Progress, UnreadPage};
pub use self::outcome::{Failure, Outcome};
pub use self::trace::{Step, TraceStep, Way};
