//! What the network allows, as it is seen from the directories of the caller's accounts; each finding with its time.
//!
//! Not the job: whether a contact is reached (`network::pings`), and what is wrong with the daemon (`doctor`).
//!
//! Invariant: nobody is asked but directories of the caller's accounts and their DNS, all at once, and no answer is waited for longer than
//! [`PATIENCE`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemonkit::chain::chain;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::doctor::Level;
use crate::delivery::relay_of;
use crate::directory::{DirectoryClient, own_networks};
use crate::link::{Relay, Seen, SeenError, Socket};
use crate::model::Caller;
use crate::service::account::Account;
use crate::service::context::Service;
use crate::service::error::ServiceError;

/// For the answer of a directory, or of the DNS.
const PATIENCE: Duration = Duration::from_secs(5);
/// Accounts whose directories are asked at most, the first by name.
const MAX_ACCOUNTS: usize = 16;
/// Looks under way, of all callers: each has sockets of its own, with buffers of a megabyte and more.
static UNDER_WAY: Semaphore = Semaphore::const_new(8);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    /// What, in a word.
    pub what: &'static str,
    /// Of which account.
    pub account: Option<String>,
    pub level: Level,
    /// For programs.
    pub value: &'static str,
    pub text: String,
    pub took: Duration,
}

fn look(what: &'static str, level: Level, value: &'static str, text: impl Into<String>, took: Duration) -> Look {
    Look { what, account: None, level, value, text: text.into(), took }
}

/// `system.netcheck`.
///
/// # Errors
/// No account of the given name; too often.
pub(crate) async fn examine(
    service: &Service,
    caller: &Caller,
    account: Option<&str>,
) -> Result<Vec<Look>, ServiceError> {
    let mut chosen = match account {
        Some(name) => vec![service.account_to_read(caller, Some(name))?],
        None => service.inner.accounts.owned(caller),
    };
    chosen.sort_by_key(|account| account.row().address());
    chosen.truncate(MAX_ACCOUNTS);
    for account in &chosen {
        if let Err(over) = service.inner.pings.check(&account.id) {
            let seconds = over.0.as_secs() + 1;
            return Err(ServiceError::TooOften(format!("the network was looked at very often; again in {seconds} s")));
        }
    }
    let Ok(_place) = UNDER_WAY.try_acquire() else {
        return Err(ServiceError::TooOften("the network is being looked at by many; again in 1 s".into()));
    };
    let mut relays: Vec<Relay> = chosen.iter().filter_map(|account| relay(account)).collect();
    relays.sort_by(|one, other| one.url.cmp(&other.url));
    relays.dedup_by(|one, other| one.url == other.url);
    let (network, accounts) =
        tokio::join!(network(&relays), join_all(chosen.iter().map(|account| of_account(service, account))));
    Ok(network.into_iter().chain(accounts.into_iter().flatten()).collect())
}

fn relay(account: &Account) -> Option<Relay> {
    account.directory.as_ref()?.relay().map(relay_of)
}

/// UDP, the two protocols, and the NAT.
async fn network(relays: &[Relay]) -> Vec<Look> {
    let begun = Instant::now();
    let own: Vec<IpAddr> = own_networks().into_iter().map(|(address, _)| address).collect();
    let (v4, v6) = tokio::join!(asked(relays, false), asked(relays, true));
    let all = || v4.iter().chain(&v6);
    let first = all().filter_map(|seen| seen.as_ref().ok()).min_by_key(|seen| seen.took);
    let udp = match (first, all().find_map(|seen| seen.as_ref().err())) {
        (Some(seen), _) => look("udp", Level::Ok, "yes", format!("seen at {}", seen.address), seen.took),
        (None, Some(why @ SeenError::Silence(_))) => {
            let text = format!("{why}: what is sent goes by the relay, or to the mailbox");
            look("udp", Level::Warning, "no", text, begun.elapsed())
        }
        (None, Some(why)) => look("udp", Level::Ok, "unknown", why.to_string(), begun.elapsed()),
        (None, None) => look("udp", Level::Ok, "unknown", NOBODY, begun.elapsed()),
    };
    let (kind, text, took) = nat(&v4.iter().filter_map(|seen| seen.as_ref().ok().copied()).collect::<Vec<_>>(), &own);
    let nat = look("nat", if kind == "hard" { Level::Warning } else { Level::Ok }, kind, text, took);
    vec![udp, family("ipv4", &own, &v4, IpAddr::is_ipv4), family("ipv6", &own, &v6, IpAddr::is_ipv6), nat]
}

const NOBODY: &str = "no directory of yours tells how this machine is seen";

/// How one socket is seen from each relay that is reached by IPv4, or by IPv6.
async fn asked(relays: &[Relay], is_v6: bool) -> Vec<Result<Seen, SeenError>> {
    let relays: Vec<&Relay> = relays.iter().filter(|relay| relay.address.is_ipv6() == is_v6).collect();
    if relays.is_empty() {
        return Vec::new();
    }
    let Ok(socket) = Socket::new(is_v6) else { return Vec::new() };
    join_all(relays.into_iter().map(|relay| socket.seen_from(relay))).await
}

/// Whether a protocol is of use.
fn family(what: &'static str, own: &[IpAddr], asked: &[Result<Seen, SeenError>], is_of: fn(&IpAddr) -> bool) -> Look {
    let reaches_out = |ip: &&IpAddr| {
        let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        is_of(ip) && !ip.is_loopback() && !link_local
    };
    let has = own.iter().find(reaches_out);
    let seen = asked.iter().filter_map(|seen| seen.as_ref().ok()).min_by_key(|seen| seen.took);
    match (seen, has) {
        (Some(seen), _) => look(what, Level::Ok, "yes", format!("seen at {}", seen.address.ip()), seen.took),
        (None, Some(own)) if asked.is_empty() => {
            let text = format!("this machine has the address {own}; no directory of yours is reached that way");
            look(what, Level::Ok, "unknown", text, Duration::ZERO)
        }
        (None, Some(own)) => {
            let text = format!("this machine has the address {own}, and gets no answer to UDP");
            look(what, Level::Ok, "unknown", text, Duration::ZERO)
        }
        (None, None) => look(what, Level::Ok, "no", "this machine has no such address", Duration::ZERO),
    }
}

/// What is between this machine and the relays that saw one of its sockets: the kind, in words, and its time.
fn nat(seen: &[Seen], own: &[IpAddr]) -> (&'static str, String, Duration) {
    let Some(first) = seen.first() else { return ("unknown", NOBODY.to_owned(), Duration::ZERO) };
    let took = seen.iter().map(|one| one.took).max().unwrap_or_default();
    if own.contains(&first.address.ip()) {
        return ("none", "this machine is seen by an address of its own".to_owned(), took);
    }
    let addresses = || seen.iter().map(|one| one.address.to_string()).collect::<Vec<_>>().join(" and ");
    if seen.iter().any(|one| one.address != first.address) {
        let text = format!("whoever looks sees another address ({}): direct ways only to easy NATs", addresses());
        return ("hard", text, took);
    }
    if seen.len() > 1 {
        return ("easy", format!("all directories that were asked see {}", first.address), took);
    }
    if first.address.port() == first.port {
        return ("easy", format!("one directory sees {}, with the port that was sent from", first.address), took);
    }
    let text =
        format!("one directory sees {}, sent from port {}; another one would tell more", first.address, first.port);
    ("unknown", text, took)
}

/// The directory of an account, its relay, and its domain's DNS.
async fn of_account(service: &Service, account: &Arc<Account>) -> Vec<Look> {
    let mut found = match &account.directory {
        None => {
            let text = "none: the account is reached by invite and in the local network";
            vec![look("directory", Level::Ok, "no", text, Duration::ZERO)]
        }
        Some(client) => {
            let (answers, srv) = tokio::join!(answers(service, account, client), srv(client));
            answers.into_iter().chain(srv).collect()
        }
    };
    let address = account.row().address();
    found.iter_mut().for_each(|look| look.account = Some(address.clone()));
    found
}

/// Whether the directory answers, and whether this daemon waits at its relay.
async fn answers(service: &Service, account: &Account, client: &DirectoryClient) -> Vec<Look> {
    let begun = Instant::now();
    let asked = timeout(PATIENCE, client.nonce()).await;
    let took = begun.elapsed();
    let url = client.url();
    let directory = match asked {
        Ok(Ok(_)) => look("directory", Level::Ok, "yes", format!("{url} answers"), took),
        Ok(Err(error)) => look("directory", Level::Error, "no", chain(&error), took),
        Err(_) => {
            let text = format!("{url} gives no answer within {} s", PATIENCE.as_secs());
            look("directory", Level::Error, "no", text, took)
        }
    };
    let Some(place) = client.relay() else {
        let (value, text) = match account.session().up {
            true => ("no", "the directory has none for this machine"),
            false => ("unknown", "there is no session with the directory"),
        };
        return vec![directory, look("relay", Level::Ok, value, text, Duration::ZERO)];
    };
    let is_there = service.inner.node.relays().iter().any(|url| place.is_at(url));
    // It is where the directory is, behind the same TLS: one more question on the same connection measures the way.
    let begun = Instant::now();
    let asked = timeout(PATIENCE.saturating_sub(took), client.nonce()).await;
    let took = begun.elapsed();
    let relay = match (is_there, asked) {
        (true, Ok(Ok(_))) => look("relay", Level::Ok, "yes", format!("this daemon waits at {}", place.url), took),
        (true, _) => look("relay", Level::Warning, "unknown", format!("{} does not answer now", place.url), took),
        (false, _) => {
            let text =
                format!("this daemon is not connected to {}: it is reached directly, or by its mailbox", place.url);
            look("relay", Level::Warning, "no", text, took)
        }
    };
    vec![directory, relay]
}

/// What the DNS says of the domain.
async fn srv(client: &DirectoryClient) -> Option<Look> {
    let begun = Instant::now();
    let asked = timeout(PATIENCE, client.machines()).await;
    let took = begun.elapsed();
    Some(match asked {
        Ok(None) => look("srv", Level::Ok, "no", "not asked: the directory was named by its URL", Duration::ZERO),
        Ok(Some(Ok(machines))) => look("srv", Level::Ok, "yes", machines.join(", "), took),
        Ok(Some(Err(error))) => look("srv", Level::Warning, "no", error.to_string(), took),
        Err(_) => {
            let text = format!("the DNS gives no answer within {} s", PATIENCE.as_secs());
            look("srv", Level::Warning, "unknown", text, took)
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn seen(address: &str, port: u16) -> Seen {
        Seen { address: address.parse().unwrap(), port, took: Duration::from_millis(3) }
    }

    #[test]
    fn a_nat_is_known_by_what_is_seen_through_it() {
        let own = ["10.0.0.2".parse().unwrap()];
        for (seen, kind) in [
            (vec![], "unknown"),
            (vec![seen("10.0.0.2:7", 7)], "none"),
            (vec![seen("192.0.2.1:7", 7)], "easy"),
            (vec![seen("192.0.2.1:8", 7)], "unknown"),
            (vec![seen("192.0.2.1:8", 7), seen("192.0.2.1:8", 7)], "easy"),
            (vec![seen("192.0.2.1:8", 7), seen("192.0.2.1:9", 7)], "hard"),
        ] {
            assert_eq!(nat(&seen, &own).0, kind, "{seen:?}");
        }
    }

    #[test]
    fn a_protocol_is_there_when_it_was_used_and_not_when_there_is_no_address() {
        let own: Vec<IpAddr> = ["127.0.0.1", "::1", "fe80::1", "10.0.0.2"].map(|ip| ip.parse().unwrap()).into();
        assert_eq!(
            family("ipv6", &own, &[], IpAddr::is_ipv6).value,
            "no",
            "an address of the cable alone leads nowhere"
        );
        assert_eq!(family("ipv4", &own, &[], IpAddr::is_ipv4).value, "unknown");
        assert_eq!(family("ipv4", &own, &[Ok(seen("192.0.2.1:8", 7))], IpAddr::is_ipv4).value, "yes");
        assert_eq!(family("ipv4", &own[..3], &[], IpAddr::is_ipv4).value, "no");
    }
}
