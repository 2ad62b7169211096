//! Ctrl-C, SIGTERM and a closed terminal, for what must be put back or cleaned up before the program goes.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;

/// Runs something, and drops it at a signal, so that what it holds is cleaned up.
///
/// # Errors
/// When a signal came first.
pub async fn or<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let failed = |error: std::io::Error| Failure::other(format!("cannot wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    tokio::select! {
        done = work => Ok(done),
        _ = interrupt.recv() => Err(Failure::other("interrupted; nothing was done")),
        _ = terminate.recv() => Err(Failure::other("terminated; nothing was done")),
        _ = hangup.recv() => Err(Failure::other("the terminal is gone; nothing was done")),
    }
}
