//! People: finding them, becoming contacts, and what one lets in of them.

pub mod accept;
pub mod add;
pub mod contacts;
pub mod filter;
pub mod invite;
pub mod ping;
pub mod reject;
pub mod remove;
pub mod rename;
pub mod requests;
pub mod users;
pub mod verify;
