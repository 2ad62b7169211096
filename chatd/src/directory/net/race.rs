//! Several tries at once: who is first wins.
//!
//! Not the job: what is tried, and in which order.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Before an address that does not answer is tried once more.
const AGAIN: Duration = Duration::from_secs(1);

/// A connection to an address, which is begun once more beside one that has no answer yet, again and again: a first packet that is lost in
/// a moment without a network is repeated by TCP at ever longer intervals. The first answer, also a refusal, ends it.
pub(super) async fn knock(address: SocketAddr) -> std::io::Result<TcpStream> {
    let mut tries = FuturesUnordered::new();
    loop {
        tries.push(TcpStream::connect(address));
        tokio::select! {
            Some(done) = tries.next() => return done,
            () = sleep(AGAIN) => {}
        }
    }
}

/// Begins one try after the other, the next one when one fails or `pause` has passed; the first that succeeds ends the others.
///
/// # Errors
/// What became of each.
pub(super) async fn race<T, E, F: Future<Output = Result<T, E>>>(
    tries: impl Iterator<Item = F>,
    pause: Duration,
) -> Result<T, Vec<E>> {
    let (mut tries, mut running, mut errors) = (tries, FuturesUnordered::new(), Vec::new());
    let mut more = true;
    loop {
        if more {
            match tries.next() {
                Some(next) => running.push(next),
                None => more = false,
            }
        }
        if running.is_empty() {
            return Err(errors);
        }
        tokio::select! {
            done = running.next() => match done {
                Some(Ok(done)) => return Ok(done),
                Some(Err(error)) => errors.push(error),
                None => return Err(errors),
            },
            () = sleep(pause), if more => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::net::TcpListener;
    use tokio::time::timeout;

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

    #[tokio::test]
    async fn who_refuses_is_not_asked_again_and_who_answers_is_asked_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = knock(address).await.unwrap();
        assert_eq!(listener.accept().await.unwrap().1, stream.local_addr().unwrap());
        let more = timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(more.is_err(), "a second connection");
        drop(listener);
        assert_eq!(knock(address).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
