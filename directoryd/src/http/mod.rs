//! HTTP: connections and their limits, whose a request is, and how an operation ends.
//!
//! Not the job: what a request means (`routes`, `session`).

pub mod answer;
pub mod connection;
pub(crate) mod extract;
pub mod front;
pub mod gate;
pub mod limits;
pub mod memory;
