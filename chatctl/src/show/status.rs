//! How the daemon and the accounts of its caller stand, as facts; and what is wrong, a line for each thing that was looked at.

use proto::rpc::types::{AccountStatus, Check, CheckLevel, NetCheck, StatusResult};

use super::facts;
use super::words::{account_state, address, advice, clock, count, encryption};
use crate::term::span::Line;
use crate::term::table::Table;

/// The daemon on `socket`, then account by account, each behind an empty line.
pub fn status(status: &StatusResult, socket: &str) -> Vec<Line> {
    let mut lines = facts(&daemon(status, socket));
    for one in &status.accounts {
        lines.push(Line::default());
        lines.extend(facts(&account(one)));
    }
    lines
}

fn daemon(status: &StatusResult, socket: &str) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("daemon", format!("{}, API {}, up {}", status.server, status.api, clock::span(status.uptime))),
        ("client", format!("chatctl {}, API {}", env!("CARGO_PKG_VERSION"), proto::rpc::API_VERSION)),
        ("socket", socket.to_owned()),
        ("node", status.node.to_string()),
        ("listens on", if status.addresses.is_empty() { "-".to_owned() } else { status.addresses.join(", ") }),
        ("open", format!("{}{}, {}", count(status.links, "link"), by_relay(status), count(status.clients, "client"))),
    ];
    if let Some(relay) = &status.relay {
        facts.insert(5, ("waits at", format!("the relay {}", relay.trim_end_matches('/'))));
    }
    if let Some(stored) = &status.stored {
        facts.push(("stored", format!("{} of {} MiB", stored.bytes >> 20, stored.most >> 20)));
    }
    for client in &status.own_clients {
        let pid = client.pid.map(|pid| format!(" ({pid})")).unwrap_or_default();
        let since = clock::clock(client.since);
        let program = if client.program.is_empty() { "a program" } else { &client.program };
        facts.push(("used by", format!("{program}{pid} since {since}: {}", client.does)));
    }
    for user in &status.user_clients {
        facts.push(("user", format!("{}: {}", user.uid, count(user.clients, "client"))));
    }
    facts
}

/// How many of the links need a relay.
fn by_relay(status: &StatusResult) -> String {
    match (status.relayed, status.links) {
        (0, _) => String::new(),
        (relayed, links) if relayed >= links => " (by a relay)".to_owned(),
        (relayed, _) => format!(" ({relayed} of them by a relay)"),
    }
}

fn account(account: &AccountStatus) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("account", address(&account.address, account.default)),
        ("state", account_state(account.logged_in, account.online, account.directory.is_some()).to_owned()),
        ("directory", account.directory.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    facts.push(("sealed with", encryption(&account.encryption)));
    if let Some(error) = &account.directory_error {
        facts.push(("problem", advice::told(error, account.directory_advice.as_ref())));
    }
    if let Some(error) = &account.store_error {
        facts.push(("store", error.clone()));
    }
    if let Some(damaged) = &account.damaged {
        facts.push(("damaged", advice::told(damaged, account.repair.as_ref())));
    }
    if let Some(clock) = &account.clock {
        facts.push(("clock", clock.problem.clone()));
    }
    facts.push(("queued", account.queued.to_string()));
    facts.push(("unread", account.unread.to_string()));
    facts.push(("requests", account.requests.to_string()));
    facts.push(("contacts", account.contacts.to_string()));
    facts
}

/// What `doctor` found.
pub fn report(checks: &[Check]) -> Vec<Line> {
    let mut table = Table::new([0; 3]);
    for check in checks {
        let level = match check.level {
            CheckLevel::Ok => "ok",
            CheckLevel::Warning => "warning",
            CheckLevel::Error => "error",
        };
        let of = check.account.as_ref().map(|account| format!(" of {account}")).unwrap_or_default();
        let text = advice::told(&check.text, check.advice.as_ref());
        table.row([level.to_owned(), format!("{}{of}", check.what), text]);
    }
    table.take_lines(false)
}

/// What `netcheck` found.
pub fn network(checks: &[NetCheck]) -> Vec<Line> {
    let mut table = Table::new([0; 4]);
    for check in checks {
        let of = check.account.as_ref().map(|account| format!(" of {account}")).unwrap_or_default();
        let took = match check.took_us {
            0 => String::new(),
            took => format!("{:.1} ms", took as f64 / 1e3),
        };
        table.row([format!("{}{of}", check.what), check.value.clone(), took, check.text.clone()]);
    }
    table.take_lines(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::render::samples::plain;
    use proto::advice::Step;

    #[test]
    fn each_line_says_how_bad_it_is_and_what_to_do() {
        let check = |what: &str, level, account: Option<&str>, advice| Check {
            what: what.into(),
            account: account.map(str::to_owned),
            level,
            text: "found\u{1b}[2J".into(),
            advice,
        };
        let checks = [
            check("disk", CheckLevel::Ok, None, None),
            check("consumers", CheckLevel::Warning, Some("alice"), Some(Step::RemoveConsumer.of("bot"))),
        ];
        let shown = plain(&report(&checks));
        assert_eq!(
            shown,
            "ok       disk                found\\u{1b}[2J\n\
             warning  consumers of alice  found\\u{1b}[2J: chatctl consumers remove bot"
        );
    }
}
