//! Who is in the account's directory.

use proto::directory::api::{ErrorCode, User as Entry, UsersQuery};

use crate::directory::DirectoryError;
use crate::model::{Page, User};
use crate::service::account::Account;
use crate::service::error::ServiceError;
use crate::store::StoreError;
use crate::store::peers;

/// `directory.users`.
///
/// # Errors
/// No directory, or what it answers.
pub(crate) async fn users(account: &Account, query: UsersQuery) -> Result<Page<User>, ServiceError> {
    let Some(client) = &account.directory else {
        return Err(ServiceError::NotFound(format!("{} has no directory to look in", account.row().name)));
    };
    let bearer = account.session().bearer;
    let page = match client.users(&query, bearer.as_deref()).await {
        // The session may have ended a moment ago, with the machine that it was with, and begin again at another.
        Err(DirectoryError::Refused { code: ErrorCode::NotAllowed, .. }) if account.is_running() => {
            client.users(&query, account.another_session(bearer).await.as_deref()).await
        }
        page => page,
    };
    let page = match page {
        // It does not know who asks: what it says of members would be no help.
        Err(DirectoryError::Refused { .. }) if !account.is_running() => {
            return Err(ServiceError::LoggedOut(account.row().name));
        }
        page => page?,
    };
    let next = page.next;
    let read = account.store.read(move |conn| {
        let user = |user: Entry| -> Result<User, StoreError> {
            let known = peers::by_account(conn, user.account)?;
            Ok(User {
                is_contact: known.is_some_and(|row| row.state.may_talk()),
                name: user.name.as_str().to_owned(),
                account: user.account,
                online: user.online,
            })
        };
        page.users.into_iter().map(user).collect::<Result<Vec<User>, _>>()
    });
    Ok(Page { entries: read.await?, next })
}
