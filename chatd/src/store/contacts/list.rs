//! Contacts as the owner of the account sees them, one or by the page.

use std::collections::BTreeSet;

use proto::directory::SignedRecord;
use proto::ids::AccountId;
use proto::reason::Reason;
use proto::time::Timestamp;
use rusqlite::{Connection, params};

use crate::crypto::safety::fingerprint;
use crate::model::{Contact, ContactStage, Suite, Unread};
use crate::policy::contact::{Incoming, Outgoing, Relation};
use crate::policy::suite::{KNOWN, Rules, choose};
use crate::store::error::StoreError;
use crate::store::peers::row::ContactRow;
use crate::store::peers::{by_account, load, names};

/// Bytes of one page about, so that an answer fits one RPC message with room for escapes and fields.
const MAX_PAGE_BYTES: usize = 500_000;
/// Bytes of a contact beside its texts, in the longest of the encodings.
const CONTACT_BYTES: usize = 1_024;

/// Which contacts a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// All with whom there is or was anything.
    All,
    /// Whose requests wait for the owner.
    Pending,
    /// Of whom something is unread.
    Unread,
}

impl Kept {
    /// See `store::peers::state_number`.
    fn condition(self) -> &'static str {
        match self {
            Self::All => "(c.state <> 0 OR v.unread > 0 OR c.request_at IS NOT NULL)",
            Self::Pending => "(c.state & 12 = 4 AND c.state & 48 = 0)",
            Self::Unread => "v.unread > 0",
        }
    }
}

/// A page of contacts in the order of names, after the one with the account `after`; and whether more follow.
///
/// # Errors
/// As all of the store; [`StoreError::NotFound`] when nobody has the account `after`.
pub fn page(
    conn: &Connection,
    kept: Kept,
    after: Option<AccountId>,
    limit: usize,
) -> Result<(Vec<ContactRow>, bool), StoreError> {
    let last = match after {
        Some(account) => Some(by_account(conn, account)?.ok_or(StoreError::NotFound("the contact to go on after"))?),
        None => None,
    };
    let (name, origin, id) = last.map_or_else(Default::default, |row| (row.name, row.origin, row.id));
    let mut select = conn.prepare_cached(&format!(
        "SELECT p.id FROM peers p JOIN contacts c ON c.peer = p.id JOIN conversations v ON v.id = c.conversation
         WHERE (p.name, p.origin, p.id) > (?1, ?2, ?3) AND {} ORDER BY p.name, p.origin, p.id",
        kept.condition()
    ))?;
    let mut ids = select.query(params![name, origin, id])?;
    let (mut rows, mut bytes): (Vec<ContactRow>, usize) = (Vec::new(), 0);
    while let Some(found) = ids.next()? {
        let row = load(conn, found.get(0)?)?;
        let texts = [&row.name, &row.origin, &row.request_text, &row.profile.display_name, &row.profile.status];
        // What is escaped in JSON takes up to six bytes for one; such texts are rare, and the limit leaves room for two.
        bytes += CONTACT_BYTES + row.profile.bio.len() + texts.iter().map(|text| text.len()).sum::<usize>();
        if rows.len() == limit || (bytes > MAX_PAGE_BYTES && !rows.is_empty()) {
            return Ok((rows, true));
        }
        rows.push(row);
    }
    Ok((rows, false))
}

/// A page of conversations with unread messages, whether more follow, and how many messages are unread in all.
///
/// # Errors
/// As [`page`].
pub fn unread(
    conn: &Connection,
    home: &str,
    after: Option<AccountId>,
    limit: usize,
) -> Result<(Vec<Unread>, bool, u64), StoreError> {
    let (rows, more) = page(conn, Kept::Unread, after, limit)?;
    let total: i64 = conn.query_row("SELECT coalesce(sum(unread), 0) FROM conversations", [], |row| row.get(0))?;
    Ok((rows.iter().map(|row| unread_in(conn, row, home)).collect::<Result<_, _>>()?, more, total as u64))
}

fn unread_in(conn: &Connection, row: &ContactRow, home: &str) -> Result<Unread, StoreError> {
    Ok(Unread {
        who: names::called(conn, row, home)?.form().to_owned(),
        account: row.account,
        conversation: row.conversation,
        count: row.unread,
    })
}

/// Those of these people with whom there is or was anything, in the order of their accounts.
pub fn some(conn: &Connection, people: &BTreeSet<AccountId>) -> Result<Vec<ContactRow>, StoreError> {
    people.iter().filter_map(|account| by_account(conn, *account).transpose()).collect()
}

/// Conversations with some people that have unread messages.
pub fn unread_of(conn: &Connection, home: &str, people: &BTreeSet<AccountId>) -> Result<Vec<Unread>, StoreError> {
    let rows = some(conn, people)?;
    rows.iter().filter(|row| row.unread > 0).map(|row| unread_in(conn, row, home)).collect()
}

/// What the next message is sealed with.
fn suite_of(row: &ContactRow) -> Option<Suite> {
    let record = SignedRecord::decode(&row.record).and_then(|signed| signed.peek()).ok()?;
    let rules = Rules { known: KNOWN, min: record.min_suite, floor: row.suite_floor };
    // Keys that are too old are renewed; it is about how they are made.
    let chosen = choose(record.prekeys.iter(), rules, i64::MIN).ok()?;
    Suite::of_number(chosen.suite)
}

/// The contact as the owner of the account sees it; `home` is the domain of the account.
pub fn describe(conn: &Connection, row: &ContactRow, home: &str) -> Result<Contact, StoreError> {
    let called = names::called(conn, row, home)?;
    let stage = match row.state.relation {
        Relation::Accepted => ContactStage::Accepted,
        Relation::Apart { incoming: Incoming::Pending, .. } => ContactStage::Pending,
        Relation::Apart { outgoing: Outgoing::Requested, .. } => ContactStage::Requested,
        Relation::Apart { outgoing: Outgoing::RejectedByThem, .. } => ContactStage::Rejected,
        Relation::Apart { outgoing: Outgoing::GivenUp, .. } => ContactStage::GivenUp,
        Relation::Apart { outgoing: Outgoing::None, .. } => ContactStage::Removed,
    };
    let ended = (stage == ContactStage::GivenUp).then(|| row.request_end.clone());
    Ok(Contact {
        who: called.form().to_owned(),
        name: row.name.clone(),
        address: row.address(),
        label: row.label.clone(),
        handle: row.handle,
        account: row.account,
        conversation: row.conversation,
        stage,
        reason: ended.or_else(|| row.gone.then(|| Reason::AccountGone.to_string())),
        trust: row.trust,
        fingerprint: fingerprint(&row.identity_key),
        new_fingerprint: row.new_key().map(|key| fingerprint(&key)),
        suite: suite_of(row),
        confirmed: row.confirmed,
        blocked: row.state.blocked,
        muted_until: row.muted_until.filter(|until| *until > Timestamp::now()),
        unread: row.unread,
        profile: (row.profile.version > 0).then(|| row.profile.clone()),
        request_text: (!row.request_text.is_empty()).then(|| row.request_text.clone()),
        request_at: row.request_at,
    })
}
