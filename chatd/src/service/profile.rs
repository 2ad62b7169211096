//! Profiles: one's own, and what contacts say of themselves.

use proto::rpc::types::{Profile, ProfileSetParams, ProfileShowParams};
use proto::wire::payload::Profile as Wire;

use super::{Service, ServiceError};
use crate::model::Caller;
use crate::store::account;
use crate::store::contacts::profiles;

impl Service {
    /// `profile.show`.
    ///
    /// # Errors
    /// Nobody of that name.
    pub async fn profile_show(&self, caller: &Caller, params: ProfileShowParams) -> Result<Profile, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        match params.who {
            Some(who) => Ok(self.known(&account, &who).await?.profile.into()),
            None => Ok(account.store.read(account::own_profile).await?.into()),
        }
    }

    /// `profile.set`.
    ///
    /// # Errors
    /// A text over its limit.
    pub async fn profile_set(&self, caller: &Caller, params: ProfileSetParams) -> Result<Profile, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        for (what, text, limit) in [
            ("display name", &params.display_name, Wire::MAX_DISPLAY_NAME_BYTES),
            ("status", &params.status, Wire::MAX_STATUS_BYTES),
            ("bio", &params.bio, Wire::MAX_BIO_BYTES),
        ] {
            let size = text.as_ref().map_or(0, String::len);
            if size > limit {
                return Err(ServiceError::InvalidText(format!("the {what} has {size} bytes; {limit} is the most")));
            }
        }
        let row = account
            .store
            .write(move |tx| {
                profiles::set_profile(
                    tx,
                    params.display_name.as_deref(),
                    params.status.as_deref(),
                    params.bio.as_deref(),
                )
            })
            .await?;
        Ok(row.into())
    }
}
