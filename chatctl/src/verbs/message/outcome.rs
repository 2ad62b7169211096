//! How far a sent message came: waiting for it, and the exit code that this ends with.

use std::time::Duration;

use proto::ids::MessageId;
use proto::reason::Reason;
use proto::rpc::client::Client;
use proto::rpc::methods::MessageWait;
use proto::rpc::types::{MessageState, SendResult, WaitParams};
use tokio::time::Instant;

use crate::failure::{Exit, Failure};
use crate::show::words::reasons;

/// The longest that one `message.wait` takes; longer waits are several.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// The reason of a message that waits for its recipient to become a contact.
pub const AWAITING_ACCEPTANCE: &str = Reason::AwaitingAcceptance.as_str();

/// Waits until the message is in `wanted` or a later state, or until the time is up; how it stands then.
pub async fn wait(
    client: &Client,
    account: Option<String>,
    id: MessageId,
    wanted: MessageState,
    timeout: Duration,
) -> Result<SendResult, Failure> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(LONGEST_WAIT);
        let timeout_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let params = WaitParams { account: account.clone(), id, state: wanted, timeout_ms };
        let result = client.call::<MessageWait>(&params).await?;
        // Milliseconds round down: less than one left is none.
        if result.state >= wanted || deadline <= Instant::now() + Duration::from_millis(1) {
            return Ok(result);
        }
    }
}

/// The end of a wait, as an exit code.
///
/// # Errors
/// 7 when the other side refused, 1 when the message expired, 6 when the time was up first.
pub fn judge(result: &SendResult, wanted: MessageState, who: &str, timeout: Duration) -> Result<Exit, Failure> {
    let because = result.reason.as_deref().map(|reason| format!(" ({})", reasons::words(reason))).unwrap_or_default();
    let (exit, text) = match result.state {
        MessageState::Rejected => (Exit::Refused, format!("{who} refused the message{because}")),
        MessageState::Expired => (Exit::Failed, format!("the message to {who} expired{because}")),
        MessageState::Withdrawn => (Exit::Failed, format!("the message to {who} was given up{because}")),
        state if state >= wanted => return Ok(Exit::Ok),
        state => {
            let text = format!(
                "not {} after {} s: the message to {who} is {}{because} and stays on its way",
                wanted.as_str(),
                timeout.as_secs(),
                state.as_str()
            );
            (Exit::TimedOut, text)
        }
    };
    Err(Failure::Other { exit, text, hint: Some(format!("chatctl trace {}", result.id)) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn result(state: MessageState, reason: Option<&str>) -> SendResult {
        SendResult { id: MessageId([7; 16]), state, reason: reason.map(str::to_owned) }
    }

    #[test]
    fn what_a_wait_ends_with() {
        use MessageState::{Delivered, Expired, Mailboxed, Queued, Read, Rejected, Sent, Withdrawn};
        let table = [
            (Queued, Queued, 0),
            (Sent, Queued, 0),
            (Queued, Delivered, 6),
            (Sent, Delivered, 6),
            (Mailboxed, Delivered, 6),
            (Delivered, Delivered, 0),
            (Read, Delivered, 0),
            (Delivered, Read, 6),
            (Read, Read, 0),
            (Rejected, Queued, 7),
            (Rejected, Read, 7),
            (Expired, Delivered, 1),
            (Withdrawn, Queued, 1),
        ];
        for (state, wanted, exit) in table {
            let got = judge(&result(state, None), wanted, "bob", Duration::from_secs(30));
            assert_eq!(got.unwrap_or_else(|failure| failure.exit()) as u8, exit, "{state:?} for {wanted:?}");
        }
        let late = judge(&result(Queued, Some(AWAITING_ACCEPTANCE)), Delivered, "bob", Duration::from_secs(30));
        assert_eq!(
            late.unwrap_err().to_string(),
            "not delivered after 30 s: the message to bob is queued (not accepted yet) and stays on its way"
        );
    }
}
