//! What SIGHUP may change in a directory that runs.
//!
//! Invariant: a configuration that cannot be used changes nothing; one that can is in force for every request that begins after.

use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::config::{Config, ConfigError};
use crate::gate::Gate;
use crate::limits::Limiter;
use crate::{Directory, store};

/// A value that may be replaced; whoever has it keeps what it got.
#[derive(Debug)]
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// With this value.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// The value in force.
    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Another one from now on.
    pub fn set(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}

/// Changes a running directory; does not keep it from ending.
#[derive(Debug, Clone)]
pub struct Handle(pub(crate) Weak<Directory>);

impl Handle {
    /// Puts in force what of a configuration may change. Other rates begin with everybody's burst untouched; the same rates go on.
    ///
    /// # Errors
    /// The value that cannot be used; then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        let Some(directory) = self.0.upgrade() else { return Ok(()) };
        let gate = Gate::new(config)?;
        if directory.live.get().limits != config.limits {
            directory.limiter.set(Limiter::new(&config.limits));
        }
        directory.gate.set(gate);
        directory.store.reconfigure(store::Rules::of(&config.store()));
        directory.live.set(config.clone());
        Ok(())
    }
}
