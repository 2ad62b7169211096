//! The messaging daemon. The lead's file replaces this one.

pub mod crypto;
pub mod link;
pub mod policy;
