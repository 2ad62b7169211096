//! People: rows of contacts and their conversations, as they are read. `crate::store::peers::trust` writes what is known of them,
//! `crate::store::contacts::requests` how the two stand.

pub mod devices;
pub mod invitation;
pub mod names;
pub mod profiles;
pub(super) mod row;
pub mod trust;
pub(super) mod usage;

use proto::ids::{AccountId, ConversationId};
use proto::reason::Reason;
use proto::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};

use crate::model::ids::{ConversationRow, PeerId};
use crate::model::{ProfileRow, Trust};
use crate::policy::contact::{ContactState, Incoming, Outgoing, Relation};
use crate::policy::contact_ids::ContactIds;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers::row::ContactRow;

/// A person seen for the first time.
#[derive(Debug, Clone)]
pub struct NewContact {
    /// Account id.
    pub account: AccountId,
    /// Name in its directory.
    pub name: String,
    /// Its directory's origin; empty without one.
    pub origin: String,
    /// Signed record, verified.
    pub record: Vec<u8>,
    /// Its seq.
    pub record_seq: u64,
    /// Its identity key.
    pub identity_key: [u8; 32],
    /// Signed reach; empty when unknown.
    pub reach: Vec<u8>,
    /// Its seq.
    pub reach_seq: u64,
}

/// The state's number in the database: bits 0-1 ours, 2-3 theirs, 4 accepted, 5 blocked.
pub(in crate::store) fn state_number(state: ContactState) -> i64 {
    let relation = match state.relation {
        Relation::Accepted => 16,
        Relation::Apart { outgoing, incoming } => {
            let ours = match outgoing {
                Outgoing::None => 0,
                Outgoing::Requested => 1,
                Outgoing::RejectedByThem => 2,
                Outgoing::GivenUp => 3,
            };
            let theirs = match incoming {
                Incoming::None => 0,
                Incoming::Pending => 1,
                Incoming::RejectedByMe => 2,
            };
            ours | theirs << 2
        }
    };
    relation | i64::from(state.blocked) << 5
}

fn state_from(number: i64) -> ContactState {
    let relation = if number & 16 != 0 {
        Relation::Accepted
    } else {
        let outgoing = match number & 3 {
            1 => Outgoing::Requested,
            2 => Outgoing::RejectedByThem,
            3 => Outgoing::GivenUp,
            _ => Outgoing::None,
        };
        let incoming = match number >> 2 & 3 {
            1 => Incoming::Pending,
            2 => Incoming::RejectedByMe,
            _ => Incoming::None,
        };
        Relation::Apart { outgoing, incoming }
    };
    ContactState { relation, blocked: number & 32 != 0 }
}

const COLUMNS: &str = "p.id, p.account, v.conversation, p.name, p.origin, c.label, c.state, p.trust, p.confirmed,
  v.muted_until, p.record, p.record_seq, p.identity_key, p.reach, p.reach_seq, c.token_given, c.token_held,
  c.request_text, c.request_at, c.ids, v.unread, v.read_upto, p.profile_version, p.display_name, p.status, p.bio,
  p.rejected_record, c.handle, c.request_end, p.gone, v.id, p.suite_floor
  FROM peers p JOIN contacts c ON c.peer = p.id JOIN conversations v ON v.id = c.conversation";

fn from_row(row: &Row<'_>) -> rusqlite::Result<ContactRow> {
    let fixed = |n: usize| -> rusqlite::Result<Vec<u8>> { row.get(n) };
    let damaged = |n: usize| rusqlite::Error::InvalidColumnType(n, "id".into(), rusqlite::types::Type::Blob);
    let token = |n: usize| -> rusqlite::Result<Option<[u8; 32]>> {
        row.get::<_, Option<Vec<u8>>>(n)?.map(|b| b.try_into().map_err(|_| damaged(n))).transpose()
    };
    Ok(ContactRow {
        id: row.get(0)?,
        account: AccountId::from_slice(&fixed(1)?).ok_or_else(|| damaged(1))?,
        conversation: ConversationId::from_slice(&fixed(2)?).ok_or_else(|| damaged(2))?,
        name: row.get(3)?,
        origin: row.get(4)?,
        label: row.get(5)?,
        state: state_from(row.get(6)?),
        trust: match row.get::<_, i64>(7)? {
            1 => Trust::Verified,
            2 => Trust::Rotated,
            3 => Trust::Changed,
            _ => Trust::Unverified,
        },
        confirmed: row.get(8)?,
        muted_until: row.get::<_, Option<i64>>(9)?.map(Timestamp),
        record: row.get(10)?,
        record_seq: row.get::<_, i64>(11)? as u64,
        identity_key: fixed(12)?.try_into().map_err(|_| damaged(12))?,
        reach: row.get(13)?,
        reach_seq: row.get::<_, i64>(14)? as u64,
        token_given: token(15)?,
        token_held: token(16)?,
        request_text: row.get(17)?,
        request_at: row.get::<_, Option<i64>>(18)?.map(Timestamp),
        ids: ContactIds::from_bytes(&fixed(19)?.try_into().map_err(|_| damaged(19))?),
        unread: row.get::<_, i64>(20)? as u64,
        read_upto: row.get(21)?,
        profile: ProfileRow {
            version: row.get::<_, i64>(22)? as u64,
            display_name: row.get(23)?,
            status: row.get(24)?,
            bio: row.get(25)?,
        },
        rejected_record: row.get(26)?,
        handle: row.get::<_, Option<i64>>(27)?.map(|number| number as u64),
        request_end: row.get(28)?,
        gone: row.get(29)?,
        direct: row.get(30)?,
        suite_floor: row.get(31)?,
    })
}

/// A contact by its local number.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn load(conn: &Connection, id: PeerId) -> Result<ContactRow, StoreError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE p.id = ?1"))?
        .query_row([id], from_row)
        .optional()?
        .ok_or(StoreError::NotFound("that contact"))
}

/// The conversation with a peer alone.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn direct(conn: &Connection, peer: PeerId) -> Result<ConversationRow, StoreError> {
    conn.prepare_cached("SELECT conversation FROM contacts WHERE peer = ?1")?
        .query_row([peer], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound("that contact"))
}

/// With whom a direct conversation is.
///
/// # Errors
/// [`StoreError::NotFound`].
pub(in crate::store) fn partner(conn: &Connection, conversation: ConversationRow) -> Result<PeerId, StoreError> {
    conn.prepare_cached("SELECT peer FROM contacts WHERE conversation = ?1")?
        .query_row([conversation], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound("that contact"))
}

/// The one person for whom a condition holds, which names columns as `c.` or `v.`.
pub(in crate::store) fn select_one(
    conn: &Connection,
    condition: &str,
    values: impl rusqlite::Params,
) -> Result<Option<ContactRow>, StoreError> {
    let mut select = conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE {condition}"))?;
    Ok(select.query_row(values, from_row).optional()?)
}

/// A person by account id.
pub fn by_account(conn: &Connection, account: AccountId) -> Result<Option<ContactRow>, StoreError> {
    select_one(conn, "p.account = ?1", [account.as_bytes()])
}

/// The seq of the record that is kept of an account.
pub fn record_of(conn: &Connection, account: AccountId) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT record_seq, record FROM peers WHERE account = ?1")?
        .query_row([account.as_bytes()], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))
        .optional()?)
}

/// Everybody, in the order of names.
pub fn all(conn: &Connection) -> Result<Vec<ContactRow>, StoreError> {
    let mut select = conn.prepare_cached(&format!("SELECT {COLUMNS} ORDER BY p.name, p.origin, p.id"))?;
    Ok(select.query_map([], from_row)?.collect::<Result<_, _>>()?)
}

/// Contacts for whom something waits.
pub fn with_pending(conn: &Connection) -> Result<Vec<PeerId>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT contact FROM signals UNION SELECT peer FROM contacts WHERE ack_due = 1
         UNION SELECT c.peer FROM streams_out s JOIN contacts c ON c.conversation = s.conversation
         WHERE EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id)",
    )?;
    Ok(select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Why messages to this one wait, if they do.
pub fn wait_reason(row: &ContactRow) -> Option<Reason> {
    if row.state.blocked {
        Some(Reason::Blocked)
    } else if row.state.relation != Relation::Accepted {
        Some(Reason::AwaitingAcceptance)
    } else if row.trust == Trust::Changed {
        Some(Reason::KeyChanged)
    } else {
        None
    }
}

/// Whether the row is a request that waits for the user.
pub fn is_pending(row: &ContactRow) -> bool {
    matches!(row.state.relation, Relation::Apart { incoming: Incoming::Pending, .. }) && !row.state.blocked
}

/// A contact as it is inside of a transaction.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn by_id(tx: &Tx<'_>, id: PeerId) -> Result<ContactRow, StoreError> {
    load(tx.conn, id)
}

/// A person by account id, as it is inside of a transaction.
pub fn by_account_in(tx: &Tx<'_>, account: AccountId) -> Result<Option<ContactRow>, StoreError> {
    by_account(tx.conn, account)
}
