//! SIGINT and SIGTERM, for verbs that have something to do before they end. Others do not listen: the default action also
//! ends a program that is stuck in a write.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::failure::Failure;

/// Counts the signals. Clones see the same ones.
#[derive(Clone)]
pub struct Stop(watch::Receiver<u32>);

impl Stop {
    /// From now on these signals end nothing by themselves.
    ///
    /// # Errors
    /// When they cannot be handled.
    pub fn listen() -> Result<Self, Failure> {
        let open = |kind| signal(kind).map_err(|e| Failure::other(format!("cannot handle signals: {e}")));
        let (mut interrupt, mut terminate) = (open(SignalKind::interrupt())?, open(SignalKind::terminate())?);
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(counted))
    }

    /// Whether a signal came.
    pub fn is_asked(&self) -> bool {
        *self.0.borrow() > 0
    }

    /// Waits for the first signal; returns at once if it came already.
    pub async fn asked(&mut self) {
        self.reached(1).await;
    }

    /// Waits for the second signal: whoever sends it does not want to wait.
    pub async fn urged(&mut self) {
        self.reached(2).await;
    }

    async fn reached(&mut self, wanted: u32) {
        if self.0.wait_for(|count| *count >= wanted).await.is_err() {
            std::future::pending().await
        }
    }
}
