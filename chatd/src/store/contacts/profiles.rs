//! The own profile, which every contact is told.

use rusqlite::params;

use crate::model::ProfileRow;
use crate::store::account::own_profile;
use crate::store::delivery::control;
use crate::store::engine::tx::Tx;
use crate::store::error::StoreError;
use crate::store::peers;

/// Changes the own profile and queues it for every contact. What is `None` stays.
pub fn set_profile(
    tx: &mut Tx<'_>,
    display_name: Option<&str>,
    status: Option<&str>,
    bio: Option<&str>,
) -> Result<ProfileRow, StoreError> {
    tx.conn.execute(
        "UPDATE account SET profile_version = profile_version + 1, display_name = coalesce(?1, display_name),
           status = coalesce(?2, status), bio = coalesce(?3, bio)",
        params![display_name, status, bio],
    )?;
    let profile = own_profile(tx.conn)?;
    for contact in peers::all(tx.conn)? {
        if contact.state.may_talk() {
            control::queue_profile(tx, contact.id, &profile)?;
        }
    }
    Ok(profile)
}
