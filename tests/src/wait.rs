//! Waiting by asking.

use std::future::Future;
use std::time::{Duration, Instant};

/// Everything that a test waits for has to happen within this, unless it says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(30);
/// Time between two questions: short beside what a user notices, long beside what an answer costs.
const INTERVAL: Duration = Duration::from_millis(20);

/// Asks until `question` answers with something, at most for [`DEADLINE`].
///
/// # Panics
/// At the deadline, saying `what` was waited for.
pub async fn wait_until<T, F>(what: &str, question: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    wait_within(DEADLINE, what, question).await
}

/// The same with a deadline of one's own.
///
/// # Panics
/// At the deadline, saying `what` was waited for.
pub async fn wait_within<T, F>(deadline: Duration, what: &str, question: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    match try_wait(deadline, question).await {
        Some(answer) => answer,
        None => panic!("waited {deadline:?} for: {what}"),
    }
}

/// The same; `None` at the deadline.
pub async fn try_wait<T, F>(deadline: Duration, mut question: impl FnMut() -> F) -> Option<T>
where
    F: Future<Output = Option<T>>,
{
    let since = Instant::now();
    loop {
        if let Some(answer) = question().await {
            return Some(answer);
        }
        if since.elapsed() > deadline {
            return None;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Asks a yes-or-no question that blocks (a `chatctl` run, a look at a file) until it says yes.
///
/// # Panics
/// At [`DEADLINE`], saying `what` was waited for.
#[track_caller]
pub fn wait_for(what: &str, mut question: impl FnMut() -> bool) {
    let since = Instant::now();
    while !question() {
        assert!(since.elapsed() < DEADLINE, "waited {DEADLINE:?} for: {what}");
        std::thread::sleep(INTERVAL);
    }
}

/// Whether times are judged, too: in `cargo xtask torture`, on a machine that does nothing else. In the suite they hold nothing:
/// it judges states, counts and bytes.
pub fn times_are_judged() -> bool {
    std::env::var_os("CHATD_TORTURE").is_some()
}
