//! The account: making it, its state, its keys and what is set.

pub mod key;
pub mod login;
pub mod logout;
pub mod profile;
pub mod register;
pub mod settings;
pub mod unregister;
pub mod use_account;
pub mod whoami;
