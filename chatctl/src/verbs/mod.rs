//! The verbs, one in a file, by noun: `Args` is what a verb takes, `run` parses, calls the daemon and prints.

pub mod account;
pub mod contact;
pub mod feed;
pub mod message;
pub mod safekeeping;
pub mod system;
