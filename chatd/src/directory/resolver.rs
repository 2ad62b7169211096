//! Which directory serves which domain.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::client::DirectoryClient;
use super::error::DirectoryError;
use super::net::Network;
use super::net::place::Place;

/// Domains whose directories are remembered at most beside those that are named: each costs some KB, and one that was forgotten is
/// found again.
const MAX_FOUND: usize = 256;

/// The directories that an account may ask: its own, those that the operator has named for other domains, and those that the DNS names
/// for all others. What a record says of its mailbox is not followed: it would let any contact choose where this machine sends
/// requests to.
#[derive(Debug, Clone, Default)]
pub struct Directories {
    network: Network,
    home: Option<(String, DirectoryClient)>,
    /// The same for all accounts, and it may change while they live.
    named: Arc<RwLock<HashMap<String, DirectoryClient>>>,
    /// Those that the DNS names, with the number of the look that wanted each last.
    found: Arc<Mutex<Found>>,
}

#[derive(Debug, Default)]
struct Found {
    looks: u64,
    clients: HashMap<String, (u64, DirectoryClient)>,
}

impl Directories {
    /// Those of the configuration, by their domain.
    ///
    /// # Errors
    /// When one of them is no place of a directory that may be used.
    pub fn named(network: &Network, places: &BTreeMap<String, String>) -> Result<Self, DirectoryError> {
        let named = Arc::new(RwLock::new(clients(network, places)?));
        Ok(Self { network: network.clone(), home: None, named, found: Arc::default() })
    }

    /// A directory by its place; with a key, one that has to prove that it has this key before anything is asked of it.
    ///
    /// # Errors
    /// When it is no place of a directory that may be used.
    pub fn at(&self, place: &str, key: Option<[u8; 32]>) -> Result<DirectoryClient, DirectoryError> {
        Ok(DirectoryClient::at(Place::parse(place)?, &self.network, key))
    }

    /// Others in their place, for all clones.
    ///
    /// # Errors
    /// As [`Directories::named`]; then the old ones stay.
    pub fn rename(&self, places: &BTreeMap<String, String>) -> Result<(), DirectoryError> {
        let named = clients(&self.network, places)?;
        *self.named.write().unwrap_or_else(PoisonError::into_inner) = named;
        Ok(())
    }

    /// This machine's network is another one: connections and sessions to all of them are looked after.
    pub fn moved(&self) {
        self.network.moved();
    }

    /// The same, for an account whose own directory is this one.
    pub fn with_home(&self, origin: &str, client: Option<DirectoryClient>) -> Self {
        Self { home: client.map(|client| (origin.to_owned(), client)), ..self.clone() }
    }

    /// The account's own.
    pub fn home(&self) -> Option<&DirectoryClient> {
        self.home.as_ref().map(|(_, client)| client)
    }

    /// Whether a domain is that of the account's own directory.
    pub fn is_home(&self, origin: &str) -> bool {
        self.home.as_ref().is_some_and(|(home, _)| home == origin)
    }

    /// Those of other domains that are known: named, or found so far.
    pub fn others(&self) -> Vec<(String, DirectoryClient)> {
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner).clone();
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        let found = found.clients.iter().filter(|(origin, _)| !named.contains_key(*origin));
        let found: Vec<_> = found.map(|(origin, (_, client))| (origin.clone(), client.clone())).collect();
        named.into_iter().chain(found).filter(|(origin, _)| !self.is_home(origin)).collect()
    }

    /// Whether the operator has named the directory of a domain.
    pub fn is_named(&self, origin: &str) -> bool {
        self.named.read().unwrap_or_else(PoisonError::into_inner).contains_key(origin)
    }

    /// The one that serves a domain; `None` if that is no domain.
    pub fn of(&self, origin: &str) -> Option<DirectoryClient> {
        if self.is_home(origin) {
            return self.home().cloned();
        }
        let named = self.named.read().unwrap_or_else(PoisonError::into_inner).get(origin).cloned();
        named.or_else(|| self.find(origin))
    }

    /// The one that the DNS names for a domain. Nobody is asked yet.
    fn find(&self, origin: &str) -> Option<DirectoryClient> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.looks += 1;
        let look = found.looks;
        if let Some((last, client)) = found.clients.get_mut(origin) {
            *last = look;
            return Some(client.clone());
        }
        let place = Place::parse(origin).ok().filter(|place| place.domain() == Some(origin))?;
        let client = DirectoryClient::at(place, &self.network, None);
        if found.clients.len() >= MAX_FOUND {
            let oldest = found.clients.iter().min_by_key(|(_, (last, _))| *last).map(|(origin, _)| origin.clone());
            oldest.and_then(|oldest| found.clients.remove(&oldest));
        }
        found.clients.insert(origin.to_owned(), (look, client.clone()));
        Some(client)
    }
}

fn clients(
    network: &Network,
    places: &BTreeMap<String, String>,
) -> Result<HashMap<String, DirectoryClient>, DirectoryError> {
    let client = |(domain, place): (&String, &String)| {
        Ok((domain.to_lowercase(), DirectoryClient::at(Place::parse(place)?, network, None)))
    };
    places.iter().map(client).collect()
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
        let network = Network::default();
        let known = Directories::named(&network, &urls).unwrap().with_home("a.test", Some(home));
        assert_eq!(known.of("a.test").unwrap().url(), "http://127.0.0.1:3");
        assert_eq!(known.of("b.test").unwrap().url(), "http://127.0.0.1:2");
        assert!(known.is_home("a.test") && !known.is_home("b.test") && known.is_named("b.test"));
        assert!(Directories::named(&network, &BTreeMap::from([("x.test".into(), "http://192.0.2.1".into())])).is_err());
        // The DNS knows of all others, and of nothing that is no domain.
        assert_eq!(known.of("c.test").unwrap().url(), "c.test");
        for none in ["", "c", "127.0.0.1:7470", "https://c.test", "C.test", "192.0.2.1", "c.test."] {
            assert!(known.of(none).is_none(), "{none}");
        }
        let others: Vec<String> = known.others().into_iter().map(|(origin, _)| origin).collect();
        assert_eq!(others, ["b.test", "c.test"]);
    }

    #[test]
    fn strangers_of_many_domains_leave_a_bounded_number_behind() {
        let known = Directories::default();
        for number in 0..2_000 {
            known.of(&format!("d{number}.test")).unwrap();
            known.of("asked.test").unwrap();
        }
        let others: Vec<String> = known.others().into_iter().map(|(origin, _)| origin).collect();
        assert_eq!(others.len(), MAX_FOUND);
        assert!(others.contains(&"asked.test".to_owned()) && others.contains(&"d1999.test".to_owned()));
    }
}
