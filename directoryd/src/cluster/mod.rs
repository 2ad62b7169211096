//! What one process may assume as long as it is the only one: the seam at which a directory on several machines differs.
//!
//! One process knows by itself who has which name (its own writer tells the index), which challenges are its own (the key
//! is made at the start), who is connected and whose token is shown (sessions are its own), when mail came (its own
//! writer took it), and for how long the directory was up. Everybody else asks [`Cluster`] for that, and nothing outside
//! of this room can reach what stands behind it. [`Local`] is the one implementation.
//!
//! Nothing here waits: who is several keeps copies, and hears of the others beside the requests. What that would mean for
//! clients is in decision 29.
//!
//! Not the job: what must survive (`store`).

mod followers;
mod index;
mod local;
mod nonce;
mod presence;
mod seam;
mod uptime;

pub use followers::{Followed, MAX_FOLLOWED};
pub use index::{Change, Entry};
pub use local::Local;
pub use nonce::NONCE_BYTES;
pub use presence::{Joined, MAX_WATCHES, SessionId, Status, ToSession, presence};
pub use seam::Cluster;
pub use uptime::Monotonic;
