//! Profiles: one's own, and what contacts say of themselves.

use proto::wire::payload::Profile as Wire;

use super::account::Account;
use super::error::ServiceError;
use super::resolve::known;
use crate::model::ProfileRow;
use crate::store::account;
use crate::store::contacts::profiles;

/// `profile.show`: of somebody, or one's own.
///
/// # Errors
/// Nobody of that name.
pub(crate) async fn show(account: &Account, who: Option<&str>) -> Result<ProfileRow, ServiceError> {
    match who {
        Some(who) => Ok(known(account, who).await?.profile),
        None => Ok(account.store.read(account::own_profile).await?),
    }
}

/// `profile.set`: what is left out stays.
///
/// # Errors
/// A text over its limit.
pub(crate) async fn set(
    account: &Account,
    display_name: Option<String>,
    status: Option<String>,
    bio: Option<String>,
) -> Result<ProfileRow, ServiceError> {
    for (what, text, limit) in [
        ("display name", &display_name, Wire::MAX_DISPLAY_NAME_BYTES),
        ("status", &status, Wire::MAX_STATUS_BYTES),
        ("bio", &bio, Wire::MAX_BIO_BYTES),
    ] {
        let size = text.as_ref().map_or(0, String::len);
        if size > limit {
            return Err(ServiceError::InvalidText(format!("the {what} has {size} bytes; {limit} is the most")));
        }
    }
    let set = account
        .store
        .write(move |tx| profiles::set_profile(tx, display_name.as_deref(), status.as_deref(), bio.as_deref()));
    Ok(set.await?)
}
