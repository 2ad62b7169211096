//! The account in a file, and out of one.

pub mod backup;
pub mod export;
pub mod restore;
