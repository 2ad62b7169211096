//! What is let in of somebody, and what is shown as muted.

pub mod block;
pub mod mute;
pub mod unblock;
pub mod unmute;
