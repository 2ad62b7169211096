//! Contacts that are heard on the local network are tried at once: what waits for them waits for nothing else.

use proto::ids::NodeId;
use tokio::sync::broadcast::error::RecvError;

use crate::delivery::News;
use crate::service::context::Service;
use crate::store::peers::devices;

/// Runs as long as the daemon.
pub(in crate::service) async fn watch(service: Service) {
    let mut seen = service.inner.node.neighbours().seen();
    loop {
        match seen.recv().await {
            Ok(node) => tell(&service, node).await,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn tell(service: &Service, node: NodeId) {
    for account in service.accounts() {
        let known = account.store.read_blocking(|conn| devices::by_node(conn, node)).unwrap_or_default();
        for peer in known {
            account.tell(News::Online(peer)).await;
        }
    }
}
