//! Messages: sending, reading, looking for them, and what became of one.

pub mod chat;
pub mod forget;
pub mod history;
pub mod outcome;
pub mod read;
pub mod search;
pub mod send;
pub mod send_lines;
pub mod trace;
pub mod unread;
