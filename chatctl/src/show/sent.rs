//! How a message that was sent stands, in a sentence for its sender.

use proto::reason::Reason;
use proto::rpc::types::{MessageState, SendResult};
use proto::time::Timestamp;

use super::words::clock::clock;
use super::words::{argument, reasons};

/// How a message stands, for its sender; `since` is when the recipient was seen to go offline.
pub fn describe(result: &SendResult, who: &str, since: Option<Timestamp>) -> String {
    let id = result.id;
    let reason = result.reason.as_deref();
    match (result.state, reason.and_then(Reason::read).map(|said| said.reason)) {
        (MessageState::Delivered, _) => format!("delivered to {who}"),
        (MessageState::Read, _) => format!("read by {who}"),
        (MessageState::Mailboxed, _) => match since {
            Some(since) => format!("in {who}'s mailbox (offline since {})", clock(since)),
            None => format!("in {who}'s mailbox; it arrives when {who} is back"),
        },
        (MessageState::Sent, Some(Reason::AccountGone)) => format!(
            "sent to {who}, who gave the name up, or is gone: nobody confirms it. To give up on it: chatctl remove {}",
            argument(who)
        ),
        (MessageState::Sent, _) => format!("sent to {who}, not confirmed yet; chatctl trace {id}"),
        (MessageState::Rejected, _) => format!("refused by {who}"),
        (MessageState::Expired, _) => format!("expired; chatctl trace {id}"),
        (MessageState::Withdrawn, _) => format!("given up; chatctl trace {id}"),
        (MessageState::Queued, Some(Reason::AwaitingAcceptance)) => {
            format!("queued: waiting for {who} to accept your request")
        }
        (MessageState::Queued, Some(Reason::RecipientKeysExpired)) => {
            format!("queued: the keys of {who} are too old; it leaves once {who} was online again")
        }
        (MessageState::Queued, Some(Reason::SuiteWeaker)) => format!(
            "queued: {who} offers weaker encryption than before; to send all the same, compare the safety number: chatctl verify {}",
            argument(who)
        ),
        (MessageState::Queued, Some(Reason::PeerUnreachable)) => {
            format!("queued: {who} is unreachable, will retry; chatctl trace {id}")
        }
        (MessageState::Queued, Some(Reason::AccountGone)) => format!(
            "queued: {who} gave the name up, or is gone; it leaves only if that account comes back. To give up on it: \
             chatctl remove {}",
            argument(who)
        ),
        (MessageState::Queued, Some(Reason::KeyChanged)) => {
            format!("queued: the key of {who} changed; to compare it: chatctl verify {}", argument(who))
        }
        (MessageState::Queued, _) => match reason {
            Some(reason) => format!("queued: {}; chatctl trace {id}", reasons::words(reason)),
            None => format!("queued: {who} is unreachable, will retry; chatctl trace {id}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::MessageId;

    const AWAITING_ACCEPTANCE: &str = Reason::AwaitingAcceptance.as_str();

    fn result(state: MessageState, reason: Option<&str>) -> SendResult {
        SendResult { id: MessageId([7; 16]), state, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn what_is_said() {
        assert_eq!(describe(&result(MessageState::Delivered, None), "bob", None), "delivered to bob");
        assert_eq!(
            describe(&result(MessageState::Queued, None), "bob", None),
            "queued: bob is unreachable, will retry; chatctl trace 07070707-0707-0707-0707-070707070707"
        );
        let mailboxed = result(MessageState::Mailboxed, None);
        assert_eq!(describe(&mailboxed, "bob", None), "in bob's mailbox; it arrives when bob is back");
        let said = describe(&mailboxed, "bob", Some(Timestamp(1_760_000_000_000)));
        assert!(said.starts_with("in bob's mailbox (offline since "), "{said}");
        assert_eq!(
            describe(&result(MessageState::Queued, Some(AWAITING_ACCEPTANCE)), "bob", None),
            "queued: waiting for bob to accept your request"
        );
    }
}
