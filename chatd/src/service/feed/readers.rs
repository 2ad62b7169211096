//! Who reads which durable consumer.
//!
//! A name has one reader at a time. The reader's subscription holds the name and gives it back when it is dropped, and the
//! connection drops its subscriptions when it ends, however it does.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::service::error::ServiceError;

/// Names in use, with the process that reads each. Bounded by the number of subscriptions.
type Names = Arc<Mutex<HashMap<String, Option<i32>>>>;

/// The consumers of one account that are being read.
#[derive(Debug, Default)]
pub(in crate::service) struct Readers(Names);

/// The right to read a consumer, until it is dropped.
#[derive(Debug)]
pub(in crate::service) struct Reading {
    names: Names,
    name: String,
}

fn lock(names: &Names) -> MutexGuard<'_, HashMap<String, Option<i32>>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Reading {
    fn drop(&mut self) {
        lock(&self.names).remove(&self.name);
    }
}

impl Readers {
    /// Those that are being read now.
    pub(in crate::service) fn names(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }

    /// Claims a name, until what comes back is dropped.
    ///
    /// # Errors
    /// Somebody reads it.
    pub(in crate::service) fn claim(&self, name: &str, pid: Option<i32>) -> Result<Reading, ServiceError> {
        let mut names = lock(&self.0);
        if let Some(other) = names.get(name) {
            return Err(in_use(name, *other));
        }
        names.insert(name.to_owned(), pid);
        Ok(Reading { names: Arc::clone(&self.0), name: name.to_owned() })
    }

    /// Whether somebody reads it.
    pub(in crate::service) fn reads(&self, name: &str) -> bool {
        lock(&self.0).contains_key(name)
    }
}

fn in_use(name: &str, pid: Option<i32>) -> ServiceError {
    let by = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    ServiceError::InUse(format!(
        "the consumer {name} is being read by another program{by}: stop that one first, or choose another name"
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_has_one_reader_at_a_time() {
        let readers = Readers::default();
        let first = readers.claim("bot", Some(7)).unwrap();
        assert!(readers.reads("bot") && !readers.reads("other"));
        let text = readers.claim("bot", Some(8)).unwrap_err().to_string();
        assert!(text.contains("bot") && text.contains("(process 7)"), "{text}");
        let other = readers.claim("other", None).unwrap();
        let mut names = readers.names();
        names.sort();
        assert_eq!(names, ["bot", "other"]);
        drop(first);
        readers.claim("bot", None).unwrap();
        assert!(!readers.reads("bot"), "given back at once");
        drop(other);
        assert_eq!(readers.names(), Vec::<String>::new());
    }
}
