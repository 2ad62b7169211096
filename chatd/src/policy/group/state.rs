//! What a chain of events came to: members, roles, keys, links.
//!
//! Not the job: to change it ([`super::apply`]) or to judge what may ([`super::judge`]).

use std::collections::{BTreeMap, BTreeSet};

use proto::directory::Device;
use proto::group::{DeviceList, GroupId, GroupType, Link};
use proto::ids::{AccountId, DeviceId};

use super::rules::Rules;

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its devices.
    pub devices: Vec<Device>,
    /// The number of the list that they are from.
    pub list: u64,
    /// The identity keys that vouched for its lists, from the first to the newest.
    pub identity: Vec<[u8; 32]>,
    /// Place in seniority: the event that added it, and its place there.
    pub seat: (u32, u32),
    /// The hash of that event.
    pub added: [u8; 32],
    /// By whom.
    pub added_by: AccountId,
    /// Who made it an admin, if it is one.
    pub promoted_by: Option<AccountId>,
    /// Its newest event that counts.
    pub acted: u32,
}

impl Member {
    /// Whether a device is one of its own.
    pub fn has(&self, device: DeviceId) -> bool {
        self.devices.iter().any(|own| own.id == device)
    }

    /// Whether a list may take the place of the present one: it is newer, and by a key that follows from the known ones.
    pub(super) fn takes(&self, list: &DeviceList) -> Option<Vec<[u8; 32]>> {
        let keys = list.identity_keys();
        let step =
            list.number.checked_sub(self.list).filter(|step| (1..=proto::directory::MAX_SEQ_STEP).contains(step));
        (step.is_some() && keys.starts_with(&self.identity)).then_some(keys)
    }
}

/// How a membership ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// The event that ended it: what the next consent names.
    pub by: [u8; 32],
    /// The number of the list of devices then.
    pub list: u64,
    /// The identity keys then: the next consent is by one that follows from them.
    pub identity: Vec<[u8; 32]>,
}

/// A key of the group, by its place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The event that brought it.
    pub number: u32,
    /// Its suite.
    pub suite: u8,
    /// Its recipient.
    pub recipient: Vec<u8>,
    /// The hash of that.
    pub hash: [u8; 32],
    /// What its secret is derived from, with the seed.
    pub context: [u8; 32],
}

/// Who may vote, with the devices that count for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elector {
    /// Who.
    pub account: AccountId,
    /// With these.
    pub devices: Vec<Device>,
}

/// An election that is not confirmed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provisional {
    /// Who was owner before, may reclaim it, and cannot be removed.
    pub old: AccountId,
    /// The newest `elect`.
    pub elect: [u8; 32],
    /// Who confirms it: those who could elect.
    pub electors: Vec<Elector>,
}

/// A link in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayIn {
    /// What was said of it.
    pub link: Link,
    /// By whom.
    pub maker: AccountId,
    /// How many came by it.
    pub used: u32,
}

/// Who may do what, by number: the owner 0, admins by seniority, and then all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(pub u8);

impl Rank {
    /// The owner's.
    pub const OWNER: Self = Self(0);
    /// Of whoever is neither owner nor admin.
    pub const NONE: Self = Self(u8::MAX);

    /// Owner or admin.
    pub fn is_boss(self) -> bool {
        self < Self::NONE
    }
}

/// After some number of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// What is judged by.
    pub(super) rules: Rules,
    /// Which group.
    pub group: GroupId,
    /// What it is.
    pub kind: GroupType,
    /// Name.
    pub name: String,
    /// Topic.
    pub topic: String,
    /// Settings.
    pub settings: Vec<u8>,
    /// Where it is, and where it may move to.
    pub logs: Vec<String>,
    /// The number of the next event.
    pub next: u32,
    /// The hash of the newest event's entry; what the next one names.
    pub head: [u8; 32],
    /// The owner.
    pub owner: AccountId,
    /// Number and hash of the owner's newest event that counts.
    pub owner_event: (u32, [u8; 32]),
    /// By seniority.
    pub admins: Vec<AccountId>,
    /// All, the owner and admins included.
    pub members: BTreeMap<AccountId, Member>,
    /// Who may not come back.
    pub banned: BTreeSet<AccountId>,
    /// How memberships last ended.
    pub ended: BTreeMap<AccountId, Ended>,
    /// Keys in their order; the genesis brings one.
    pub keys: Vec<Key>,
    /// How many `key` events an account has made.
    pub(super) keys_of: BTreeMap<AccountId, u32>,
    /// The newest event that ended a member or a device: what is sealed to is not older.
    pub floor: u32,
    /// Links in force.
    pub links: Vec<WayIn>,
    /// Keys of links that are or were.
    pub(super) link_keys: BTreeSet<[u8; 32]>,
    /// An election that is not confirmed.
    pub provisional: Option<Provisional>,
    /// Who was removed by others since the owner's newest event.
    pub(super) missing: Vec<(AccountId, Member)>,
    /// Whether it has ended.
    pub closed: bool,
    /// Since when which device is a member's.
    pub(super) spans: Spans,
    /// For the control that judges by the newest roles: those.
    pub(super) judged_by: Option<(AccountId, Vec<AccountId>)>,
}

impl State {
    /// The rank of an account.
    pub fn rank(&self, account: AccountId) -> Rank {
        if account == self.owner && !self.members.is_empty() {
            return Rank::OWNER;
        }
        let admin = self.admins.iter().position(|admin| *admin == account);
        admin.and_then(|at| u8::try_from(at + 1).ok()).map_or(Rank::NONE, Rank)
    }

    /// Whether a device is a member's.
    pub fn has(&self, account: AccountId, device: DeviceId) -> bool {
        self.members.get(&account).is_some_and(|member| member.has(device))
    }

    /// Members, the most senior first.
    pub fn by_seniority(&self) -> Vec<AccountId> {
        let mut members: Vec<_> = self.members.iter().collect();
        members.sort_by_key(|(_, member)| member.seat);
        members.into_iter().map(|(account, _)| *account).collect()
    }

    /// Who is owner if the owner leaves and names nobody: the senior admin, else the senior member.
    pub fn heir(&self) -> Option<AccountId> {
        let senior = || self.by_seniority().into_iter().find(|account| *account != self.owner);
        self.admins.first().copied().or_else(senior)
    }
}

/// One stay of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// The event that brought it.
    from: u32,
    /// The event that ended it, and the entry of the log that this is.
    until: Option<(u32, u64)>,
}

/// All stays of all devices. What ended is kept: messages from before are judged by it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Spans(BTreeMap<(AccountId, DeviceId), Vec<Span>>);

impl Spans {
    pub(super) fn begin(&mut self, account: AccountId, device: DeviceId, number: u32) {
        self.0.entry((account, device)).or_default().push(Span { from: number, until: None });
    }

    pub(super) fn end(&mut self, account: AccountId, device: DeviceId, number: u32, place: u64) {
        let open = self.0.get_mut(&(account, device)).and_then(|spans| spans.last_mut());
        if let Some(span) = open.filter(|span| span.until.is_none()) {
            span.until = Some((number, place));
        }
    }

    /// Whether the device was the member's after event `number`, and if so, at which entry that stay ended.
    pub(super) fn after(&self, account: AccountId, device: DeviceId, number: u32) -> Option<Option<u64>> {
        let spans = self.0.get(&(account, device))?;
        let at = spans.partition_point(|span| span.from <= number).checked_sub(1)?;
        let span = spans.get(at)?;
        match span.until {
            Some((end, _)) if end <= number => None,
            until => Some(until.map(|(_, place)| place)),
        }
    }

    /// Devices whose newest stay goes on, or ended behind event `number`.
    pub(super) fn lasted_beyond(&self, number: u32) -> impl Iterator<Item = (AccountId, DeviceId)> {
        let lasted = move |span: &Span| span.until.is_none_or(|(end, _)| end > number);
        self.0.iter().filter(move |(_, spans)| spans.last().is_some_and(lasted)).map(|(whose, _)| *whose)
    }

    /// Devices whose stay was ended by event `number`.
    pub(super) fn ended_by(&self, number: u32) -> impl Iterator<Item = (AccountId, DeviceId)> {
        let ends = move |spans: &Vec<Span>| spans.iter().any(|span| span.until.is_some_and(|(at, _)| at == number));
        self.0.iter().filter(move |(_, spans)| ends(spans)).map(|(whose, _)| *whose)
    }
}
