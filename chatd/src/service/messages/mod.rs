//! Messages: sending them, waiting for a state, history, search, read marks, traces.

pub(crate) mod read;
pub(crate) mod send;
pub(crate) mod trace;

use super::error::ServiceError;
use crate::store::StoreError;

fn no_message(error: StoreError) -> ServiceError {
    match error {
        StoreError::NotFound(what) => ServiceError::NotFound(format!("{what} is not there")),
        error => error.into(),
    }
}
