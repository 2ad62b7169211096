//! What the core knows, and the handling of one event.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use proto::ids::DeviceId;
use rand::Rng;

use super::acks::Acks;
use super::effect::{Effect, Note};
use super::event::RouteKey;
use super::route::Route;
use super::routes::Routes;
use crate::model::ids::PeerId;

/// Everything that delivery of an account knows while it runs.
#[derive(Debug)]
pub struct Core {
    pub(super) own: DeviceId,
    pub(super) routes: Routes,
    /// Open links, and to which devices our claims went out on each.
    pub(super) links: HashMap<u64, HashSet<DeviceId>>,
    pub(super) acks: Acks,
    pub(super) has_session: bool,
    /// This life's session was counted, or there is nobody who counts. Before, a store that went back in time does not know
    /// it, and what it left in a mailbox could use numbers again. On a link, `resume` tells.
    pub(super) counted: bool,
}

/// The handling of one event.
pub(super) struct Turn<'t> {
    pub core: &'t mut Core,
    pub now: Instant,
    pub rng: &'t mut dyn Rng,
    pub effects: &'t mut Vec<Effect>,
}

impl Turn<'_> {
    pub fn route(&mut self, key: RouteKey) -> &mut Route {
        self.core.routes.at(key)
    }

    /// Those to the devices of a peer; one without a device if there is none.
    pub fn keys_of(&mut self, peer: PeerId) -> Vec<RouteKey> {
        let keys = self.core.routes.of_peer(peer);
        if !keys.is_empty() {
            return keys;
        }
        let key = RouteKey { peer, device: None };
        self.core.routes.at(key);
        vec![key]
    }

    pub fn random(&mut self) -> u64 {
        self.rng.next_u64()
    }

    pub fn emit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub fn note(&mut self, peer: PeerId, note: Note) {
        self.effects.push(Effect::Note { peer, note });
    }

    /// Something waits for a peer, by whatever way.
    pub fn want(&mut self, key: RouteKey) -> &mut Route {
        let route = self.core.routes.at(key);
        (route.pending, route.mailbox.wanted) = (true, true);
        route
    }

    /// Our claim goes out on a link; `false`: it did before.
    pub fn claims(&mut self, link: u64, device: DeviceId) -> bool {
        self.core.links.entry(link).or_default().insert(device)
    }

    /// The way to a device failed: it is tried anew after a while, with a new claim even if the link is the same.
    pub fn fail(&mut self, key: RouteKey) {
        let (now, random) = (self.now, self.random());
        let route = self.core.routes.at(key);
        if let (Some(link), Some(device)) = (route.link, key.device) {
            if let Some(claims) = self.core.links.get_mut(&link) {
                claims.remove(&device);
            }
            self.effects.push(Effect::Unclaim { link, device });
        }
        self.core.routes.at(key).failed(now, random);
    }

    /// A dial came to nothing.
    pub fn unreached(&mut self, key: RouteKey) {
        let (now, random, waiting) = (self.now, self.random(), self.core.routes.waiting());
        self.core.routes.at(key).unreached(now, waiting, random);
    }

    /// Something was heard of a peer.
    pub fn found(&mut self, key: RouteKey) {
        if self.core.routes.get_mut(key).is_some_and(Route::found) {
            self.note(key.peer, Note::Found);
        }
    }

    /// The directory of a peer knows no such account.
    pub fn gone(&mut self, key: RouteKey, path: &'static str) {
        let (now, random) = (self.now, self.random());
        let route = self.route(key);
        let sure = route.gone(now, random);
        route.known_gone |= sure;
        self.note(key.peer, Note::Gone(path, sure));
    }
}
