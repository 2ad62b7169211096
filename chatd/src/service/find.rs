//! Finding the message that somebody means by what they typed.

use proto::rpc::types::{MessageFindParams, MessageFindResult};

use super::{Service, ServiceError};
use crate::model::Caller;
use crate::store::history::find::{self, MIN_DIGITS, Wanted};

impl Service {
    /// `message.find`.
    ///
    /// # Errors
    /// Nobody of that name; what is no id.
    pub async fn message_find(
        &self,
        caller: &Caller,
        params: MessageFindParams,
    ) -> Result<MessageFindResult, ServiceError> {
        let account = self.account_to_read(caller, params.account.as_deref())?;
        let Some(wanted) = Wanted::parse(&params.id) else {
            return Err(ServiceError::InvalidParams(format!(
                "{} is not a message id, the end of one ({MIN_DIGITS} digits at least), or last",
                params.id
            )));
        };
        let contact = match &params.who {
            Some(who) => Some(self.known(&account, who).await?.id),
            None => None,
        };
        let messages = account.store.read(move |conn| find::find(conn, &wanted, contact, params.own)).await?;
        Ok(MessageFindResult { messages: messages.into_iter().map(Into::into).collect() })
    }
}
