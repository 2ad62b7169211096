//! What a connection may do that presented a token, instead of all that its user may.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Instant;

use proto::ids::AccountId;
use proto::scope::{Needs, Scope};
use proto::time::Timestamp;
use tokio_util::sync::CancellationToken;

/// So many in so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many; all may come at once.
    pub count: NonZeroU32,
    /// Seconds.
    pub seconds: NonZeroU32,
}

/// A token as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its number.
    pub id: i64,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of the token; `None` once it has ended.
    pub hash: Option<[u8; 32]>,
    /// See [`Grant`].
    pub scopes: Vec<Scope>,
    /// See [`Grant`].
    pub within: Option<BTreeSet<AccountId>>,
    /// See [`Grant`].
    pub send_to: Option<BTreeSet<AccountId>>,
    /// How fast it may do what is not reading.
    pub rate: Option<Rate>,
    /// Who made it.
    pub made_by: u32,
    /// When.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was last used.
    pub used: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// It ended by itself.
    pub expired: bool,
}

/// Something that was done with a token, or refused: the same on one day is one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUse {
    /// Its number.
    pub id: i64,
    /// The method.
    pub method: String,
    /// Whom it was about.
    pub about: Option<AccountId>,
    /// The user at the other end of the socket.
    pub uid: u32,
    /// Why not, in a word; `None` if it was done.
    pub refused: Option<String>,
    /// How often.
    pub count: u64,
    /// The first time.
    pub first: Timestamp,
    /// The last time.
    pub last: Timestamp,
}

/// A token in force. Nothing of it changes but that it ends.
pub struct Grant {
    /// Its number in the account.
    pub token: i64,
    /// What its owner calls it.
    pub name: String,
    /// The account that it acts for.
    pub account: AccountId,
    /// What it grants.
    pub scopes: Vec<Scope>,
    /// With whom it reads conversations; `None`: with everybody.
    pub within: Option<BTreeSet<AccountId>>,
    /// To whom it sends; `None`: to all contacts.
    pub send_to: Option<BTreeSet<AccountId>>,
    /// When it ends at the latest, whatever the wall clock says.
    pub deadline: Option<Instant>,
    /// It has ended.
    pub over: CancellationToken,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grant").field("token", &self.token).field("account", &self.account).finish_non_exhaustive()
    }
}

impl PartialEq for Grant {
    fn eq(&self, other: &Self) -> bool {
        (self.token, self.account) == (other.token, other.account)
    }
}

impl Eq for Grant {}

impl Grant {
    /// Whether it grants a scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it grants what a method needs.
    pub fn suffices(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Owner => false,
            Needs::Scope { any, within } => any.iter().any(|scope| {
                let confined = match scope {
                    Scope::Read => self.within.is_some(),
                    Scope::Send => self.send_to.is_some(),
                    Scope::Contacts | Scope::Admin => false,
                };
                self.allows(*scope) && (within || !confined)
            }),
        }
    }

    /// Whether it reads the conversation with somebody.
    pub fn reads(&self, peer: AccountId) -> bool {
        self.allows(Scope::Read) && self.within.as_ref().is_none_or(|known| known.contains(&peer))
    }

    /// Whether it sends to somebody.
    pub fn sends(&self, peer: AccountId) -> bool {
        self.allows(Scope::Send) && self.send_to.as_ref().is_none_or(|known| known.contains(&peer))
    }

    /// Whether it may know where a message stands.
    pub fn follows(&self, peer: AccountId, own: bool) -> bool {
        self.reads(peer) || (own && self.sends(peer))
    }

    /// With whom it reads, if not with everybody; one that sees contacts may know of all.
    pub fn confined(&self) -> Option<&BTreeSet<AccountId>> {
        self.within.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOB: AccountId = AccountId([2; 16]);
    const CAROL: AccountId = AccountId([3; 16]);

    fn grant(scopes: &[Scope], within: Option<&[AccountId]>, send_to: Option<&[AccountId]>) -> Grant {
        let set = |of: Option<&[AccountId]>| of.map(|of| of.iter().copied().collect());
        Grant {
            token: 1,
            name: "grafana".into(),
            account: AccountId([1; 16]),
            scopes: scopes.to_vec(),
            within: set(within),
            send_to: set(send_to),
            deadline: None,
            over: CancellationToken::new(),
        }
    }

    #[test]
    fn a_scope_is_what_it_says_and_no_more() {
        let whole = |any| Needs::Scope { any, within: false };
        let part = |any| Needs::Scope { any, within: true };
        let reader = grant(&[Scope::Read], Some(&[BOB]), None);
        assert!(reader.suffices(part(&[Scope::Read])) && !reader.suffices(whole(&[Scope::Read])));
        assert!(!reader.suffices(part(&[Scope::Send])) && !reader.suffices(Needs::Owner));
        assert!(reader.reads(BOB) && !reader.reads(CAROL) && !reader.sends(BOB) && !reader.follows(CAROL, true));
        let sender = grant(&[Scope::Send], None, Some(&[BOB]));
        assert!(sender.sends(BOB) && !sender.sends(CAROL) && !sender.reads(BOB));
        assert!(sender.follows(BOB, true) && !sender.follows(BOB, false), "its own messages, not theirs");
        assert!(!sender.suffices(whole(&[Scope::Send])) && sender.suffices(part(&[Scope::Read, Scope::Send])));
        let all = grant(&Scope::ALL, None, None);
        assert!(all.suffices(whole(&[Scope::Read])) && all.reads(CAROL) && !all.suffices(Needs::Owner));
        let both = grant(&[Scope::Read, Scope::Contacts], Some(&[BOB]), None);
        assert!(both.suffices(whole(&[Scope::Read, Scope::Contacts])) && !both.reads(CAROL));
        let none = grant(&[Scope::Read], Some(&[]), None);
        assert!(!none.reads(BOB), "nobody is nobody, and not everybody");
    }
}
