//! Whether the daemon answers: found out as a client would, before systemd is told that it is ready, and again and again while
//! systemd waits for a sign of life.
//!
//! Not the job: what is done about a daemon that does not answer. systemd ends it and starts another.

use std::path::PathBuf;
use std::time::Duration;

use daemonkit::notify::{self, State, notify};
use proto::rpc::client::{Client, ClientError};
use proto::rpc::methods::SystemHello;
use proto::rpc::types::HelloParams;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::service::{Service, every_store_answers};

/// A daemon that starts is given so long for one answer; then it is asked again.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// Between two questions to a daemon that starts.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Asks a daemon whether it answers.
#[derive(Debug)]
pub struct Pulse {
    service: Service,
    socket: PathBuf,
}

impl Pulse {
    pub(super) fn new(service: Service, socket: PathBuf) -> Self {
        Self { service, socket }
    }

    /// Calls `ready` once the daemon has answered, then tells systemd that it is alive as long as it is, if systemd wants to know.
    /// Ends never.
    pub async fn watch(&self, ready: impl FnOnce()) {
        while let Err(reason) = self.within(FIRST_ANSWER).await {
            tracing::warn!(often = "pulse", reason, "the daemon does not answer yet");
            sleep(ASK_AGAIN).await;
        }
        ready();
        let Some(span) = notify::look_every() else { return std::future::pending().await };
        let mut due = interval(span);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            match self.within(span * 2).await {
                Ok(()) => notify(State::Alive),
                Err(reason) => {
                    tracing::error!(reason, "the daemon does not answer itself: systemd is not told that it is alive")
                }
            }
        }
    }

    async fn within(&self, limit: Duration) -> Result<(), String> {
        let answered = timeout(limit, async {
            self.socket_answers().await?;
            every_store_answers(&self.service).await;
            Ok(())
        });
        answered.await.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs_f32())))
    }

    /// One call, as any client would make it. A refusal is an answer as well.
    async fn socket_answers(&self) -> Result<(), String> {
        let call = async {
            let client = Client::connect(&self.socket).await?;
            client.call::<SystemHello>(&HelloParams { client: "chatd".into() }).await
        };
        match call.await {
            Ok(_) | Err(ClientError::Rpc(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::cell::Cell;

    use tokio_util::sync::CancellationToken;

    use crate::daemon::{Daemon, DataDir};
    use crate::service::config::Config;

    use super::*;

    /// For so long nothing happens that would have happened at once.
    const A_WHILE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn it_is_ready_when_it_answers_and_no_sooner() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() };
        let data = DataDir::open(&folder.path().join("data")).unwrap();
        let daemon = Daemon::start(config, data, &folder.path().join("socket")).await.unwrap();
        let (pulse, ready) = (daemon.pulse(), Cell::new(false));
        let mut watched = std::pin::pin!(pulse.watch(|| ready.set(true)));
        // The socket is there and takes connections, but nobody serves them.
        assert!(timeout(A_WHILE, watched.as_mut()).await.is_err());
        assert!(!ready.get());
        assert!(pulse.within(A_WHILE).await.unwrap_err().contains("no answer within"));
        let stop = CancellationToken::new();
        let served = tokio::spawn(daemon.serve(stop.clone()));
        while !ready.get() {
            let _ = timeout(A_WHILE, watched.as_mut()).await;
        }
        assert_eq!(pulse.within(FIRST_ANSWER).await, Ok(()));
        stop.cancel();
        served.await.unwrap();
        assert!(pulse.within(A_WHILE).await.is_err());
    }
}
