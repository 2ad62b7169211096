//! Which directory serves which domain.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use super::client::DirectoryClient;
use super::error::DirectoryError;

/// The directories that an account may ask: its own, and those that the operator has named for other domains. What a record
/// says of its mailbox is not followed: it would let any contact choose where this machine sends requests to.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    home: Option<(String, DirectoryClient)>,
    /// The same for all accounts, and it may change while they live.
    named: Arc<RwLock<HashMap<String, DirectoryClient>>>,
}

impl Directories {
    /// Those of the configuration, by their domain.
    ///
    /// # Errors
    /// When one of them is no URL that may be used.
    pub fn named(urls: &BTreeMap<String, String>) -> Result<Self, DirectoryError> {
        Ok(Self { home: None, named: Arc::new(RwLock::new(clients(urls)?)) })
    }

    /// Others in their place, for all clones.
    ///
    /// # Errors
    /// As [`Directories::named`]; then the old ones stay.
    pub fn rename(&self, urls: &BTreeMap<String, String>) -> Result<(), DirectoryError> {
        let named = clients(urls)?;
        *self.named.write().unwrap_or_else(PoisonError::into_inner) = named;
        Ok(())
    }

    /// The same, for an account whose own directory is this one.
    pub fn with_home(&self, origin: &str, client: Option<DirectoryClient>) -> Self {
        Self { home: client.map(|client| (origin.to_owned(), client)), named: Arc::clone(&self.named) }
    }

    /// The account's own.
    pub fn home(&self) -> Option<&DirectoryClient> {
        self.home.as_ref().map(|(_, client)| client)
    }

    /// Whether a domain is that of the account's own directory.
    pub fn is_home(&self, origin: &str) -> bool {
        self.home.as_ref().is_some_and(|(home, _)| home == origin)
    }

    /// Those of other domains.
    pub fn others(&self) -> Vec<(String, DirectoryClient)> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner);
        named.iter().filter(|(origin, _)| !self.is_home(origin)).map(|(o, c)| (o.clone(), c.clone())).collect()
    }

    /// The one that serves a domain, if it is known.
    pub fn of(&self, origin: &str) -> Option<DirectoryClient> {
        if self.is_home(origin) {
            return self.home().cloned();
        }
        self.named.read().unwrap_or_else(PoisonError::into_inner).get(origin).cloned()
    }
}

fn clients(urls: &BTreeMap<String, String>) -> Result<HashMap<String, DirectoryClient>, DirectoryError> {
    urls.iter().map(|(domain, url)| Ok((domain.to_lowercase(), DirectoryClient::new(url)?))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ones_own_directory_comes_before_one_that_is_named() {
        let urls = [("a.test", "http://127.0.0.1:1"), ("B.test", "http://127.0.0.1:2")];
        let urls = urls.into_iter().map(|(domain, url)| (domain.to_owned(), url.to_owned())).collect();
        let home = DirectoryClient::new("http://127.0.0.1:3").unwrap();
        let known = Directories::named(&urls).unwrap().with_home("a.test", Some(home));
        assert_eq!(known.of("a.test").unwrap().url(), "http://127.0.0.1:3");
        assert_eq!(known.of("b.test").unwrap().url(), "http://127.0.0.1:2");
        assert!(known.of("c.test").is_none() && known.is_home("a.test") && !known.is_home("b.test"));
        assert!(Directories::named(&BTreeMap::from([("x.test".into(), "http://192.0.2.1".into())])).is_err());
    }
}
