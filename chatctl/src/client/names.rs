//! How calls name people. Between calls of one run, people go by their account: a name may be somebody else's a moment
//! later.

use proto::ids::AccountId;
use proto::who::Who;

/// How a call names an account, whatever it is called.
pub fn by_id(account: AccountId) -> String {
    Who::Id(account).to_string()
}
