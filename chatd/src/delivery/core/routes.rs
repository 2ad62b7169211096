//! The routes of an account to its peers' devices, and which of them is due next.
//!
//! Invariant: finding what is due costs as much as there is of it, however many routes wait. Whoever changes a route gets it by
//! [`Routes::at`] or [`Routes::get_mut`]; its place in the indexes is brought up to date before the next wait.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use proto::ids::DeviceId;

use super::event::RouteKey;
use super::route::Route;
use crate::model::ids::PeerId;

/// See the module.
#[derive(Debug, Default)]
pub struct Routes {
    all: BTreeMap<RouteKey, Route>,
    /// Handed out to be changed since the last [`Routes::index`].
    touched: HashSet<RouteKey>,
    /// When each route that waits for a time is due.
    due: BTreeSet<(Instant, RouteKey)>,
    /// Which routes use a link.
    by_link: HashMap<u64, BTreeSet<RouteKey>>,
    /// Where a route stands in the two indexes.
    places: HashMap<RouteKey, Place>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    due: Option<Instant>,
    link: Option<u64>,
}

impl Routes {
    /// A device's route, made if there is none.
    pub fn at(&mut self, key: RouteKey) -> &mut Route {
        self.touched.insert(key);
        self.all.entry(key).or_default()
    }

    /// A device's route, if there is one.
    pub fn get_mut(&mut self, key: RouteKey) -> Option<&mut Route> {
        let route = self.all.get_mut(&key)?;
        self.touched.insert(key);
        Some(route)
    }

    /// The same, to look at.
    pub fn get(&self, key: RouteKey) -> Option<&Route> {
        self.all.get(&key)
    }

    /// All of them.
    pub fn keys(&self) -> Vec<RouteKey> {
        self.all.keys().copied().collect()
    }

    /// Those whose route uses a link.
    pub fn of_link(&mut self, link: u64) -> Vec<RouteKey> {
        self.index();
        self.by_link.get(&link).map(|keys| keys.iter().copied().collect()).unwrap_or_default()
    }

    /// Those to a peer's devices.
    pub fn of_peer(&self, peer: PeerId) -> Vec<RouteKey> {
        let first = RouteKey { peer, device: None };
        self.all.range(first..).take_while(|(key, _)| key.peer == peer).map(|(key, _)| *key).collect()
    }

    /// The route to a peer without a device, if there is one, is the route to this one, unless that has one.
    pub fn name(&mut self, peer: PeerId, device: DeviceId) {
        let (unnamed, key) = (RouteKey { peer, device: None }, RouteKey::new(peer, device));
        if let Some(route) = self.remove(unnamed)
            && !self.all.contains_key(&key)
        {
            self.all.insert(key, route);
            self.touched.insert(key);
        }
    }

    /// Forgets a route.
    pub fn remove(&mut self, key: RouteKey) -> Option<Route> {
        let route = self.all.remove(&key)?;
        self.place(key, Place::default());
        self.places.remove(&key);
        Some(route)
    }

    /// When the next route is due.
    pub fn next(&mut self) -> Option<Instant> {
        self.index();
        self.due.first().map(|(at, _)| *at)
    }

    /// Those that are due.
    pub fn due(&mut self, now: Instant) -> Vec<RouteKey> {
        self.index();
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect()
    }

    /// How many wait for a time.
    pub fn waiting(&self) -> usize {
        self.due.len()
    }

    /// Puts what was changed where it belongs.
    fn index(&mut self) {
        for key in std::mem::take(&mut self.touched) {
            if let Some(route) = self.all.get(&key) {
                let place = Place { due: route.wake_at(), link: route.link };
                self.place(key, place);
            }
        }
    }

    fn place(&mut self, key: RouteKey, new: Place) {
        let old = self.places.insert(key, new).unwrap_or_default();
        if old.due != new.due {
            old.due.map(|at| self.due.remove(&(at, key)));
            new.due.map(|at| self.due.insert((at, key)));
        }
        if old.link != new.link {
            if let Some(link) = old.link
                && let Some(keys) = self.by_link.get_mut(&link)
            {
                keys.remove(&key);
                if keys.is_empty() {
                    self.by_link.remove(&link);
                }
            }
            new.link.map(|link| self.by_link.entry(link).or_default().insert(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::delivery::core::route::Phase;

    fn key(peer: i64) -> RouteKey {
        RouteKey { peer: PeerId(peer), device: None }
    }

    /// Everybody of these is away or gone; tries are counted hour by hour.
    fn tries(gone: bool, count: i64, hours: u64) -> Vec<u64> {
        let mut routes = Routes::default();
        let begin = Instant::now();
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        for contact in 0..count {
            (routes.at(key(contact)).pending, routes.at(key(contact)).retry_at) = (true, Some(begin));
        }
        let mut tries = vec![0; hours as usize];
        while let Some(at) = routes.next().filter(|at| *at < begin + Duration::from_secs(hours * 3_600)) {
            let due = routes.due(at);
            assert!(!due.is_empty(), "a timer for nothing");
            for contact in due {
                tries[(at.duration_since(begin).as_secs() / 3_600) as usize] += 1;
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let route = routes.at(contact);
                route.phase = Phase::Connecting;
                if gone {
                    route.gone(at, dice);
                } else {
                    route.unreached(at, count as usize, dice);
                }
                // By its mailbox it is tried at another time; here, what is dialled counts.
                route.mailbox.wanted = false;
            }
        }
        tries
    }

    #[test]
    fn those_who_are_gone_cost_two_looks_and_then_next_to_nothing() {
        let gone = tries(true, 500, 48);
        println!("figure: 500 gone accounts, tries by the hour: {gone:?}");
        assert!(gone[0] <= 1_500, "the first hour: {}", gone[0]);
        assert!(gone[24..].iter().all(|hour| *hour <= 250), "the second day: {gone:?}");
    }

    #[test]
    fn those_who_are_away_are_tried_less_and_less() {
        let away = tries(false, 500, 48);
        println!("figure: 500 peers that are away, tries by the hour: {away:?}");
        assert!(away[0] <= 500 * 64, "the first hour: {}", away[0]);
        assert!(away[24..].iter().all(|hour| *hour <= 700), "the second day: {away:?}");
    }

    #[test]
    fn what_is_due_is_found_without_looking_at_the_rest() {
        let mut routes = Routes::default();
        let begin = Instant::now();
        let at = |seconds: i64| begin + Duration::from_secs(seconds as u64);
        for contact in 0..3_000 {
            (routes.at(key(contact)).pending, routes.at(key(contact)).retry_at) = (true, Some(at(contact + 1)));
        }
        assert_eq!(routes.next(), Some(at(1)));
        assert_eq!(routes.due(at(3)), [0, 1, 2].map(key));
        routes.at(key(0)).pending = false;
        routes.at(key(2_999)).retry_at = Some(at(0));
        assert_eq!((routes.next(), routes.due(at(2))), (Some(at(0)), vec![key(2_999), key(1)]));
        assert!(routes.touched.is_empty());
    }
}
