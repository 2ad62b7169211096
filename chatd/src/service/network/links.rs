//! What the protocol of links sees of the accounts.

use std::sync::Arc;
use std::time::Duration;

use proto::ids::DeviceId;
use proto::time::Timestamp;

use crate::delivery::Delivery;
use crate::model::ids::PeerId;
use crate::peer;
use crate::policy::rate::RateLimits;
use crate::service::context::Service;
use crate::service::directory::record_fetch;
use crate::store::account::own_card;
use crate::store::contacts::invites;

impl peer::Accounts for Service {
    fn of_device(&self, device: DeviceId) -> Option<peer::Local> {
        let account = self.account_of_device(device)?;
        Some(peer::Local {
            device: account.device,
            store: account.store.clone(),
            inbox: Arc::clone(&account.inbox),
            delivery: account.delivery()?,
            clock: Arc::clone(&account.clock),
        })
    }

    fn deliveries(&self) -> Vec<Delivery> {
        self.accounts().iter().filter_map(|account| account.delivery()).collect()
    }

    fn fetch_record(&self, device: DeviceId, peer: PeerId) {
        if let Some(account) = self.account_of_device(device) {
            record_fetch::fetch(&account, peer);
        }
    }

    fn invited(&self, token_hash: &[u8; 32]) -> Option<peer::Card> {
        let now = Timestamp::now();
        self.accounts().iter().filter(|account| account.delivery().is_some()).find_map(|account| {
            let card = account.store.read_blocking(|conn| {
                let is_good = invites::is_good(conn, token_hash, None, now)?;
                is_good.then(|| own_card(conn)).transpose()
            });
            let card = card.inspect_err(|error| tracing::warn!(%error, "an invite was not looked for")).ok()??;
            Some(peer::Card { record: card.record, reach: card.reach })
        })
    }

    fn limits(&self) -> Arc<RateLimits> {
        self.inner.limits.now()
    }

    fn idle(&self) -> Duration {
        Duration::from_secs(self.config().idle_link_seconds.max(1))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        Self::spawn(self, task);
    }
}
