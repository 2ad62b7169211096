//! What every connection and request passes before it is known what is asked, and what they share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::gate::Gate;
use super::limits::Limiter;
use super::memory::Memory;
use crate::config::{Config, ConfigError};
use crate::live::Live;
use crate::metrics::Metrics;

/// See the module.
#[derive(Debug)]
pub struct Front {
    /// Whether a request is meant for us, and whose it is.
    pub gate: Live<Gate>,
    /// What clients make us hold.
    pub memory: Arc<Memory>,
    /// How often one may ask.
    pub limiter: Live<Limiter>,
    /// What of the configuration may change while it runs, beside `gate` and `limiter`.
    pub live: Live<Config>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Cancelled when the directory stops.
    pub stop: CancellationToken,
    /// Connections and sessions.
    pub tasks: TaskTracker,
}

impl Front {
    /// By a configuration, until `stop` is cancelled.
    ///
    /// # Errors
    /// The value that cannot be used.
    pub fn new(config: &Config, metrics: Arc<Metrics>, stop: CancellationToken) -> Result<Self, ConfigError> {
        Ok(Self {
            gate: Live::new(Gate::new(config)?),
            memory: Arc::default(),
            limiter: Live::new(Limiter::new(&config.limits)),
            live: Live::new(config.clone()),
            metrics,
            stop,
            tasks: TaskTracker::new(),
        })
    }

    /// Another configuration, from the next request on. Other rates begin with everybody's burst untouched; the same rates go
    /// on.
    ///
    /// # Errors
    /// The value that cannot be used; then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        let gate = Gate::new(config)?;
        if self.live.get().limits != config.limits {
            self.limiter.set(Limiter::new(&config.limits));
        }
        self.gate.set(gate);
        self.live.set(config.clone());
        Ok(())
    }
}
