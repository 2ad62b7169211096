//! Where a contact is: the reach that is stored, or a newer one from the directory.

use std::net::{IpAddr, SocketAddr};

use proto::directory::api::ErrorCode;
use proto::directory::{SignedReach, SignedRecord};
use proto::ids::NodeId;

use super::Context;
use crate::directory::DirectoryError;
use crate::link::{LinkError, LinkSender};
use crate::policy::dial::{DialContext, Source, may_dial};
use crate::store::ContactRow;
use crate::store::{StoreError, contacts};

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReachError {
    #[error("no address of it is known")]
    Unknown,
    #[error("none of its addresses may be dialled from here")]
    Forbidden,
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What to ask the directory for before dialling.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refresh {
    pub reach: bool,
    pub record: bool,
}

/// Finds a contact's node and gets a link to it.
pub(super) async fn connect(
    context: &Context,
    contact: i64,
    bearer: Option<String>,
    refresh: Refresh,
) -> Result<(NodeId, LinkSender), ReachError> {
    let mut row = context.store.read(move |conn| contacts::load(conn, contact)).await?;
    if refresh.record {
        refresh_record(context, &row, bearer.as_deref()).await?;
    }
    if refresh.reach || row.reach.is_empty() {
        refresh_reach(context, &row, bearer.as_deref()).await?;
        row = context.store.read(move |conn| contacts::load(conn, contact)).await?;
    }
    let reach = SignedReach::decode(&row.reach).and_then(|signed| signed.peek()).map_err(|_| ReachError::Unknown)?;
    let networks = own_networks();
    let rules = DialContext {
        source: Source::Directory { loopback: context.directory_is_local },
        allow_private: context.allow_private,
        networks: &networks,
    };
    let addresses: Vec<SocketAddr> = reach.addresses.iter().copied().filter(|a| may_dial(*a, &rules)).collect();
    if addresses.is_empty() && reach.node != context.node {
        return Err(ReachError::Forbidden);
    }
    let sender = context.table.get(reach.node, addresses).await?;
    Ok((reach.node, sender))
}

/// Asks the directory for a newer reach; failing to get one is no failure, the old one may still do.
async fn refresh_reach(context: &Context, row: &ContactRow, bearer: Option<&str>) -> Result<(), StoreError> {
    let Some(directory) = context.directories.of(&row.origin) else { return Ok(()) };
    // The token of a session is for the directory that gave it, and for no other.
    let bearer = bearer.filter(|_| context.directories.is_home(&row.origin));
    let mut found = directory.reach(row.account, bearer, row.token_held.as_ref()).await;
    if is_stale(&found, bearer) {
        found = directory.reach(row.account, None, row.token_held.as_ref()).await;
    }
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            tracing::debug!(%error, contact = %row.account, "no reach from the directory");
            return Ok(());
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
        context.store.write(move |tx| tx.take_reach(contact, &bytes)).await?;
    }
    Ok(())
}

/// Asks the directory for a newer record, and takes it if the pinned key vouches for it. `false`: the directory says that
/// there is no such account any more.
pub(super) async fn refresh_record(
    context: &Context,
    row: &ContactRow,
    bearer: Option<&str>,
) -> Result<bool, StoreError> {
    let Some(directory) = context.directories.of(&row.origin) else { return Ok(true) };
    let bearer = bearer.filter(|_| context.directories.is_home(&row.origin));
    let mut found = directory.lookup_account(row.account, bearer).await;
    if is_stale(&found, bearer) {
        found = directory.lookup_account(row.account, None).await;
    }
    match found {
        Ok(found) => {
            let contact = row.id;
            context.store.write(move |tx| tx.take_record(contact, &found.record).map(drop)).await?;
            Ok(true)
        }
        Err(DirectoryError::NotFound) => Ok(false),
        Err(error) => {
            tracing::debug!(%error, contact = %row.account, "no record from the directory");
            Ok(true)
        }
    }
}

/// Whether the session of the token has ended: what anybody may know is asked for without it.
fn is_stale<T>(answer: &Result<T, DirectoryError>, bearer: Option<&str>) -> bool {
    bearer.is_some() && matches!(answer, Err(DirectoryError::Refused { code: ErrorCode::NotAllowed, .. }))
}

/// This host's addresses with their prefix lengths.
fn own_networks() -> Vec<(IpAddr, u8)> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let (address, mask) = (interface.address?, interface.netmask?);
            if let (Some(ip), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
                return Some((IpAddr::V4(ip.ip()), u32::from(mask.ip()).leading_ones() as u8));
            }
            let (ip, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
            Some((IpAddr::V6(ip.ip()), u128::from(mask.ip()).leading_ones() as u8))
        })
        .collect()
}
