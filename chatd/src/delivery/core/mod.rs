//! What delivery decides, without any IO: `Core::handle(event, now, rng, effects)`.
//!
//! Whoever drives it (the daemon's `delivery::driver`, and the simulation in tests) carries the effects out and tells what came of
//! them as events. What the core needs of the store comes that way too.
//!
//! Not its job: links, seals, databases, clocks, random numbers: time and randomness are arguments.
//!
//! Invariants: nothing here waits, spawns or reads (`the_core_of_delivery_does_no_io`); within a stream, cores leave in order; what
//! is in flight is bounded for each route; a slow peer holds only its own route back.

mod acks;
pub(super) mod effect;
mod engine;
pub(super) mod event;
mod links;
mod resend_budget;
mod resume;
mod route;
mod routes;
mod sending;
mod state;

pub(super) use state::Core;
