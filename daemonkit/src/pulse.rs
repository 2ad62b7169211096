//! When systemd is told that a daemon is ready, and that it lives: once it has answered its own question, and again and again while
//! systemd waits for a sign of life.
//!
//! Not the job: how a daemon is asked, and what is done about one that does not answer. systemd ends it and starts another.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::notify::{self, State, notify};

/// A daemon that starts is given so long for one answer; then it is asked again.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// Between two questions to a daemon that starts.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Calls `ready` once `ask` has been answered, then tells systemd that the daemon is alive as long as it is, if systemd wants to know.
/// Ends never. `ask` fails with the reason, in words.
pub async fn watch(ask: impl AsyncFn() -> Result<(), String>, ready: impl FnOnce()) {
    while let Err(reason) = within(FIRST_ANSWER, &ask).await {
        tracing::warn!(often = "pulse", reason, "no answer to our own question yet");
        sleep(ASK_AGAIN).await;
    }
    ready();
    let Some(span) = notify::look_every() else { return std::future::pending().await };
    let mut due = interval(span);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        match within(span * 2, &ask).await {
            Ok(()) => notify(State::Alive),
            Err(reason) => {
                tracing::error!(reason, "no answer to our own question: systemd is not told that the daemon is alive");
            }
        }
    }
}

/// Asks, and waits so long for the answer.
///
/// # Errors
/// The reason, in words.
pub async fn within(limit: Duration, ask: impl AsyncFn() -> Result<(), String>) -> Result<(), String> {
    let answered = timeout(limit, ask()).await;
    answered.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs_f32())))
}
