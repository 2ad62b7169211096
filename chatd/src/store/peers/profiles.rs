//! What a peer says of itself.

use rusqlite::params;

use crate::model::ids::PeerId;
use crate::model::{ContactChange, ProfileRow};
use crate::store::engine::emit;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;

/// Keeps what a contact says of itself, if it is newer.
pub fn set_contact_profile(tx: &mut Tx<'_>, contact: PeerId, profile: &ProfileRow) -> Result<(), StoreError> {
    let changed = tx.conn.execute(
        "UPDATE peers SET profile_version = ?2, display_name = ?3, status = ?4, bio = ?5
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
        emit::contact(tx, ContactChange::Profile, contact);
    }
    Ok(())
}
