//! Tokens: what others may do for an account who hold one.
//!
//! A token grants. Whoever may open the socket and presents it acts for the account that made it, and the connection has
//! nothing of its user's any more. What each method needs stands in the table of methods (`proto::rpc::methods`); what a call
//! is about is looked at here, by the call that asks.
//!
//! Not the job: when a connection presents one, and that it ends with it (the RPC room).
//!
//! Invariants: a token is known by its hash alone; what it is not for answers as what is not there does; whatever is done or
//! refused is noted.

pub(crate) mod admit;
pub(in crate::service) mod live;
pub(crate) mod manage;
