//! `contact.ping`: whether a contact's daemon is there, and by which way.

use std::time::Duration;

use crate::delivery;
use crate::link::{LinkError, PathKind};
use crate::model::{Pong, Route};
use crate::policy::contact::Relation;
use crate::service::account::Account;
use crate::service::account::supervisor::delivery_context;
use crate::service::context::Service;
use crate::service::error::ServiceError;
use crate::service::resolve::known;
use crate::store::peers::names;

/// For the answer on a link that stands.
const PATIENCE: Duration = Duration::from_secs(5);
/// `contact.ping`.
///
/// # Errors
/// No contact, logged out, too often, no answer.
pub(crate) async fn ping(service: &Service, account: &Account, who: &str) -> Result<Pong, ServiceError> {
    let row = known(account, who).await?;
    let home = account.row().origin;
    let called = {
        let row = row.clone();
        account.store.read(move |conn| names::called(conn, &row, &home)).await?.form().to_owned()
    };
    if row.state.relation != Relation::Accepted || row.state.blocked {
        return Err(ServiceError::NotAContact(format!("{called} is no contact, and is not asked")));
    }
    if account.delivery().is_none() {
        return Err(ServiceError::LoggedOut(account.row().address()));
    }
    if let Err(over) = service.inner.pings.check(&row.account) {
        let seconds = over.0.as_secs() + 1;
        return Err(ServiceError::TooOften(format!("{called} was asked very often; try again in {seconds} s")));
    }
    let context = delivery_context(service, account, &account.row());
    let bearer = account.session().bearer;
    let reach = async || {
        let link = delivery::reach(&context, row.id, bearer.as_deref()).await;
        link.map_err(|why| ServiceError::Unanswered(format!("{called} is not reached: {why}")))
    };
    let mut link = reach().await?;
    let mut answer = link.ping(PATIENCE).await;
    if matches!(answer, Err(LinkError::Closed(_))) {
        // It has just ended, and says nothing of whether there can be another.
        link = reach().await?;
        answer = link.ping(PATIENCE).await;
    }
    let round_trip = answer.map_err(|error| match error {
        LinkError::Full => ServiceError::TooOften(format!("many are asking {called} already; try again in a moment")),
        error => ServiceError::Unanswered(format!("no answer from {called}: {error}")),
    })?;
    let (route, address) = match link.path().kind {
        PathKind::Direct(address) => (Route::Direct, Some(address.to_string())),
        PathKind::Relay(url) => (Route::Relayed, Some(url.trim_end_matches('/').to_owned())),
        PathKind::InProcess => (Route::Local, None),
        PathKind::None => return Err(ServiceError::Unanswered(format!("the link to {called} has just ended"))),
    };
    Ok(Pong { who: called, route, address, round_trip })
}
