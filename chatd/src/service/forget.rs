//! `message.forget`: deletes messages of a conversation, in slices between which others are served.

use proto::rpc::types::{ForgetParams, ForgetResult};

use super::{Service, ServiceError};
use crate::model::Caller;
use crate::store::history::forget;

impl Service {
    /// `message.forget`. What waits for its recipient stays.
    ///
    /// # Errors
    /// Nobody of that name; those of the store, and then a part may be gone already.
    pub async fn message_forget(&self, caller: &Caller, params: ForgetParams) -> Result<ForgetResult, ServiceError> {
        let account = self.account(caller, params.account.as_deref())?;
        let contact = self.known(&account, &params.who).await?.id;
        let mut forgotten = 0;
        loop {
            let slice = account.store.write(move |tx| forget::forget(tx, contact, params.before)).await?;
            forgotten += slice.messages;
            if !slice.more {
                return Ok(ForgetResult { forgotten });
            }
        }
    }
}
