//! The harness of the integration tests: starts throwaway daemons on free ports in a temporary folder, talks to them
//! as a user does, waits by asking, and fails a test when a log shows a panic. `cargo xtask demo` and `bench` stand on
//! it, too, so that there is one way to start the system.
//!
//! Not its job: to know what the daemons should do; that is in `tests/tests/`.
//!
//! Invariants: nothing sleeps for luck; only processes that the harness itself started are signalled; every process is
//! gone when its handle is dropped.

pub mod conform;
pub mod hostile;
pub mod http;
pub mod internet;
pub mod lab;
pub mod oracle;
pub mod people;
pub mod place;
pub mod process;
pub mod registry;
pub mod skip;
pub mod sources;
pub mod swarm;
pub mod team;
pub mod tls;
pub mod wait;

pub use hostile::directory as hostile_directory;
pub use process::{binaries, ctl, daemon, directory, screen, stream, users};

pub use ctl::{Ctl, Output};
pub use daemon::{Daemon, DaemonOptions};
pub use directory::{Directory, DirectoryOptions};
pub use people::Pair;
pub use place::Place;
pub use screen::Screen;
pub use stream::Stream;
pub use swarm::Swarm;
pub use wait::wait_until;
