//! Which rules hold, and how much there may be of everything.
//!
//! Outside of tests there is one [`Rules`]: all of them, with the limits of the format. A test takes one out, and sees that
//! somebody notices; and it has smaller limits, so that chains of forty events reach them.

use proto::group::{
    GroupType, MAX_ADMINS, MAX_EVENTS, MAX_GROUP_MEMBERS, MAX_KEYS_OF_ONE, MAX_LINKS, MAX_ROOM_MEMBERS, OWNER_EVENTS,
};

/// A rule that a test may take out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An event counts only behind the newest event.
    CompareAndSet,
    /// A right is judged in the state before the event, not in the newest.
    AtItsPlace,
    /// A consent counts once: it names the end of the membership before.
    ConsentOnce,
    /// A banned account is not added.
    Ban,
    /// A key is one only if its recipient follows from the seed and the event.
    SeedsAreBound,
    /// A key from before the newest end of a membership is sealed to no more.
    KeyAfterEnd,
    /// Who is no member after an event gets no seed of it.
    NoSeedForLeavers,
    /// What owner and admins could not open of lower ranks never counts.
    Unopened,
    /// A branch with an event of a higher rank goes on, before a longer one.
    RankBeforeLength,
    /// Who was validly ended in one branch authors nothing in any.
    EndedInOneBranch,
    /// Votes name the owner's newest event.
    VotesNameTheOwner,
    /// Who was removed since the owner's last word is still of the electorate.
    ElectorsStay,
    /// An owner who may still reclaim is not removed.
    OldOwnerStays,
    /// Links end with their maker's right.
    LinksEnd,
    /// A message counts only before its author's end.
    MessagesEnd,
}

/// How much there may be of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members of a group or channel.
    pub group: usize,
    /// Members of a room.
    pub room: usize,
    /// Admins, the owner not counted.
    pub admins: usize,
    /// Events, whether they count or not.
    pub events: u32,
    /// How many of these, the last, only the owner has.
    pub owners: u32,
    /// `key` events of one account.
    pub keys: u32,
    /// Links at once.
    pub links: usize,
}

impl Limits {
    /// Members at most of a group of this type.
    pub fn members(&self, kind: GroupType) -> usize {
        if kind == GroupType::Room { self.room } else { self.group }
    }
}

/// What is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Limits.
    pub limits: Limits,
    without: Option<Rule>,
}

impl Rules {
    /// All of them: what everybody judges by.
    pub const ALL: Self = Self {
        limits: Limits {
            group: MAX_GROUP_MEMBERS,
            room: MAX_ROOM_MEMBERS,
            admins: MAX_ADMINS,
            events: MAX_EVENTS,
            owners: OWNER_EVENTS,
            keys: MAX_KEYS_OF_ONE,
            links: MAX_LINKS,
        },
        without: None,
    };

    /// Whether a rule holds.
    pub(super) fn hold(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }
}

#[cfg(test)]
impl Rules {
    /// For a test: other limits, and one rule taken out.
    pub(super) fn of_test(limits: Limits, without: Option<Rule>) -> Self {
        Self { limits, without }
    }
}
