//! Whether the daemon answers: found out as a client would.
//!
//! Not the job: when to ask, and what is done about a daemon that does not answer (`daemonkit::pulse`).

use std::path::PathBuf;

use daemonkit::pulse;
use proto::rpc::client::{Client, ClientError};
use proto::rpc::methods::SystemHello;
use proto::rpc::types::HelloParams;

use crate::service::{Service, every_store_answers};

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

    /// See [`pulse::watch`].
    pub async fn watch(&self, ready: impl FnOnce()) {
        pulse::watch(async || self.answers().await, ready).await;
    }

    async fn answers(&self) -> Result<(), String> {
        self.socket_answers().await?;
        every_store_answers(&self.service).await;
        Ok(())
    }

    /// One call, as any client would make it. A refusal is an answer as well.
    async fn socket_answers(&self) -> Result<(), String> {
        let call = async {
            let client = Client::connect(&self.socket).await?;
            client.call::<SystemHello>(&HelloParams { client: "chatd".into(), ..HelloParams::default() }).await
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
    use std::time::Duration;

    use tokio::time::timeout;
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
        assert!(pulse::within(A_WHILE, async || pulse.answers().await).await.unwrap_err().contains("no answer within"));
        let stop = CancellationToken::new();
        let served = tokio::spawn(daemon.serve(stop.clone()));
        while !ready.get() {
            let _ = timeout(A_WHILE, watched.as_mut()).await;
        }
        assert_eq!(pulse.answers().await, Ok(()));
        stop.cancel();
        served.await.unwrap();
        assert!(pulse::within(A_WHILE, async || pulse.answers().await).await.is_err());
    }
}
