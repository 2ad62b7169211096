//! What a transaction does to names, devices and mail.

use proto::ids::{AccountId, DeviceId, NodeId};

use super::groups::GroupCommands;
use super::queries::{Account, Amount, Applied, Former, Held, Keep, Mailbox, Newcomer, Queries, Resting};

/// What one transaction reads and writes.
pub trait Commands: Queries + GroupCommands {
    /// Whether an account has a name.
    fn is_registered(&self, account: AccountId) -> Applied<bool, Self::Error>;
    /// An account that has a name.
    fn account(&self, account: AccountId) -> Applied<Option<Account>, Self::Error>;
    /// A name that is taken: this one, or else the first that looks like it.
    fn taken(&self, name: &str, skeleton: &str) -> Applied<Option<String>, Self::Error>;
    /// A resting name that stands against a newcomer, and since when it rests: the very name, or else the first that looks
    /// like it.
    fn stands_against(&self, newcomer: &Newcomer<'_>) -> Applied<Option<(String, u64)>, Self::Error>;
    /// Whether this very name rests, for whomever.
    fn rests(&self, name: &str) -> Applied<bool, Self::Error>;
    /// What is left of an account that had names here.
    fn former(&self, account: AccountId, recovery: Option<&[u8; 32]>) -> Applied<Former, Self::Error>;
    /// A new account, with an empty mailbox whose highest number is `number`.
    fn add_account(&mut self, new: &Account, number: u64) -> Applied<(), Self::Error>;
    /// Another record of an account.
    fn replace_record(&mut self, account: AccountId, seq: u64, record: &[u8]) -> Applied<(), Self::Error>;
    /// An account with all that is its own: reach, sessions, tokens, the mailbox. What lay in that.
    fn remove_account(&mut self, account: AccountId) -> Applied<Amount, Self::Error>;
    /// A device's reach and sessions, and its mail. What that was.
    fn remove_device(&mut self, account: AccountId, device: DeviceId) -> Applied<Amount, Self::Error>;
    /// Lets a name rest, in the place of an earlier rest of the same name.
    fn rest(&mut self, resting: &Resting) -> Applied<(), Self::Error>;
    /// This name rests no longer.
    fn wake(&mut self, name: &str) -> Applied<(), Self::Error>;
    /// Names that were given up by `until`, the oldest first, rest no longer: `limit` of them at most. How many they were.
    fn wake_all(&mut self, until: u64, limit: usize) -> Applied<usize, Self::Error>;

    /// The number of a device's reach.
    fn reach_seq(&self, account: AccountId, device: DeviceId) -> Applied<Option<u64>, Self::Error>;
    /// Keeps a reach, in the place of an earlier one.
    fn set_reach(
        &mut self,
        who: (AccountId, DeviceId),
        node: NodeId,
        seq: u64,
        reach: &[u8],
    ) -> Applied<(), Self::Error>;
    /// Sessions that a device has begun.
    fn sessions(&mut self, account: AccountId, device: DeviceId) -> Applied<u64, Self::Error>;
    /// Sets that.
    fn set_sessions(&mut self, account: AccountId, device: DeviceId, begun: u64) -> Applied<(), Self::Error>;
    /// Tokens that an account honours.
    fn tokens(&self, account: AccountId) -> Applied<usize, Self::Error>;
    /// A token that is honoured from now on, with nothing counted; whether it was not before.
    fn add_token(&mut self, account: AccountId, token: &[u8; 32]) -> Applied<bool, Self::Error>;
    /// A token that is honoured no longer; whether it was.
    fn remove_token(&mut self, account: AccountId, token: &[u8; 32]) -> Applied<bool, Self::Error>;
    /// Sets how many deposits were counted for a token.
    fn set_counted(&mut self, account: AccountId, token: &[u8; 32], counted: u64) -> Applied<(), Self::Error>;

    /// What lies in an account's mailbox, counted.
    fn mailbox(&self, account: AccountId) -> Applied<Mailbox, Self::Error>;
    /// The envelope with these bytes of this token, or of strangers if it is empty.
    fn held(&self, account: AccountId, token: &[u8], hash: &[u8; 32]) -> Applied<Option<Held>, Self::Error>;
    /// Envelopes in the lane of strangers that came from a site, and from a host.
    fn places(&self, account: AccountId, site: &[u8], host: &[u8]) -> Applied<(u64, u64), Self::Error>;
    /// Keeps an envelope. The mailbox's number becomes its number, and it is counted there and in the sums.
    fn keep(&mut self, new: &Keep<'_>) -> Applied<(), Self::Error>;
    /// Deletes an envelope of one device. What that was.
    fn remove(&mut self, account: AccountId, device: DeviceId, number: u64) -> Applied<Amount, Self::Error>;
    /// Deletes what has expired by `now`, the oldest first: `limit` envelopes at most. What that was.
    fn expire(&mut self, now: u64, limit: usize) -> Applied<Amount, Self::Error>;
    /// Saves the mailbox's clock, which never goes back.
    fn save_uptime(&mut self, uptime: u64) -> Applied<(), Self::Error>;
}
