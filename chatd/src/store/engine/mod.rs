//! One thread that writes, its queue and its transaction; the schema; what an operation tells of itself.

pub(super) mod cache;
pub mod emit;
pub(super) mod event_row;
pub(super) mod migrate;
pub(super) mod numbers;
pub(super) mod queue;
pub(super) mod schema;
pub(super) mod tokens;
pub(super) mod tx;
pub(super) mod wake;
pub(super) mod writer;
