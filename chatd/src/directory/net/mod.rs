//! How a connection to a directory comes to be: where it is ([`place`], [`names`]), whom to believe there ([`trust`]), and which of
//! several machines answers ([`connect`]).
//!
//! Not the job: what is said over it (`client`, `session`), and which directory is meant (`resolver`).
//!
//! Invariants: nothing crosses a network but by TLS; a certificate counts for the name that was asked for, never for the machine that
//! the DNS gave; addresses that the DNS names are dialled under the rules of `policy::dial`; every wait has an end.

pub mod connect;
pub mod names;
pub mod place;
mod race;
pub mod stream;
pub mod trust;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use self::names::{NameOptions, Names};
use self::trust::Authorities;

/// What all directories share: the DNS, and the authorities of this machine. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Network(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    names: Names,
    authorities: Authorities,
    allow_private: bool,
    moves: watch::Sender<u64>,
}

impl Network {
    /// By these options; `allow_private`: addresses that the DNS gives may be private, or of this machine.
    pub fn new(names: NameOptions, allow_private: bool) -> Self {
        let (names, authorities) = (Names::new(names), Authorities::default());
        Self(Arc::new(Shared { names, authorities, allow_private, moves: watch::Sender::default() }))
    }

    /// This machine's network is another one: what connections there are may lead nowhere.
    pub(super) fn moved(&self) {
        self.0.moves.send_modify(|moves| *moves += 1);
    }

    /// Counts those.
    pub(super) fn moves(&self) -> Moves {
        Moves(self.0.moves.subscribe())
    }
}

/// How often this machine's network became another one, as seen by who has a connection.
#[derive(Debug, Clone)]
pub(super) struct Moves(watch::Receiver<u64>);

impl Moves {
    /// How many there were.
    pub fn count(&mut self) -> u64 {
        *self.0.borrow_and_update()
    }

    /// Waits for the next.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Does something that a move may leave hanging: `None` when it took more than `grace` after one.
    pub async fn cut<T>(mut self, grace: Duration, what: impl Future<Output = T>) -> Option<T> {
        self.count();
        let cut = async {
            self.next().await;
            sleep(grace).await;
        };
        tokio::select! {
            biased;
            done = what => Some(done),
            () = cut => None,
        }
    }
}

/// This host's addresses with their prefix lengths.
pub fn own_networks() -> Vec<(IpAddr, u8)> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    interfaces
        .filter_map(|interface| {
            let (address, mask) = (interface.address?, interface.netmask?);
            if let (Some(ip), Some(mask)) = (address.as_sockaddr_in(), mask.as_sockaddr_in()) {
                return Some((IpAddr::V4(ip.ip()), u32::from(mask.ip()).leading_ones() as u8));
            }
            let (ip, mask) = (address.as_sockaddr_in6()?, mask.as_sockaddr_in6()?);
            Some((IpAddr::V6(ip.ip()), u128::from(mask.ip()).leading_ones() as u8))
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_hangs_after_a_move_is_cut_and_what_goes_on_is_not() {
        let network = Network::default();
        let (grace, begun) = (Duration::from_secs(2), tokio::time::Instant::now());
        let hangs = network.moves().cut(grace, std::future::pending::<()>());
        let answers = network.moves().cut(grace, sleep(Duration::from_secs(5)));
        let soon = network.moves().cut(grace, sleep(Duration::from_secs(6)));
        let moved = async {
            sleep(Duration::from_secs(4)).await;
            network.moved();
        };
        let (hangs, answers, soon, ()) = tokio::join!(hangs, answers, soon, moved);
        assert_eq!((hangs, answers, begun.elapsed()), (None, Some(()), Duration::from_secs(6)));
        // A move from before says nothing.
        assert!(soon.is_some() && network.moves().cut(grace, sleep(grace * 2)).await.is_some());
    }
}
