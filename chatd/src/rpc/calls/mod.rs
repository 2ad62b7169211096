//! Each method: from what a client says to a call of the service in words of the model, and back.
//!
//! A file for each noun; a function for each row of `with_methods`, by its name. What the calls do is the service's job.

mod account;
mod backup;
mod contact;
mod directory;
mod feed;
mod invite;
mod message;
mod profile;
mod system;
mod token;

pub(super) use self::account::*;
pub(super) use self::backup::*;
pub(super) use self::contact::*;
pub(super) use self::directory::*;
pub(super) use self::feed::*;
pub(super) use self::invite::*;
pub(super) use self::message::*;
pub(super) use self::profile::*;
pub(super) use self::system::*;
pub(super) use self::token::*;
