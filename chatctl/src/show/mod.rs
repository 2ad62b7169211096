//! What people are shown: messages, events, lists and states as lines of spans, by pure functions.
//!
//! The job: words and their order. Not the job: bytes. Texts of others stand in spans as they came, and only
//! [`crate::term::render`] makes them harmless and draws them, so that a full screen can show the same lines.

pub mod account;
pub mod consumer;
pub mod contact;
pub mod event;
pub mod invite;
pub mod message;
pub mod sent;
pub mod status;
pub mod token;
pub mod trace;
pub mod words;

#[cfg(test)]
pub mod samples;

use crate::term::span::Line;
use crate::term::table::Table;

/// How messages are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// With the end of their ids, for somebody who may type one.
    pub ids: bool,
}

/// `label  value` lines, aligned.
pub fn facts(facts: &[(&str, String)]) -> Vec<Line> {
    let mut table = Table::new([0, 0]);
    for (label, value) in facts {
        table.row([(*label).to_owned(), value.clone()]);
    }
    table.take_lines(false)
}
