//! People: rows of contacts and their conversations, and what the contact rules' effects do to the store.

use proto::directory::record::SignedRecord;
use proto::ids::{AccountId, ConversationId, DeviceId};
use proto::rpc::event::EventType;
use proto::rpc::types::{Contact, ContactState as Shown, Profile, Trust};
use proto::time::Timestamp;
use proto::wire::payload::Kind;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{StoreError, Tx};
use crate::crypto::safety::fingerprint;
use crate::crypto::token::DepositToken;
use crate::model::{ContactRow, ProfileRow};
use crate::policy::contact::{self, ContactEvent, ContactState, Effect};

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

const COLUMNS: &str = "c.id, c.account, v.conversation, c.name, c.origin, c.label, c.state, c.trust, c.confirmed,
  v.muted_until, c.record, c.record_seq, c.identity_key, c.reach, c.reach_seq, c.token_given, c.token_held,
  c.request_text, c.request_at, v.unread, v.read_upto, c.profile_version, c.display_name, c.status, c.bio
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
        state: ContactState::from_bits(row.get::<_, i64>(6)? as u8),
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
        unread: row.get::<_, i64>(19)? as u64,
        read_upto: row.get(20)?,
        profile: ProfileRow {
            version: row.get::<_, i64>(21)? as u64,
            display_name: row.get(22)?,
            status: row.get(23)?,
            bio: row.get(24)?,
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

/// A person by the owner's label, else by name and origin (`home` for a name without a domain).
///
/// # Errors
/// Those of the database.
pub fn find(conn: &Connection, who: &str, home: &str) -> Result<Option<ContactRow>, StoreError> {
    let labelled = conn
        .prepare_cached(&format!("SELECT {COLUMNS} WHERE c.label = ?1"))?
        .query_row([who], from_row)
        .optional()?;
    if labelled.is_some() {
        return Ok(labelled);
    }
    let (name, origin) = who.split_once('@').unwrap_or((who, home));
    Ok(conn
        .prepare_cached(&format!("SELECT {COLUMNS} WHERE c.name = ?1 AND c.origin = ?2 ORDER BY c.id DESC LIMIT 1"))?
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

/// A contact's device: the contact's local number and the device's signing key.
///
/// # Errors
/// Those of the database.
pub fn by_device(conn: &Connection, device: DeviceId) -> Result<Option<(i64, [u8; 32])>, StoreError> {
    let found: Option<(i64, Vec<u8>)> = conn
        .prepare_cached("SELECT contact, key FROM contact_devices WHERE device = ?1")?
        .query_row([device.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.and_then(|(contact, key)| Some((contact, key.try_into().ok()?))))
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
    if row.state.is_blocked() {
        Some("blocked")
    } else if !row.state.is_accepted() {
        Some("awaiting_acceptance")
    } else if row.trust == Trust::Changed {
        Some("key_changed")
    } else {
        None
    }
}

/// The contact as clients see it. Presence is not stored; the caller adds it.
pub fn to_rpc(row: &ContactRow, home: &str) -> Contact {
    let state = if row.state.is_accepted() {
        Shown::Accepted
    } else if row.state.is_pending() {
        Shown::Pending
    } else if row.state.is_requested() {
        Shown::Requested
    } else if row.state.is_rejected_by_them() {
        Shown::Rejected
    } else {
        Shown::Removed
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
        blocked: row.state.is_blocked(),
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

impl Tx<'_> {
    /// Remembers a person, or brings what is known of one up to date; answers the local number. Never changes a pin.
    ///
    /// # Errors
    /// Those of the database.
    pub fn upsert_contact(&mut self, new: &NewContact) -> Result<i64, StoreError> {
        if let Some(row) = by_account(self.conn, new.account)? {
            self.update_record(row.id, &new.record, new.record_seq, new.confirmed)?;
            self.update_reach(row.id, &new.reach, new.reach_seq)?;
            return Ok(row.id);
        }
        let own = self.own()?;
        let conversation = ConversationId::direct(own.id, new.account);
        self.conn.execute(
            "INSERT INTO conversations (conversation, kind) VALUES (?1, 0)",
            [conversation.as_bytes()],
        )?;
        let id = self.conn.last_insert_rowid();
        self.conn.execute(
            "INSERT INTO contacts (id, account, name, origin, state, trust, confirmed, record, record_seq, identity_key,
               reach, reach_seq, request_text, profile_version, display_name, status, bio)
             VALUES (?1, ?2, ?3, ?4, 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, '', 0, '', '', '')",
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
        self.conn.execute("DELETE FROM contact_devices WHERE contact = ?1", [contact])?;
        for device in &record.devices {
            // A device key that another contact claims too stays with whoever had it first.
            self.conn.execute(
                "INSERT OR IGNORE INTO contact_devices (device, contact, key) VALUES (?1, ?2, ?3)",
                params![device.id.as_bytes(), contact, &device.key[..]],
            )?;
        }
        Ok(())
    }

    /// Keeps a newer record of a contact whose identity key is the pinned one.
    ///
    /// # Errors
    /// Those of the database.
    pub fn update_record(&mut self, contact: i64, record: &[u8], seq: u64, confirmed: bool) -> Result<(), StoreError> {
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
    ///
    /// # Errors
    /// Those of the database.
    pub fn update_reach(&mut self, contact: i64, reach: &[u8], seq: u64) -> Result<(), StoreError> {
        self.conn
            .prepare_cached("UPDATE contacts SET reach = ?2, reach_seq = ?3 WHERE id = ?1 AND reach_seq < ?3")?
            .execute(params![contact, reach, seq as i64])?;
        Ok(())
    }

    /// Pins another identity key, with the trust that goes with it, and tells.
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_key(&mut self, contact: i64, identity_key: &[u8; 32], trust: Trust) -> Result<(), StoreError> {
        self.conn.execute("UPDATE contacts SET identity_key = ?2 WHERE id = ?1", params![contact, &identity_key[..]])?;
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
    ///
    /// # Errors
    /// Those of the database.
    pub fn set_token_held(&mut self, contact: i64, token: &[u8; 32]) -> Result<(), StoreError> {
        self.conn.execute("UPDATE contacts SET token_held = ?2 WHERE id = ?1", params![contact, &token[..]])?;
        Ok(())
    }

    /// Applies the contact rules to an event, executes their effects, and answers them. `text` goes with a request.
    ///
    /// # Errors
    /// What the rules forbid ([`StoreError::Contact`]), and those of the database.
    pub fn contact_event(&mut self, contact: i64, event: ContactEvent, text: &str) -> Result<Vec<Effect>, StoreError> {
        let row = load(self.conn, contact)?;
        let (state, effects) = contact::step(row.state, event)?;
        self.conn
            .execute("UPDATE contacts SET state = ?2 WHERE id = ?1", params![contact, i64::from(state.to_bits())])?;
        if matches!(event, ContactEvent::UserAdds | ContactEvent::RequestArrives) && state != row.state {
            self.conn.execute(
                "UPDATE contacts SET request_text = ?2, request_at = ?3 WHERE id = ?1",
                params![contact, if event == ContactEvent::RequestArrives { text } else { "" }, self.now.0],
            )?;
        }
        for effect in &effects {
            self.effect(&row, *effect, text)?;
        }
        self.wake_delivery(contact);
        Ok(effects)
    }

    fn effect(&mut self, row: &ContactRow, effect: Effect, text: &str) -> Result<(), StoreError> {
        let contact = row.id;
        match effect {
            Effect::SendRequest | Effect::SendAccept => {
                let token = DepositToken::generate().map_err(|_| StoreError::Damaged("random numbers"))?;
                self.conn.execute(
                    "UPDATE contacts SET token_given = coalesce(token_given, ?2) WHERE id = ?1",
                    params![contact, &token.as_bytes()[..]],
                )?;
                if effect == Effect::SendRequest {
                    return self.queue_signal(contact, Kind::ContactRequest, text.as_bytes());
                }
                self.drop_signals(contact, Kind::ContactReject)?;
                self.queue_signal(contact, Kind::ContactAccept, b"")?;
                let profile = super::account::own_profile(self.conn)?;
                if profile.version > 0 { self.queue_profile(contact, &profile) } else { Ok(()) }
            }
            Effect::SendReject => self.queue_signal(contact, Kind::ContactReject, b""),
            Effect::SendRemove => self.queue_signal(contact, Kind::ContactRemove, b""),
            Effect::AnnounceRequest => {
                self.event_contact(EventType::ContactRequest, contact);
                Ok(())
            }
            Effect::AnnounceAccepted => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                self.event_contact(EventType::ContactAccepted, contact);
                // The profile goes along with the start of a contact, whichever side asked.
                let profile = super::account::own_profile(self.conn)?;
                if profile.version > 0 { self.queue_profile(contact, &profile) } else { Ok(()) }
            }
            Effect::AnnounceRejected => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                self.event_contact(EventType::ContactRejected, contact);
                Ok(())
            }
            Effect::AnnounceRemoved => {
                self.event_contact(EventType::ContactRemoved, contact);
                Ok(())
            }
            Effect::ReleaseQueued => {
                self.wake_delivery(contact);
                Ok(())
            }
            Effect::RejectQueued => {
                self.drop_signals(contact, Kind::ContactRequest)?;
                self.reject_queued(contact, "refused_by_peer")
            }
            Effect::RevokeToken => {
                self.conn.execute("UPDATE contacts SET token_given = NULL WHERE id = ?1", [contact])?;
                Ok(())
            }
        }
    }
}
