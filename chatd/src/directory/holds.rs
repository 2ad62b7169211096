//! For how long a directory asked not to be asked again, by kind of request: it limits them apart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::Method;
use url::Url;

/// The method, and the first word of the path after the version: a dozen at most.
pub(super) type Kind = (Method, String);

/// Somebody who asks first after a pause is waited for so long.
const PROBE: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<Kind, Hold>>);

#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Instant,
    /// Not the directory's word: the first after a pause has gone ahead, and its answer is for all.
    probe: bool,
}

impl Holds {
    /// What kind of request this is.
    pub fn kind(method: &Method, url: &Url) -> Kind {
        let word = url.path_segments().and_then(|mut words| words.nth(1)).unwrap_or_default();
        (method.clone(), word.to_owned())
    }

    /// Lets such a request go, whose answer is then [`Holds::answered`]. After a pause one goes ahead alone, lest all that have
    /// waited come at once to be refused again.
    ///
    /// # Errors
    /// For how long it would come too soon.
    pub fn admit(&self, kind: &Kind, now: Instant) -> Result<(), Duration> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(hold) = held.get_mut(kind) else { return Ok(()) };
        match hold.until.checked_duration_since(now) {
            Some(left) if !left.is_zero() => Err(left),
            _ => {
                *hold = Hold { until: now + PROBE, probe: true };
                Ok(())
            }
        }
    }

    /// A request was answered: with the directory's wish to wait, or otherwise.
    pub fn answered(&self, kind: Kind, pause: Option<Duration>, now: Instant) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match pause {
            Some(pause) => {
                held.insert(kind, Hold { until: now + pause, probe: false });
            }
            // An answer to something that was asked before the pause began ends no pause.
            None if held.get(&kind).is_some_and(|hold| hold.probe) => {
                held.remove(&kind);
            }
            None => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_held_apart_and_for_as_long_as_was_asked() {
        let kind =
            |method, path: &str| Holds::kind(&method, &Url::parse(&format!("http://127.0.0.1:7470{path}")).unwrap());
        let (holds, now) = (Holds::default(), Instant::now());
        let pause = Duration::from_secs(30);
        let (one, other) = (kind(Method::GET, "/v1/accounts/aa"), kind(Method::GET, "/v1/accounts/bb"));
        holds.answered(one.clone(), Some(pause), now);
        holds.answered(other.clone(), None, now);
        assert_eq!(holds.admit(&other, now), Err(pause), "an answer from before ends no pause");
        assert_eq!(holds.admit(&kind(Method::GET, "/v1/reach/bb"), now), Ok(()));
        assert_eq!(holds.admit(&kind(Method::PUT, "/v1/accounts/bb"), now), Ok(()));
        // One goes ahead; those behind it wait for its answer.
        let later = now + pause;
        assert_eq!(holds.admit(&one, later), Ok(()));
        assert_eq!(holds.admit(&other, later), Err(PROBE));
        holds.answered(one.clone(), Some(pause), later);
        assert_eq!(holds.admit(&other, later), Err(pause));
        let later = later + pause;
        assert_eq!(holds.admit(&other, later), Ok(()));
        assert_eq!(holds.admit(&one, later + PROBE), Ok(()), "one that is never answered holds nobody up for good");
        holds.answered(one, None, later + PROBE);
        assert!(holds.0.lock().unwrap().is_empty());
        assert_eq!(holds.admit(&other, later + PROBE), Ok(()));
    }
}
