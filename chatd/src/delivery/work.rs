//! A request that was refused for want of work is sealed anew, stamped, and sent.

use proto::wire::MAX_TTL_SECONDS;
use proto::wire::frame::Frame;
use proto::wire::payload::Kind;

use super::context::Context;
use super::core::event::RouteKey;
use super::open_link::OpenLink;
use super::sealer::{SealError, next_number, sender, target};
use super::stamp::stamped;
use crate::crypto::envelope::seal;
use crate::store::delivery::control;
use crate::store::{account, peers};

/// Seals the request that waits for a contact anew, with work, and sends it; its number. `None`: no request waits.
pub(super) async fn run(
    context: Context,
    key: RouteKey,
    link: OpenLink,
    (bits, window): (u8, u64),
) -> Result<Option<u64>, SealError> {
    let contact = key.peer;
    tracing::info!(often = "work", %contact, bits, "the peer's lane for strangers is full: doing work");
    let now = context.clock.trusted_or_local_now();
    let read = context.store.read_blocking(|conn| {
        let row = peers::load(conn, contact)?;
        let request = control::waiting(conn, contact, now * 1_000)?;
        let request = request.into_iter().find(|signal| signal.kind == Kind::ContactRequest);
        Ok(request.filter(|_| !row.state.blocked).map(|request| (row, request, account::own_card(conn))))
    })?;
    let Some((row, request, card)) = read else { return Ok(None) };
    let card = card?;
    let to = target(&row, key.device, now)?;
    let outer = seal(&sender(&context, &card), &to, Vec::new(), &[&request.core], MAX_TTL_SECONDS)?;
    let outer = stamped(outer, bits, window).await?;
    let number = next_number();
    link.sender.send(Frame::Envelope { number, outer }).await.map_err(|_| SealError::Link)?;
    Ok(Some(number))
}
