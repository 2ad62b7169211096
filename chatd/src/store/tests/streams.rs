//! Streams made by hand, with holes and skips, as a sender of another store would make them.

use proto::ids::{ConversationId, Epoch, MessageId, sha256};
use proto::wire::envelope::Core;
use proto::wire::payload::{Kind, Skip};

use crate::store::tests::fixture::{Person, text_payload};

/// A part of a stream made by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// A text whose body is its seq.
    Text,
    /// Never sent.
    Lost,
    /// Takes the seq, and names this many before it.
    Skip(u64),
}

/// A stream from seq 1 on: each core with its seq, hashes linked as a sender makes them.
pub(crate) fn stream(from: &Person, to: &Person, epoch: u8, links: &[Link]) -> Vec<(u64, Vec<u8>)> {
    let mut prev = [0; 32];
    let mut out = Vec::new();
    for (seq, link) in (1..).zip(links) {
        let payload = match link {
            Link::Text | Link::Lost => text_payload(&seq.to_string()),
            Link::Skip(count) => Skip { low: seq - count, high: seq - 1, reason: "expired" }.encode(),
        };
        let kind = if matches!(link, Link::Skip(_)) { Kind::Skip } else { Kind::Text };
        let mut id = [epoch; 16];
        id[8..].copy_from_slice(&seq.to_be_bytes());
        let core = Core {
            from: from.account,
            from_device: from.device_id(),
            conversation: ConversationId::direct(from.account, to.account),
            to: to.account,
            id: MessageId(id),
            epoch: Epoch([epoch; 8]),
            seq,
            prev,
            time: 1_700_000_000_000,
            kind: kind.as_str(),
            payload: &payload,
        }
        .encode();
        prev = sha256(&[&core]);
        if *link != Link::Lost {
            out.push((seq, core));
        }
    }
    out
}
