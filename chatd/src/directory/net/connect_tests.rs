//! Machines have their turn.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_next_has_its_turn_when_one_fails_or_takes_long() {
    let begun = tokio::time::Instant::now();
    let after = |millis: u64, end: Result<u32, u32>| async move {
        sleep(Duration::from_millis(millis)).await;
        end
    };
    let pause = Duration::from_millis(1_000);
    // One refuses at once, one never answers, one answers: 1,000 for the second, 10 for itself.
    let tries = [after(1, Err(1)), after(60_000, Ok(2)), after(10, Ok(3))];
    assert_eq!(race(tries.into_iter(), pause).await, Ok(3));
    assert_eq!(begun.elapsed(), Duration::from_millis(1_011));
    // The first one is slow, but comes before the second is done.
    assert_eq!(race([after(1_500, Ok(1)), after(1_000, Ok(2))].into_iter(), pause).await, Ok(1));
    assert_eq!(race([after(5, Err(1)), after(3_000, Err(2))].into_iter(), pause).await, Err(vec![1, 2]));
    assert_eq!(race(std::iter::empty::<std::future::Ready<Result<u32, u32>>>(), pause).await, Err(vec![]));
}

#[test]
fn the_error_that_says_most_is_told() {
    let address = "192.0.2.1:7470".parse().unwrap();
    let refused = ConnectError::Refused { address, reason: "refused".into() };
    let untrusted = ConnectError::from(TrustError::Expired);
    let told = most_telling(vec![ConnectError::Slow(MACHINE_TIMEOUT), refused, untrusted], "x");
    assert!(matches!(told, ConnectError::NotTrusted(_)));
}
