//! People: rows of contacts and their conversations, and what the contact rules' effects do to the store.

use proto::directory::{SignedReach, SignedRecord, supersedes};
use proto::ids::{AccountId, ConversationId, DeviceId, MessageId, NodeId};
use proto::rpc::event::EventType;
use proto::rpc::types::{Contact, ContactState as Shown, Profile, Trust};
use proto::time::Timestamp;
use proto::wire::payload::Kind;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, Tx};
use crate::crypto::safety::fingerprint;
use crate::crypto::token::DepositToken;
use crate::model::{ContactRow, ProfileRow};
use crate::policy::contact::{self, ContactState, Effect, Event, Incoming, Outgoing, Relation};
use crate::policy::contact_ids::{ContactIds, ContactMessage};

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
    /// The directory confirmed name and key.
    pub confirmed: bool,
}

/// The state's number in the database: bits 0-1 ours, 2-3 theirs, 4 accepted, 5 blocked.
fn state_number(state: ContactState) -> i64 {
    let relation = match state.relation {
        Relation::Accepted => 16,
        Relation::Apart { outgoing, incoming } => {
            let ours = match outgoing {
                Outgoing::None => 0,
                Outgoing::Requested => 1,
                Outgoing::RejectedByThem => 2,
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

const COLUMNS: &str = "c.id, c.account, v.conversation, c.name, c.origin, c.label, c.state, c.trust, c.confirmed,
  v.muted_until, c.record, c.record_seq, c.identity_key, c.reach, c.reach_seq, c.token_given, c.token_held,
  c.request_text, c.request_at, c.ids, v.unread, v.read_upto, c.profile_version, c.display_name, c.status, c.bio
  FROM contacts c JOIN conversations v ON v.id = c.id";

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
    })
}

/// A contact by its local number.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn load(conn: &Connection, id: i64) -> Result<ContactRow, StoreError> {
    conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE c.id = ?1"))?
        .query_row([id], from_row)
        .optional()?
        .ok_or(StoreError::NotFound("that contact"))
}

/// A person by account id.
///
/// # Errors
/// Those of the database.
pub fn by_account(conn: &Connection, account: AccountId) -> Result<Option<ContactRow>, StoreError> {
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} WHERE c.account = ?1"))?
        .query_row([account.as_bytes()], from_row)
        .optional()?)
}

/// A person by the owner's label, else by name and origin (`home` for a name without a domain). Of several who say that they
/// are called so, a contact comes first, then one whom the directory confirmed: a stranger takes nobody's place.
///
/// # Errors
/// Those of the database.
pub fn find(conn: &Connection, who: &str, home: &str) -> Result<Option<ContactRow>, StoreError> {
    let labelled =
        conn.prepare_cached(&format!("SELECT {COLUMNS} WHERE c.label = ?1"))?.query_row([who], from_row).optional()?;
    if labelled.is_some() {
        return Ok(labelled);
    }
    let (name, origin) = who.split_once('@').unwrap_or((who, home));
    Ok(conn
        .prepare_cached(&format!(
            "SELECT {COLUMNS} WHERE c.name = ?1 AND c.origin = ?2
             ORDER BY c.state & 16 DESC, c.confirmed DESC, c.id DESC LIMIT 1"
        ))?
        .query_row([name, origin], from_row)
        .optional()?)
}

/// Everybody, in the order of names.
///
/// # Errors
/// Those of the database.
pub fn all(conn: &Connection) -> Result<Vec<ContactRow>, StoreError> {
    let mut select = conn.prepare_cached(&format!("SELECT {COLUMNS} ORDER BY c.name, c.origin, c.id"))?;
    Ok(select.query_map([], from_row)?.collect::<Result<_, _>>()?)
}

/// Whose device this is: the contact's local number and the device's signing key. Of several contacts whose records name
/// it, the one for whom it has signed.
///
/// # Errors
/// Those of the database.
pub fn by_device(conn: &Connection, device: DeviceId) -> Result<Option<(i64, [u8; 32])>, StoreError> {
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached("SELECT contact, key FROM contact_devices WHERE device = ?1 ORDER BY proved DESC, contact LIMIT 1")?
        .query_row([device.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.and_then(|(contact, key)| Some((contact, key.try_into().ok()?))))
}

/// A device that an account's newest record names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownDevice {
    /// The contact's local number.
    pub contact: i64,
    /// The device's signing key.
    pub key: [u8; 32],
    /// It has signed for the account before.
    pub proved: bool,
}

/// A device of an account.
///
/// # Errors
/// Those of the database.
pub fn device_of(
    conn: &Connection,
    account: AccountId,
    device: DeviceId,
) -> Result<Option<KnownDevice>, StoreError> {
    let found: Option<(i64, Vec<u8>, bool)> = conn
        .prepare_cached(
            "SELECT d.contact, d.key, d.proved FROM contacts c JOIN contact_devices d ON d.contact = c.id
             WHERE c.account = ?1 AND d.device = ?2",
        )?
        .query_row(params![account.as_bytes(), device.as_bytes()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    Ok(found.and_then(|(contact, key, proved)| Some(KnownDevice { contact, key: key.try_into().ok()?, proved })))
}

/// The node id in a stored reach; empty when there is none.
fn node_of(reach: &[u8]) -> Vec<u8> {
    SignedReach::decode(reach).and_then(|signed| signed.peek()).map(|reach| reach.node.0.to_vec()).unwrap_or_default()
}

/// Contacts whose newest reach names a node.
///
/// # Errors
/// Those of the database.
pub fn by_node(conn: &Connection, node: NodeId) -> Result<Vec<i64>, StoreError> {
    let mut select = conn.prepare_cached("SELECT id FROM contacts WHERE node = ?1")?;
    Ok(select.query_map([node.as_bytes()], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Contacts for whom something waits.
///
/// # Errors
/// Those of the database.
pub fn with_pending(conn: &Connection) -> Result<Vec<i64>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT contact FROM signals UNION SELECT s.conversation FROM streams_out s
         WHERE EXISTS (SELECT 1 FROM outbox o WHERE o.stream = s.id)",
    )?;
    Ok(select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

/// Why messages to this one wait, if they do.
pub fn wait_reason(row: &ContactRow) -> Option<&'static str> {
    if row.state.blocked {
        Some("blocked")
    } else if row.state.relation != Relation::Accepted {
        Some("awaiting_acceptance")
    } else if row.trust == Trust::Changed {
        Some("key_changed")
    } else {
        None
    }
}

/// Whether the row is a request that waits for the user.
pub fn is_pending(row: &ContactRow) -> bool {
    matches!(row.state.relation, Relation::Apart { incoming: Incoming::Pending, .. }) && !row.state.blocked
}

/// The contact as clients see it. Presence is not stored; the caller adds it.
pub fn to_rpc(row: &ContactRow, home: &str) -> Contact {
    let state = match row.state.relation {
        Relation::Accepted => Shown::Accepted,
        Relation::Apart { incoming: Incoming::Pending, .. } => Shown::Pending,
        Relation::Apart { outgoing: Outgoing::Requested, .. } => Shown::Requested,
        Relation::Apart { outgoing: Outgoing::RejectedByThem, .. } => Shown::Rejected,
        Relation::Apart { .. } => Shown::Removed,
    };
    let has_profile = row.profile.version > 0;
    Contact {
        name: row.name.clone(),
        address: if row.origin.is_empty() { row.name.clone() } else { format!("{}@{}", row.name, row.origin) },
        label: row.label.clone().or_else(|| (row.origin != home && !row.origin.is_empty()).then(|| row.who(home))),
        account: row.account,
        conversation: row.conversation,
        state,
        trust: row.trust,
        fingerprint: fingerprint(&row.identity_key),
        confirmed: row.confirmed,
        blocked: row.state.blocked,
        muted_until: row.muted_until.filter(|until| *until > Timestamp::now()),
        online: None,
        online_since: None,
        unread: row.unread,
        profile: has_profile.then(|| Profile {
            display_name: row.profile.display_name.clone(),
            status: row.profile.status.clone(),
            bio: row.profile.bio.clone(),
        }),
        message: (!row.request_text.is_empty()).then(|| row.request_text.clone()),
        since: row.request_at,
    }
}

/// A contact as it is inside of a transaction.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn by_id(tx: &Tx<'_>, id: i64) -> Result<ContactRow, StoreError> {
    load(tx.conn, id)
}

/// A person by account id, as it is inside of a transaction.
///
/// # Errors
/// Those of the database.
pub fn by_account_in(tx: &Tx<'_>, account: AccountId) -> Result<Option<ContactRow>, StoreError> {
    by_account(tx.conn, account)
}

impl Tx<'_> {
    /// Requests that wait for the user.
    ///
    /// # Errors
    /// Those of the database.
    pub fn pending_requests(&self) -> Result<u32, StoreError> {
        let count: i64 = self
            .conn
            .prepare_cached("SELECT count(*) FROM contacts WHERE state & 12 = 4 AND state & 48 = 0")?
            .query_row([], |row| row.get(0))?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Remembers a person, or brings what is known of one up to date; answers the local number. Never changes a pin.
    ///
    /// # Errors
    /// Those of the database.
    pub fn upsert_contact(&mut self, new: &NewContact) -> Result<i64, StoreError> {
        if let Some(row) = by_account(self.conn, new.account)? {
            self.take_record(row.id, &new.record, new.confirmed)?;
            self.take_reach(row.id, &new.reach)?;
            return Ok(row.id);
        }
        let own = self.own()?;
        let conversation = ConversationId::direct(own.id, new.account);
        self.conn
            .execute("INSERT INTO conversations (conversation, kind) VALUES (?1, 0)", [conversation.as_bytes()])?;
        let id = self.conn.last_insert_rowid();
        self.conn.execute(
            "INSERT INTO contacts (id, account, name, origin, state, trust, confirmed, record, record_seq, identity_key,
               reach, reach_seq, node, ids, request_text, profile_version, display_name, status, bio)
             VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, zeroblob(64), '', 0, '', '', '')",
            params![
                id,
                new.account.as_bytes(),
                new.name,
                new.origin,
                new.confirmed,
                new.record,
                new.record_seq as i64,
                &new.identity_key[..],
                new.reach,
                new.reach_seq as i64,
                node_of(&new.reach),
            ],
        )?;
        self.index_devices(id, &new.record)?;
        Ok(id)
    }

    /// Keeps the devices that a record names findable by their id.
    fn index_devices(&mut self, contact: i64, record: &[u8]) -> Result<(), StoreError> {
        let Ok(record) = SignedRecord::decode(record).and_then(|signed| signed.verify()) else {
            return Err(StoreError::Damaged("a contact's record"));
        };
        let known: Vec<Vec<u8>> = self
            .conn
            .prepare_cached("SELECT device FROM contact_devices WHERE contact = ?1")?
            .query_map([contact], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for gone in known.iter().filter(|id| record.devices.iter().all(|device| device.id.as_bytes() != id.as_slice())) {
            self.conn
                .execute("DELETE FROM contact_devices WHERE contact = ?1 AND device = ?2", params![contact, gone])?;
        }
        for device in &record.devices {
            self.conn.execute(
                "INSERT OR IGNORE INTO contact_devices (device, contact, key, proved) VALUES (?1, ?2, ?3, 0)",
                params![device.id.as_bytes(), contact, &device.key[..]],
            )?;
        }
        Ok(())
    }

    /// Whether the newest record of an account names a device.
    ///
    /// # Errors
    /// Those of the database.
    pub fn has_device(&self, account: AccountId, device: DeviceId) -> Result<bool, StoreError> {
        Ok(device_of(self.conn, account, device)?.is_some())
    }

    /// A device signed an envelope that names this contact's account as its own.
    ///
    /// # Errors
    /// Those of the database.
    pub fn device_proved(&mut self, contact: i64, device: DeviceId) -> Result<(), StoreError> {
        self.conn.execute(
            "UPDATE contact_devices SET proved = 1 WHERE contact = ?1 AND device = ?2",
            params![contact, device.as_bytes()],
        )?;
        Ok(())
    }

    /// Takes a record that says it is a contact's, as far as the pinned key vouches for it: a newer one is kept, with its
    /// rotations; one that leaves the pinned key without a valid rotation stops sending. `false`: it is not theirs.
    ///
    /// # Errors
    /// Those of the database.
    pub fn take_record(&mut self, contact: i64, record: &[u8], confirmed: bool) -> Result<bool, StoreError> {
        let row = load(self.conn, contact)?;
        let read = |bytes: &[u8]| SignedRecord::decode(bytes).and_then(|signed| signed.verify()).ok();
        let (Some(old), Some(new)) = (read(&row.record), read(record)) else { return Ok(false) };
        if new.account() != row.account {
            return Ok(false);
        }
        if new.seq <= row.record_seq {
            if confirmed && record == row.record {
                self.update_record(contact, record, new.seq, true)?;
            }
            return Ok(true);
        }
        if supersedes(&old, &new).is_err() {
            if row.trust != Trust::Changed {
                tracing::warn!(contact = %row.account, "another key without a valid rotation: sending stops until it is verified");
                self.set_trust(contact, Trust::Changed)?;
                self.event_contact(EventType::ContactKeyChanged, contact);
            }
            return Ok(false);
        }
        self.update_record(contact, record, new.seq, confirmed)?;
        if new.identity_key != row.identity_key {
            let trust = if row.trust == Trust::Verified { Trust::Rotated } else { row.trust };
            self.set_key(contact, &new.identity_key, trust)?;
        }
        Ok(true)
    }

    /// Takes a reach that says it is of one of a contact's devices.
    ///
    /// # Errors
    /// Those of the database.
    pub fn take_reach(&mut self, contact: i64, reach: &[u8]) -> Result<(), StoreError> {
        let row = load(self.conn, contact)?;
        let Ok(record) = SignedRecord::decode(&row.record).and_then(|signed| signed.peek()) else { return Ok(()) };
        if let Ok(verified) = SignedReach::decode(reach).and_then(|signed| signed.verify(&record)) {
            self.update_reach(contact, reach, verified.seq)?;
        }
        Ok(())
    }

    /// Keeps a newer record of a contact whose identity key is the pinned one.
    fn update_record(&mut self, contact: i64, record: &[u8], seq: u64, confirmed: bool) -> Result<(), StoreError> {
        let newer = self
            .conn
            .prepare_cached("UPDATE contacts SET record = ?2, record_seq = ?3 WHERE id = ?1 AND record_seq < ?3")?
            .execute(params![contact, record, seq as i64])?;
        if newer > 0 {
            self.index_devices(contact, record)?;
        }
        if confirmed {
            self.conn.execute("UPDATE contacts SET confirmed = 1 WHERE id = ?1", [contact])?;
        }
        self.wake_delivery(contact);
        Ok(())
    }

    /// Keeps a newer reach.
    fn update_reach(&mut self, contact: i64, reach: &[u8], seq: u64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached(
                "UPDATE contacts SET reach = ?2, reach_seq = ?3, node = ?4 WHERE id = ?1 AND reach_seq < ?3",
            )?
            .execute(params![contact, reach, seq as i64, node_of(reach)])?;
        Ok(())
    }

    /// Pins another identity key, with the trust that goes with it, and tells.
    fn set_key(&mut self, contact: i64, identity_key: &[u8; 32], trust: Trust) -> Result<(), StoreError> {
        self.conn
            .execute("UPDATE contacts SET identity_key = ?2 WHERE id = ?1", params![contact, &identity_key[..]])?;
        self.set_trust(contact, trust)?;
        self.event_contact(EventType::ContactKeyChanged, contact);
        Ok(())
    }

    /// Sets the trust in a contact's key.
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_trust(&mut self, contact: i64, trust: Trust) -> Result<(), StoreError> {
        let number = match trust {
            Trust::Unverified => 0,
            Trust::Verified => 1,
            Trust::Rotated => 2,
            Trust::Changed => 3,
        };
        self.conn.execute("UPDATE contacts SET trust = ?2 WHERE id = ?1", params![contact, number])?;
        self.wake_delivery(contact);
        Ok(())
    }

    /// Gives a label, or takes it away.
    ///
    /// # Errors
    /// A constraint error when another contact has the label.
    pub fn set_label(&mut self, contact: i64, label: Option<&str>) -> Result<(), StoreError> {
        self.conn.execute("UPDATE contacts SET label = ?2 WHERE id = ?1", params![contact, label])?;
        Ok(())
    }

    /// Mutes until a time, or unmutes.
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_muted(&mut self, contact: i64, until: Option<Timestamp>) -> Result<(), StoreError> {
        self.conn.execute(
            "UPDATE conversations SET muted_until = ?2 WHERE id = ?1",
            params![contact, until.map(|time| time.0)],
        )?;
        Ok(())
    }

    /// Keeps what a contact says of itself, if it is newer.
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_contact_profile(&mut self, contact: i64, profile: &ProfileRow) -> Result<(), StoreError> {
        let changed = self.conn.execute(
            "UPDATE contacts SET profile_version = ?2, display_name = ?3, status = ?4, bio = ?5
             WHERE id = ?1 AND profile_version < ?2",
            params![
                contact,
                i64::try_from(profile.version).unwrap_or(i64::MAX),
                profile.display_name,
                profile.status,
                profile.bio
            ],
        )?;
        if changed > 0 {
            self.event_contact(EventType::ContactProfile, contact);
        }
        Ok(())
    }

    /// Keeps the deposit token that a contact gave us.
    fn set_token_held(&mut self, contact: i64, token: &[u8; 32]) -> Result<(), StoreError> {
        self.conn.execute("UPDATE contacts SET token_held = ?2 WHERE id = ?1", params![contact, &token[..]])?;
        Ok(())
    }

    /// Applies the contact rules to a wish of the user, executes their effects, and answers them. `text` goes with a
    /// request.
    ///
    /// # Errors
    /// What the rules forbid ([`StoreError::Contact`]), and those of the database.
    pub fn contact_wish(&mut self, contact: i64, event: Event, text: &str) -> Result<Vec<Effect>, StoreError> {
        let row = load(self.conn, contact)?;
        self.contact_step(&row, event, text)
    }

    /// Applies the contact rules to a card, an answer or a removal that came from the contact under a message id. The card's
    /// token is kept if the card is its sender's newest word, and an answer to something that was asked.
    ///
    /// # Errors
    /// Those of the database; what does not fit is ignored.
    pub fn contact_signal(
        &mut self,
        contact: i64,
        kind: Kind,
        id: MessageId,
        text: &str,
        token: Option<&[u8; 32]>,
    ) -> Result<Vec<Effect>, StoreError> {
        let row = load(self.conn, contact)?;
        let message = match kind {
            Kind::ContactRequest => ContactMessage::Request,
            Kind::ContactAccept => ContactMessage::Accept,
            Kind::ContactReject => ContactMessage::Reject,
            Kind::ContactRemove => ContactMessage::Remove,
            _ => return Ok(Vec::new()),
        };
        if row.state.blocked {
            return Ok(Vec::new());
        }
        let mut ids = row.ids;
        let heard = ids.hear(message, id);
        self.set_ids(contact, &ids)?;
        let Some(event) = heard else { return Ok(Vec::new()) };
        if event == (Event::RequestArrives { repeated: false }) {
            self.conn.execute(
                "UPDATE contacts SET request_text = ?2, request_at = ?3 WHERE id = ?1",
                params![contact, text, self.now.0],
            )?;
        }
        let effects = self.contact_step(&row, event, text)?;
        let asked = match event {
            Event::RequestArrives { .. } => true,
            Event::AcceptArrives { .. } => load(self.conn, contact)?.state.may_talk(),
            _ => false,
        };
        if let Some(token) = token.filter(|_| asked) {
            self.set_token_held(contact, token)?;
        }
        Ok(effects)
    }

    fn contact_step(&mut self, row: &ContactRow, event: Event, text: &str) -> Result<Vec<Effect>, StoreError> {
        let (state, effects) = contact::step(row.state, event)?;
        self.conn.execute("UPDATE contacts SET state = ?2 WHERE id = ?1", params![row.id, state_number(state)])?;
        for effect in &effects {
            self.effect(row, event, *effect, text)?;
        }
        if event == Event::UserUnblocks && super::signals::waits(self.conn, row.id, Kind::ContactRequest)? {
            // The block made the token on our request's card worthless.
            self.ensure_token(row.id)?;
        }
        self.wake_delivery(row.id);
        Ok(effects)
    }

    fn effect(&mut self, row: &ContactRow, event: Event, effect: Effect, text: &str) -> Result<(), StoreError> {
        let contact = row.id;
        match effect {
            Effect::SendRequest => {
                self.ensure_token(contact)?;
                self.contact_message(contact, Kind::ContactRequest, ContactMessage::Request, text.as_bytes())?;
                self.conn.execute(
                    "UPDATE contacts SET request_text = '', request_at = ?2 WHERE id = ?1",
                    params![contact, self.now.0],
                )?;
            }
            Effect::SendAccept => {
                self.ensure_token(contact)?;
                self.drop_signals(contact, Kind::ContactReject)?;
                self.contact_message(contact, Kind::ContactAccept, ContactMessage::Accept, b"")?;
            }
            Effect::SendReject => self.contact_message(contact, Kind::ContactReject, ContactMessage::Reject, b"")?,
            Effect::SendRemove => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                self.drop_signals(contact, Kind::ContactAccept)?;
                self.contact_message(contact, Kind::ContactRemove, ContactMessage::Remove, b"")?;
            }
            Effect::AnnounceRequest => self.event_contact(EventType::ContactRequest, contact),
            Effect::AnnounceAccepted => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                self.event_contact(EventType::ContactAccepted, contact);
                // The profile goes along with the start of a contact, whichever side asked.
                let profile = super::account::own_profile(self.conn)?;
                if profile.version > 0 {
                    self.queue_profile(contact, &profile)?;
                }
            }
            Effect::AnnounceRejected => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                let kind =
                    if event == Event::RemoveArrives { EventType::ContactRemoved } else { EventType::ContactRejected };
                self.event_contact(kind, contact);
            }
            Effect::ReleaseQueued => self.wake_delivery(contact),
            Effect::RejectQueued => {
                let cause = match event {
                    Event::UserBlocks => "blocked",
                    Event::UserRemoves => "contact_removed",
                    Event::RemoveArrives => "removed_by_peer",
                    _ => "request_rejected",
                };
                self.reject_queued(contact, cause)?;
                // Only contacts are told these.
                self.drop_signals(contact, Kind::Receipt)?;
                self.drop_signals(contact, Kind::Profile)?;
            }
            Effect::RevokeToken => {
                self.conn.execute("UPDATE contacts SET token_given = NULL WHERE id = ?1", [contact])?;
                // A card without a token is none.
                self.drop_signals(contact, Kind::ContactAccept)?;
            }
        }
        Ok(())
    }

    fn set_ids(&mut self, contact: i64, ids: &ContactIds) -> Result<(), StoreError> {
        self.conn.execute("UPDATE contacts SET ids = ?2 WHERE id = ?1", params![contact, &ids.to_bytes()[..]])?;
        Ok(())
    }

    /// Queues a message of the contact protocol under the id that its place in the exchange asks for.
    fn contact_message(
        &mut self,
        contact: i64,
        kind: Kind,
        message: ContactMessage,
        payload: &[u8],
    ) -> Result<(), StoreError> {
        let mut ids = load(self.conn, contact)?.ids;
        let id = ids.send(message, MessageId::now());
        self.set_ids(contact, &ids)?;
        self.queue_signal(contact, kind, id, payload)?;
        Ok(())
    }

    fn ensure_token(&mut self, contact: i64) -> Result<(), StoreError> {
        let token = DepositToken::generate().map_err(|_| StoreError::Damaged("random numbers"))?;
        self.conn.execute(
            "UPDATE contacts SET token_given = coalesce(token_given, ?2) WHERE id = ?1",
            params![contact, &token.as_bytes()[..]],
        )?;
        Ok(())
    }
}
