//! Stamps of work, for a lane of strangers that is full: made once for each refusal, on a thread of its own with the lowest
//! priority, one at a time in the whole process, for so long and no longer.

use std::time::{Duration, Instant};

use proto::wire::envelope::Outer;
use proto::wire::work::{MAX_WORK_BITS, solve};
use tokio::sync::{Semaphore, oneshot};

/// Processor time that a stamp may take, in seconds of one core; also what waiting for another one's may take.
pub(super) const WORK_TIME: Duration = Duration::from_secs(30);
/// One at a time: what is asked of us must not take more than a core.
static TURN: Semaphore = Semaphore::const_new(1);

/// Why a stamp was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoStamp {
    #[error("{0} bits of work are asked for, and {MAX_WORK_BITS} are the most that is done")]
    TooMuch(u8),
    #[error("the work that is asked for takes longer than {} s", WORK_TIME.as_secs())]
    TooLong,
    #[error("the envelope cannot be stamped")]
    Unusable,
}

/// An envelope with a stamp of so many bits.
pub(super) async fn stamped(outer: Vec<u8>, bits: u8, window: u64) -> Result<Vec<u8>, NoStamp> {
    if bits > MAX_WORK_BITS {
        return Err(NoStamp::TooMuch(bits));
    }
    let turn = tokio::time::timeout(WORK_TIME, TURN.acquire()).await;
    let Ok(Ok(turn)) = turn else { return Err(NoStamp::TooLong) };
    let (done, result) = oneshot::channel();
    // Not one of the pool's: a thread that has lowered its priority cannot raise it again.
    let work = move || {
        // Without it the work is done all the same, and the system shares out as it does.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), LOWEST);
        let began = Instant::now();
        let stamp = |outer: &[u8]| {
            let parsed = Outer::decode(outer).map_err(|_| NoStamp::Unusable)?;
            let go_on = || began.elapsed() < WORK_TIME && !done.is_closed();
            let work = solve(&parsed, bits, window, go_on).ok_or(NoStamp::TooLong)?;
            tracing::debug!(bits, took = ?began.elapsed(), "work was done");
            Ok(Outer { work: Some(work), ..parsed }.encode())
        };
        let result = stamp(&outer);
        let _ = done.send(result);
    };
    std::thread::Builder::new().name("work".into()).spawn(work).map_err(|_| NoStamp::Unusable)?;
    let result = result.await.unwrap_or(Err(NoStamp::Unusable));
    drop(turn);
    result
}

/// Nice, as `setpriority(2)` counts.
const LOWEST: i32 = 19;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proto::ids::{DeviceId, PrekeyId};
    use proto::wire::work::shown;

    use super::*;

    fn outer() -> Vec<u8> {
        let (to_device, prekey_id) = (DeviceId([1; 16]), PrekeyId([2; 8]));
        Outer { suite: 2, to_device, prekey_id, ttl: 60, ciphertext: b"age", work: None }.encode()
    }

    #[tokio::test]
    async fn work_is_done_up_to_a_bound_and_hostile_difficulty_is_refused_at_once() {
        let done = stamped(outer(), 10, 7).await.unwrap();
        assert!(shown(&Outer::decode(&done).unwrap(), 7, 7) >= 10);
        let began = Instant::now();
        for bits in [MAX_WORK_BITS + 1, 40, 255] {
            assert_eq!(stamped(outer(), bits, 7).await, Err(NoStamp::TooMuch(bits)));
        }
        assert!(began.elapsed() < WORK_TIME / 10);
    }
}
