//! Placeholder.
pub mod directory;
