//! Who is a contact: the consent of both, what the owner is shown of it, and when it is given up.

pub mod giveup;
pub mod invites;
pub mod list;
pub mod profiles;
pub mod requests;
