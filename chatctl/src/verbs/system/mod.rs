//! The daemon, and this program itself.

pub mod completion;
pub mod doctor;
pub mod man;
pub mod netcheck;
pub mod status;
