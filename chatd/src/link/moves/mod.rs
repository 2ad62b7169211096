//! Notices that this machine's network is another one: an address of it is gone, its default route leads elsewhere, or it slept.
//!
//! Not the job: what follows from that. The transport watches the same for itself, and mends its paths; what it cannot mend, those who
//! are told here let go.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use iroh::Watcher;
use netwatch::interfaces::State;
use netwatch::netmon::Monitor;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked whether the machine slept: who wakes up mostly gets its network back a moment later, and that is told at once.
const SLEEP_CHECK: Duration = Duration::from_secs(5);
/// Less than that is no sleep, but the time between two looks at two clocks.
const SLEPT: Duration = Duration::from_secs(2);

/// What counts of the state of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    addresses: BTreeSet<IpAddr>,
    /// The interface to which the default route leads.
    route: Option<String>,
}

impl Seen {
    fn of(state: &State) -> Self {
        let addresses = state.local_addresses.regular.iter().copied().collect();
        Self { addresses, route: state.default_route_interface.clone() }
    }

    /// Whether what stood before may lead nowhere now. An address more, as one of a container's network, harms nothing.
    fn is_a_move_from(&self, old: &Self) -> bool {
        self.route != old.route || !old.addresses.is_subset(&self.addresses)
    }
}

/// Counts moves, for as long as it is polled.
pub(super) async fn watch_moves(moves: watch::Sender<u64>) {
    let monitor = Monitor::new().await;
    let monitor = monitor.inspect_err(|error| tracing::warn!(%error, "changes of the network are not noticed")).ok();
    let mut states = monitor.as_ref().map(Monitor::interface_state);
    let mut seen = states.as_mut().map(|states| Seen::of(&states.get()));
    let mut slept = asleep();
    let mut look = interval(SLEEP_CHECK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let changed = async {
            match &mut states {
                Some(states) => states.updated().await.ok(),
                None => std::future::pending().await,
            }
        };
        let moved = tokio::select! {
            state = changed => match state {
                Some(state) => {
                    let now = Seen::of(&state);
                    let moved = seen.as_ref().is_none_or(|old| now.is_a_move_from(old));
                    seen = Some(now);
                    moved
                }
                None => {
                    states = None;
                    false
                }
            },
            _ = look.tick() => {
                let before = std::mem::replace(&mut slept, asleep());
                slept.saturating_sub(before) > SLEPT
            }
        };
        if moved {
            tracing::debug!(?seen, "the network is another one");
            moves.send_modify(|moves| *moves += 1);
        }
    }
}

/// For how long the machine has slept since it was booted.
fn asleep() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let time = |id| clock_gettime(id).map_or(Duration::ZERO, Duration::from);
        let awake = time(ClockId::CLOCK_MONOTONIC);
        time(ClockId::CLOCK_BOOTTIME).saturating_sub(awake)
    }
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seen(addresses: &[&str], route: Option<&str>) -> Seen {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Seen { addresses, route: route.map(str::to_owned) }
    }

    #[test]
    fn what_takes_something_away_is_a_move() {
        let home = seen(&["192.0.2.1"], Some("wlan0"));
        for (now, is_move) in [
            (seen(&["192.0.2.1"], Some("wlan0")), false),
            (seen(&["192.0.2.1", "172.17.0.1"], Some("wlan0")), false),
            (seen(&["192.0.2.7"], Some("wlan0")), true),
            (seen(&["192.0.2.1", "192.0.2.7"], Some("wwan0")), true),
            (seen(&["192.0.2.1"], None), true),
            (seen(&[], Some("wlan0")), true),
        ] {
            assert_eq!(now.is_a_move_from(&home), is_move, "{now:?}");
        }
        assert!(home.is_a_move_from(&seen(&["192.0.2.1"], None)), "a route that is back");
    }

    #[test]
    fn who_is_awake_does_not_sleep() {
        let before = asleep();
        assert!(asleep().saturating_sub(before) < SLEPT);
    }
}
