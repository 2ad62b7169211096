//! What the words of the domain look like on the RPC: conversions between `model` and `proto::rpc::types`, and nothing else.
//!
//! A file for each noun. They are implementations of `From`, so whoever needs one says `.into()` and imports nothing of here.
//! Each takes its subject apart completely: what is added to a type of the model is a question here, answered or not compiled.

mod account;
mod client;
mod contact;
mod directory;
mod event;
mod feed;
mod message;
#[cfg(test)]
#[path = "../tests/view.rs"]
mod tests;
mod token;
mod trace;
