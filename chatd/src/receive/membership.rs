//! Whose member somebody is who asks: what a record says of its origin proves nothing, a directory's word does.

use proto::directory::{ContactPolicy, Record, SignedMembership, SignedRecord};
use proto::ids::AccountId;
use rusqlite::Connection;

use super::Rules;
use crate::store::StoreError;
use crate::store::account::{self, domains};

/// What an account lets in: its policy, and its own domain.
pub(super) struct Door {
    policy: ContactPolicy,
    origin: String,
}

impl Door {
    /// As the account's own record has it.
    pub fn of(conn: &Connection) -> Result<Self, StoreError> {
        let card = account::own_card(conn)?;
        let record = SignedRecord::decode(&card.record).and_then(|record| record.peek());
        let (origin, policy) =
            record.map_or_else(|_| (String::new(), ContactPolicy::Members), |r| (r.origin, r.policy));
        Ok(Self { policy, origin })
    }

    /// Whether somebody of this proved domain may ask.
    pub fn lets_in(&self, domain: Option<&str>) -> bool {
        match self.policy {
            ContactPolicy::Open => true,
            // Who has no directory has no members either: there, whoever knows the address may ask.
            ContactPolicy::Members => self.origin.is_empty() || domain == Some(self.origin.as_str()),
            ContactPolicy::Invite | ContactPolicy::Closed => false,
        }
    }
}

impl Rules {
    /// The domain that an account is proved to be of by a statement that it shows: of the domain that its record says, by
    /// the key that this account knows that domain's directory by, about this very account, and of this day.
    pub(super) fn proved_domain(
        &self,
        conn: &Connection,
        (from, record): (AccountId, &Record),
        statement: &[u8],
    ) -> Result<Option<String>, StoreError> {
        if statement.is_empty() {
            return Ok(None);
        }
        let Some(key) = domains::key_of(conn, &record.origin)? else { return Ok(None) };
        let now = self.clock.trusted_or_local_now();
        let proved = SignedMembership::decode(statement).and_then(|s| s.verify(&key, &record.origin, from, now));
        if let Err(error) = &proved {
            tracing::info!(often = "membership", %from, origin = record.origin, %error, "who asks is a stranger");
        }
        Ok(proved.ok().map(|said| said.origin))
    }
}
