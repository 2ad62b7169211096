//! The verbs, one in a file, by noun: `Args` is what a verb takes, `run` parses, calls the daemon and prints.

use proto::rpc::types::AccountInfo;

use crate::failure::Failure;
use crate::term::escape;
use crate::term::output::{Out, note, say};
use crate::term::table::Table;

pub mod account;
pub mod contact;
pub mod feed;
pub mod message;
pub mod safekeeping;
pub mod system;

/// Prints `label  value` lines, aligned; values are made harmless here.
pub fn facts(out: &mut Out, facts: &[(&str, String)]) -> Result<(), Failure> {
    let mut table = Table::new([0, 0]);
    for (label, value) in facts {
        table.row([(*label).to_owned(), escape::line(value).into_owned()]);
    }
    table.print(out)
}

/// An account, for people.
pub fn account_facts(out: &mut Out, account: &AccountInfo) -> Result<(), Failure> {
    facts(
        out,
        &[
            ("account", address(&account.address, account.default)),
            ("fingerprint", account.fingerprint.clone()),
            ("id", account.id.to_string()),
            ("directory", account.directory.clone().unwrap_or_else(|| "none (reachable by invite and LAN)".to_owned())),
            ("state", account_state(account.logged_in, account.online).to_owned()),
        ],
    )
}

/// The address, and whether it is the default.
pub fn address(address: &str, default: bool) -> String {
    if default { format!("{address} (the default)") } else { address.to_owned() }
}

pub fn account_state(logged_in: bool, online: bool) -> &'static str {
    match (logged_in, online) {
        (false, _) => "logged out",
        (true, true) => "logged in, online",
        (true, false) => "logged in, directory not connected",
    }
}

/// Prints a key that is told this once. If standard output does not take it, it goes to standard error and the run fails:
/// a reader that has left is no reason to lose it.
pub fn told_once(out: &mut Out, key: &str, print: impl FnOnce(&mut Out) -> Result<(), Failure>) -> Result<(), Failure> {
    print(out).and_then(|()| out.flush()).map_err(|failure| {
        say(&format!("{failure}; the recovery key follows here, and is shown this once"));
        note(key);
        Failure::other("the recovery key could not be printed to standard output")
    })
}

/// `1 message`, `2 messages`.
pub fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_is_counted_as_one() {
        let shown = [0, 1, 2, 11, 21].map(|n| super::count(n, "message"));
        assert_eq!(shown, ["0 messages", "1 message", "2 messages", "11 messages", "21 messages"]);
    }
}
