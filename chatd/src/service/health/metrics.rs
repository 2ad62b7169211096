//! The daemon in figures, as Prometheus reads them. No name, no key and no id is in them: whoever watches a machine need not know
//! who talks to whom.

use std::fmt::Write as _;

use crate::service::context::Service;
use crate::store::history;

/// All accounts together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Figures {
    accounts: u64,
    logged_in: u64,
    sessions: u64,
    damaged: u64,
    read_only: u64,
    queued: u64,
    unread: u64,
    requests: u64,
    contacts: u64,
    events: u64,
    links: u64,
    clients: u64,
    uptime: u64,
    disk_low: u64,
    disk_free: u64,
    stored: u64,
}

/// The text; asks every store.
pub(crate) async fn render(service: &Service) -> String {
    let inner = &service.inner;
    let mut all = Figures {
        links: inner.table.open_links(),
        clients: service.clients().count(),
        uptime: inner.started.elapsed().as_secs(),
        disk_low: inner.space.look().into(),
        disk_free: inner.space.spare().unwrap_or(0),
        stored: inner.shares.bytes(),
        ..Figures::default()
    };
    for account in service.accounts() {
        let (logged_in, up) = {
            let state = account.state.now();
            (state.row.logged_in, state.session.up)
        };
        all.accounts += 1;
        all.logged_in += u64::from(logged_in);
        all.sessions += u64::from(up);
        all.damaged += u64::from(account.store.damage().is_some());
        all.read_only += u64::from(account.store.write_error().is_some());
        all.events += account.store.hub().head();
        // Of a damaged account, what can be told is told.
        let (queued, unread, requests, contacts) = account.store.read(history::counts).await.unwrap_or_default();
        all.queued += queued;
        all.unread += unread;
        all.requests += requests;
        all.contacts += contacts;
    }
    text(&all)
}

fn text(all: &Figures) -> String {
    let mut out = String::with_capacity(4_096);
    for (name, kind, help, value) in [
        ("accounts", "gauge", "Accounts of this daemon.", all.accounts),
        ("accounts_logged_in", "gauge", "Accounts that are to be online.", all.logged_in),
        ("directory_sessions", "gauge", "Accounts whose directory session is up.", all.sessions),
        ("accounts_damaged", "gauge", "Accounts that can only be read.", all.damaged),
        ("accounts_not_writing", "gauge", "Accounts whose store takes no writes.", all.read_only),
        ("messages_queued", "gauge", "Messages not yet acknowledged by their recipients.", all.queued),
        ("messages_unread", "gauge", "Messages that nobody has read.", all.unread),
        ("contact_requests", "gauge", "Contact requests that wait for an answer.", all.requests),
        ("contacts", "gauge", "Contacts of all accounts.", all.contacts),
        ("events_total", "counter", "Events of all accounts since they were made.", all.events),
        ("links", "gauge", "Open links to other daemons.", all.links),
        ("clients", "gauge", "Programs connected to the socket.", all.clients),
        ("uptime_seconds", "gauge", "Seconds since the daemon was started.", all.uptime),
        ("disk_low", "gauge", "1 while the disk has too little room to store more.", all.disk_low),
        ("stored_bytes", "gauge", "Bytes that all accounts store, without the index for searches.", all.stored),
        ("disk_spare_bytes", "gauge", "Bytes that are free beyond what the daemon keeps back.", all.disk_free),
    ] {
        let _ = writeln!(out, "# HELP chatd_{name} {help}\n# TYPE chatd_{name} {kind}\nchatd_{name} {value}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_figure_has_its_help_and_its_kind() {
        let shown = text(&Figures { queued: 7, ..Figures::default() });
        assert!(shown.contains("\nchatd_messages_queued 7\n") && shown.ends_with('\n'));
        for line in shown.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once(' ').unwrap_or_default();
            assert!(value.parse::<u64>().is_ok() && shown.contains(&format!("# TYPE {name} ")), "{line}");
        }
        assert_eq!(shown.lines().count() % 3, 0);
    }
}
