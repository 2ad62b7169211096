//! What delivery does by itself: after a start, when a route is due, when everything may be tried anew.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::route::Phase;
use crate::model::ids::PeerId;
use crate::store::contacts::giveup;
use crate::store::peers;

/// Where many are tried at once (after a start, or when the network changed), one in so long: thousands of look-ups in one moment
/// only run into limits.
const SPREAD: Duration = Duration::from_millis(20);
/// So few are tried without that.
const AT_ONCE: usize = 32;

impl Engine {
    /// Takes up what waited when the task before this one ended.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        let gone: HashSet<PeerId> = self.read(giveup::gone).unwrap_or_default().into_iter().collect();
        let pending = self.read(peers::with_pending).unwrap_or_default();
        let within = spread(pending.len());
        for contact in pending {
            let route = self.want(contact);
            if gone.contains(&contact) {
                route.known_gone = true;
                route.gone(now, rand::random());
            } else if !within.is_zero() {
                route.retry_at = Some(now + within);
                route.hurry(now, within, rand::random());
            }
            self.advance(contact);
        }
    }

    /// The network changed, or the directory is back: all are tried, but for those who are gone.
    pub(super) fn try_all(&mut self) {
        let (all, now) = (self.routes.contacts(), Instant::now());
        // Spread by those who are tried, lest many who rest make the others wait.
        let waits = |contact: &&PeerId| {
            self.routes.get(**contact).is_some_and(|r| !r.known_gone && (r.pending || r.mailbox.wanted))
        };
        let within = spread(all.iter().filter(waits).count());
        for contact in all {
            self.route(contact).hurry(now, within, rand::random());
            self.advance(contact);
        }
    }

    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        for contact in self.routes.due(now) {
            let route = self.route(contact);
            if let Phase::Claiming { until } = route.phase
                && until <= now
            {
                self.fail(contact, now);
            } else if route.ack_by.is_some_and(|by| by <= now) && route.is_waiting() {
                route.pending = true;
                self.fail(contact, now);
            } else if route.doubt_by.is_some_and(|by| by <= now) && route.is_waiting() {
                route.doubt_by = None;
                if let Some(link) = &route.link {
                    link.doubt.notify_one();
                }
            } else if route.claim_at.is_some_and(|at| at <= now) {
                route.claim_at = None;
                route.pending = true;
            } else if route.repeat_at.is_some_and(|at| at <= now) {
                route.repeat_at = None;
                route.signalled.clear();
                route.pending = true;
            }
            self.advance(contact);
        }
    }
}

/// Over how long so many routes are tried.
fn spread(count: usize) -> Duration {
    if count <= AT_ONCE { Duration::ZERO } else { SPREAD.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)) }
}
