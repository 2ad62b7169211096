//! Where a contact is: the reach that is stored, or a newer one from the directory.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use daemonkit::chain::chain;
use proto::directory::api::ErrorCode;
use proto::directory::{SignedReach, SignedRecord};
use proto::ids::{DeviceId, NodeId};
use proto::reason::Reason;
use tokio::time::timeout;

use super::context::Context;
use super::core::effect::Refresh;
use super::core::event::{Dialled, RouteKey};
use super::sealer::devices_of;
use crate::directory::{DirectoryError, RelayPlace, own_networks};
use crate::link::{AGAIN, LinkError, LinkSender, PeerTable, Relay, Way};
use crate::model::Outcome;
use crate::model::ids::PeerId;
use crate::policy::dial::{DialContext, Source, may_dial};
use crate::store::peers::{self, trust};
use crate::store::{ContactRow, StoreError};

/// A dial that takes longer may go to where nobody is any more: meanwhile, the directory is asked. Longer than a dial half around the
/// world takes.
const BESIDE: Duration = Duration::from_millis(700);

/// For as long as a dial may take.
const SEARCH: Duration = Duration::from_secs(10);

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum ReachError {
    #[error("its directory knows no such account")]
    Gone,
    #[error("its directory asks to wait {} s", .0.as_secs())]
    Asked(Duration),
    #[error("no address of it is known")]
    Unknown,
    #[error("none of its addresses may be dialled from here")]
    Forbidden,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a directory said of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// What it knows was taken, or there is nobody to ask, or it was of no use.
    Enough,
    /// It knows no such account.
    Gone,
    /// It was asked too much.
    Wait(Duration),
}

impl Said {
    fn of(error: &DirectoryError) -> Self {
        match error {
            DirectoryError::RateLimited { retry_after } => Self::Wait(*retry_after),
            _ => Self::Enough,
        }
    }

    /// What a dial that failed means after that.
    fn explain(self, error: ReachError) -> ReachError {
        match (self, error) {
            (_, ReachError::Store(error)) => ReachError::Store(error),
            (Self::Gone, _) => ReachError::Gone,
            (Self::Wait(pause), _) => ReachError::Asked(pause),
            (Self::Enough, error) => error,
        }
    }
}

/// Finds a device's node and gets a link to it: which devices what waits is owed to, and what became of the dial.
pub(super) async fn run(
    context: &Context,
    key: RouteKey,
    bearer: Option<String>,
    refresh: Refresh,
) -> (Vec<DeviceId>, Dialled) {
    let mut devices = Vec::new();
    let dialled = match connect(context, key, bearer.as_deref(), refresh, &mut devices).await {
        Ok(link) => Dialled::Reached(link),
        Err(ReachError::Gone) => Dialled::Gone,
        Err(error) => {
            tracing::debug!(contact = %key.peer, %error, "not reached");
            let wait = if let ReachError::Asked(pause) = &error { Some(*pause) } else { None };
            Dialled::Failed { wait, outcome: Outcome::failed_with(Reason::PeerUnreachable, &error) }
        }
    };
    (devices, dialled)
}

async fn connect(
    context: &Context,
    key: RouteKey,
    bearer: Option<&str>,
    refresh: Refresh,
    devices: &mut Vec<DeviceId>,
) -> Result<u64, ReachError> {
    let row = context.store.read(move |conn| peers::load(conn, key.peer)).await?;
    let mut said = Said::Enough;
    if refresh.record {
        said = refresh_record(context, &row, bearer).await?;
    }
    *devices = devices_of(&row, context.clock.trusted_or_local_now());
    // Whatever it said: who gave a name up may still be where they were.
    let mut first = pin!(link_to(context, &row));
    if said != Said::Enough {
        return first.await.map(|link| link.link_id()).map_err(|error| said.explain(error));
    }
    if !refresh.reach
        && !row.reach.is_empty()
        && let Ok(linked) = timeout(BESIDE, &mut first).await
    {
        return Ok(linked?.link_id());
    }
    // A dial goes to where it was last; where it is now is asked beside it, and tried beside it.
    let mut asked = pin!(async {
        let said = refresh_reach(context, &row, bearer).await?;
        let row = context.store.read(move |conn| peers::load(conn, key.peer)).await?;
        Ok::<_, StoreError>((said, row))
    });
    let mut failed = None;
    let (said, now) = loop {
        tokio::select! {
            biased;
            asked = &mut asked => break asked?,
            linked = &mut first, if failed.is_none() => match linked {
                Ok(link) => return Ok(link.link_id()),
                Err(error) => failed = Some(error),
            },
        }
    };
    *devices = devices_of(&now, context.clock.trusted_or_local_now());
    let linked = match failed {
        Some(error) if now.reach == row.reach => Err(error),
        None if now.reach == row.reach => first.await,
        Some(_) => link_to(context, &now).await,
        None => either(first, pin!(link_to(context, &now))).await,
    };
    linked.map(|link| link.link_id()).map_err(|error| said.explain(error))
}

/// The first of two ways that works.
async fn either<T, E>(
    mut first: Pin<&mut impl Future<Output = Result<T, E>>>,
    mut second: Pin<&mut impl Future<Output = Result<T, E>>>,
) -> Result<T, E> {
    tokio::select! {
        done = &mut first => match done {
            Ok(done) => Ok(done),
            Err(_) => second.await,
        },
        done = &mut second => match done {
            Ok(done) => Ok(done),
            Err(_) => first.await,
        },
    }
}

/// A link to a contact: one that is open, or one that is dialled where it was last, or where its directory says that it is now.
///
/// # Errors
/// Why there is none, in words.
pub async fn reach(context: &Context, peer: PeerId, bearer: Option<&str>) -> Result<LinkSender, String> {
    let found = async {
        let row = context.store.read(move |conn| peers::load(conn, peer)).await?;
        match link_to(context, &row).await {
            Ok(link) => return Ok(link),
            Err(error) => tracing::debug!(contact = %peer, %error, "not where it was"),
        }
        let said = refresh_reach(context, &row, bearer).await?;
        let row = context.store.read(move |conn| peers::load(conn, peer)).await?;
        link_to(context, &row).await.map_err(|error| said.explain(error))
    };
    found.await.map_err(|error: ReachError| chain(&error))
}

async fn link_to(context: &Context, row: &ContactRow) -> Result<LinkSender, ReachError> {
    let reach = SignedReach::decode(&row.reach).and_then(|signed| signed.peek()).map_err(|_| ReachError::Unknown)?;
    let networks = own_networks();
    let rules = DialContext {
        source: Source::Directory { loopback: context.directory_is_local },
        allow_private: context.allow_private,
        networks: &networks,
    };
    let addresses: Vec<SocketAddr> = reach.addresses.iter().copied().filter(|a| may_dial(*a, &rules)).collect();
    // A peer says that it waits at a relay, and never where that is: it is the one of its directory.
    let relay = reach.relay.as_ref().and_then(|_| context.directories.of(&row.origin)?.relay()).map(relay_of);
    let is_near = context.table.is_near(reach.node) || reach.node == context.node;
    if addresses.is_empty() && relay.is_none() && !is_near {
        // It may have come to us, and told its directory later where it is.
        return context.table.open(reach.node).await.ok_or(ReachError::Forbidden);
    }
    Ok(search(&context.table, reach.node, Way { addresses, relay }).await?)
}

/// A link to a node, for which is asked again and again: the table begins new dials beside one that may have begun too early.
async fn search(table: &PeerTable, node: NodeId, way: Way) -> Result<LinkSender, LinkError> {
    let asks = async {
        loop {
            if let Ok(done) = timeout(AGAIN, table.get(node, way.clone())).await {
                return done;
            }
        }
    };
    timeout(SEARCH, asks).await.unwrap_or(Err(LinkError::DialTimeout(node)))
}

/// In the words of links.
pub(crate) fn relay_of(place: RelayPlace) -> Relay {
    let RelayPlace { url, address, discovery_port, trust } = place;
    Relay { url, address, discovery_port, trust }
}

/// Asks the directory for a newer reach; failing to get one is no failure, the old one may still do.
async fn refresh_reach(context: &Context, row: &ContactRow, bearer: Option<&str>) -> Result<Said, StoreError> {
    let Some(directory) = context.directories.of(&row.origin) else { return Ok(Said::Enough) };
    // The token of a session is for the directory that gave it, and for no other.
    let bearer = bearer.filter(|_| context.directories.is_home(&row.origin));
    let mut found = directory.reach(row.account, bearer, row.token_held.as_ref()).await;
    if is_stale(&found, bearer) {
        found = directory.reach(row.account, None, row.token_held.as_ref()).await;
    }
    let found = match found {
        Ok(found) => found,
        // Not for us, or not there at all: the record tells.
        Err(DirectoryError::NotFound) => return refresh_record(context, row, bearer).await,
        Err(error) => {
            tracing::debug!(%error, contact = %row.account, "no reach from the directory");
            return Ok(Said::of(&error));
        }
    };
    // A device that the known record does not name: it was restored from a backup, and has a new record.
    let strange = |row: &ContactRow| {
        let record = SignedRecord::decode(&row.record).and_then(|signed| signed.peek());
        let known = |bytes: &Vec<u8>| {
            let record = record.as_ref().ok()?;
            SignedReach::decode(bytes).and_then(|signed| signed.verify(record)).ok()
        };
        found.iter().any(|bytes| known(bytes).is_none())
    };
    if strange(row) {
        refresh_record(context, row, bearer).await?;
    }
    for bytes in found {
        let contact = row.id;
        context.store.write(move |tx| trust::take_reach(tx, contact, &bytes)).await?;
    }
    Ok(Said::Enough)
}

/// Asks the directory for a newer record, and takes it if the pinned key vouches for it.
pub(super) async fn refresh_record(
    context: &Context,
    row: &ContactRow,
    bearer: Option<&str>,
) -> Result<Said, StoreError> {
    let Some(directory) = context.directories.of(&row.origin) else { return Ok(Said::Enough) };
    let bearer = bearer.filter(|_| context.directories.is_home(&row.origin));
    let mut found = directory.lookup_account(row.account, bearer).await;
    if is_stale(&found, bearer) {
        found = directory.lookup_account(row.account, None).await;
    }
    match found {
        Ok(found) => {
            let contact = row.id;
            context.store.write(move |tx| trust::take_record(tx, contact, &found.record).map(drop)).await?;
            Ok(Said::Enough)
        }
        Err(DirectoryError::NotFound) => Ok(Said::Gone),
        Err(error) => {
            tracing::debug!(%error, contact = %row.account, "no record from the directory");
            Ok(Said::of(&error))
        }
    }
}

/// Whether the session of the token has ended: what anybody may know is asked for without it.
fn is_stale<T>(answer: &Result<T, DirectoryError>, bearer: Option<&str>) -> bool {
    bearer.is_some() && matches!(answer, Err(DirectoryError::Refused { code: ErrorCode::NotAllowed, .. }))
}
