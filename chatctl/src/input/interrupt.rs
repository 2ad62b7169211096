//! Ctrl-C, SIGTERM and a closed terminal, for what must be put back or cleaned up before the program goes.

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;
use crate::term::output::say;

/// From its making on, none of the signals ends the program by itself.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Interrupts {
    /// Made before whatever has to be put back is changed.
    ///
    /// # Errors
    /// When the system does not let us wait for signals.
    pub fn new() -> Result<Self, Failure> {
        let wait = |kind| signal(kind).map_err(|error| Failure::other(format!("cannot wait for signals: {error}")));
        Ok(Self {
            interrupt: wait(SignalKind::interrupt())?,
            terminate: wait(SignalKind::terminate())?,
            hangup: wait(SignalKind::hangup())?,
        })
    }

    /// Runs something, and drops it at a signal, so that what it holds is cleaned up.
    ///
    /// # Errors
    /// When a signal came first.
    pub async fn or<T>(mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            _ = self.interrupt.recv() => Err(Failure::other("interrupted; nothing was done")),
            _ = self.terminate.recv() => Err(Failure::other("terminated; nothing was done")),
            _ = self.hangup.recv() => Err(Failure::other("the terminal is gone; nothing was done")),
        }
    }

    /// Runs something whose result must not be lost: the first signal is answered with `why` it is waited for, the second drops
    /// it.
    ///
    /// # Errors
    /// When a second signal came first.
    pub async fn hold<T>(mut self, why: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
        let mut work = std::pin::pin!(work);
        let mut asked = false;
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
                _ = self.hangup.recv() => {}
            }
            if asked {
                return Err(Failure::other(
                    "interrupted before the daemon answered; what it did shows: chatctl whoami",
                ));
            }
            asked = true;
            say(why);
        }
    }
}

/// The same for what has changed nothing yet.
///
/// # Errors
/// When a signal came first.
pub async fn or<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    Interrupts::new()?.or(work).await
}
