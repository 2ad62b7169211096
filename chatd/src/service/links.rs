//! What the protocol of links sees of the accounts.

use std::sync::Arc;
use std::time::Duration;

use proto::ids::DeviceId;

use super::context::Service;
use super::directory::record_fetch;
use crate::delivery::Delivery;
use crate::model::ids::PeerId;
use crate::peer;
use crate::policy::rate::RateLimits;

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
