//! For how long a directory asked not to be asked again, by kind of request: it limits them apart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, Url};

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

    /// For how long such a request would come too soon. After a pause one goes ahead alone, lest all that have waited come
    /// at once to be refused again; its answer is [`Holds::answered`].
    pub fn left(&self, kind: &Kind, now: Instant) -> Option<Duration> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let hold = held.get_mut(kind)?;
        let left = hold.until.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            *hold = Hold { until: now + PROBE, probe: true };
        }
        left
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
        assert_eq!(holds.left(&other, now), Some(pause), "an answer from before ends no pause");
        assert_eq!(holds.left(&kind(Method::GET, "/v1/reach/bb"), now), None);
        assert_eq!(holds.left(&kind(Method::PUT, "/v1/accounts/bb"), now), None);
        // One goes ahead; those behind it wait for its answer.
        let later = now + pause;
        assert_eq!(holds.left(&one, later), None);
        assert_eq!(holds.left(&other, later), Some(PROBE));
        holds.answered(one.clone(), Some(pause), later);
        assert_eq!(holds.left(&other, later), Some(pause));
        let later = later + pause;
        assert_eq!(holds.left(&other, later), None);
        assert_eq!(holds.left(&one, later + PROBE), None, "one that is never answered holds nobody up for good");
        holds.answered(one, None, later + PROBE);
        assert!(holds.0.lock().unwrap().is_empty());
        assert_eq!(holds.left(&other, later + PROBE), None);
    }
}
