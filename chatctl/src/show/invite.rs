//! Invites, as a list.

use proto::rpc::types::Invite;

use super::words::clock::clock;
use crate::term::table::Table;

/// An empty list.
pub fn list() -> Table<4> {
    Table::new([0; 4]).titled(["INVITE", "FOR", "STATE", "UNTIL"])
}

/// A row of [`list`].
pub fn row(invite: &Invite) -> [String; 4] {
    let state = invite.used_by.as_ref().map_or_else(|| "open".to_owned(), |who| format!("used by {who}"));
    [invite.id.clone(), invite.label.clone().unwrap_or_else(|| "anybody".to_owned()), state, clock(invite.expires)]
}
