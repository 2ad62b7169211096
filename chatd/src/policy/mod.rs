//! Decisions without IO.
