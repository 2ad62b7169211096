//! The terminal: the only room that makes bytes for one.
//!
//! The job: standard output and standard error, styles, rows that fit, a pager; and that nothing acts on a terminal which
//! this program has not put there. Not the job: what is said. It knows nothing of the daemon.

pub mod escape;

pub(crate) mod markdown;
pub(crate) mod output;
pub(crate) mod pager;
pub(crate) mod style;
pub(crate) mod table;
pub(crate) mod wrap;
