//! This machine's network became another one: what stood before is looked after, and everybody is tried where they are.

use crate::delivery::News;
use crate::service::context::Service;

/// Runs as long as the daemon.
pub(in crate::service) async fn watch(service: Service) {
    let inner = &service.inner;
    let mut moves = inner.node.moves();
    while moves.changed().await.is_ok() {
        moves.borrow_and_update();
        tracing::debug!("the network changed");
        inner.directories.moved();
        inner.table.moved().await;
        // Before links end by it: who ended one knows why.
        service.tell_all(|| News::Moved).await;
        service.open_links().iter().for_each(|link| link.doubt.raise(true));
        inner.node.network_change().await;
    }
}
