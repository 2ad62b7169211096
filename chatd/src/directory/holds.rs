//! For how long a directory asked not to be asked again, by kind of request: it limits them apart.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, Url};

/// The method, and the first word of the path after the version: a dozen at most.
pub(super) type Kind = (Method, String);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holds(Mutex<HashMap<Kind, Instant>>);

impl Holds {
    /// What kind of request this is.
    pub fn kind(method: &Method, url: &Url) -> Kind {
        let word = url.path_segments().and_then(|mut words| words.nth(1)).unwrap_or_default();
        (method.clone(), word.to_owned())
    }

    /// For how long such a request would come too soon.
    pub fn left(&self, kind: &Kind, now: Instant) -> Option<Duration> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = held.get(kind)?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            held.remove(kind);
        }
        left
    }

    /// The directory asked to wait.
    pub fn hold(&self, kind: Kind, pause: Duration, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, now + pause);
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
        holds.hold(kind(Method::GET, "/v1/accounts/aa"), pause, now);
        assert_eq!(holds.left(&kind(Method::GET, "/v1/accounts/bb"), now), Some(pause));
        assert_eq!(holds.left(&kind(Method::GET, "/v1/reach/bb"), now), None);
        assert_eq!(holds.left(&kind(Method::PUT, "/v1/accounts/bb"), now), None);
        assert_eq!(holds.left(&kind(Method::GET, "/v1/accounts/aa"), now + pause), None);
        assert!(holds.0.lock().unwrap().is_empty());
    }
}
