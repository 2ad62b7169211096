//! The terminal: the only room that makes bytes for one.
//!
//! What is said comes as lines of spans (`span`); `render` makes rows of them that fit, in which nothing acts on a
//! terminal, and the codes of their styles; `output` writes. Not the job: what is said. It knows nothing of the daemon.

pub mod escape;

pub(crate) mod markdown;
pub(crate) mod output;
mod pager;
pub(crate) mod render;
pub(crate) mod span;
pub(crate) mod table;
