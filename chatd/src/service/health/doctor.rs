//! What is wrong with the daemon and the caller's accounts, looked at piece by piece; each finding says what helps.
//!
//! Not the job: what a program can look at without the daemon (`chatctl`), and repair.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use proto::advice::{Advice, Step};
use proto::time::Timestamp;

use crate::model::{Caller, Consumer, PageOf};
use crate::service::account::{Account, clock, info};
use crate::service::context::Service;
use crate::service::error::ServiceError;
use crate::service::tokens::manage;
use crate::store::feed::consumers;

/// A consumer that acknowledged nothing for so long, and that nobody reads, is gone.
const GONE_AFTER: Duration = Duration::from_secs(7 * 86_400);
/// A token that ends within this time is told of.
const ENDS_SOON: Duration = Duration::from_secs(7 * 86_400);
/// A directory's certificate that ends within this time is told of: those who renew them by themselves do so 30 days before.
const CERTIFICATE_ENDS_SOON: Duration = Duration::from_secs(14 * 86_400);
/// Consumers, and tokens, that are named for an account at most.
const MAX_NAMED: usize = 20;
/// Free room below which somebody should look, in bytes.
const LITTLE_ROOM_BYTES: u64 = 256 << 20;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Ok,
    Warning,
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What, in a word.
    pub what: &'static str,
    /// Of which account.
    pub account: Option<String>,
    pub level: Level,
    pub text: String,
    pub advice: Option<Advice>,
}

fn finding(what: &'static str, level: Level, text: impl Into<String>) -> Finding {
    Finding { what, account: None, level, text: text.into(), advice: None }
}

impl Finding {
    fn advise(self, advice: Option<Advice>) -> Self {
        Self { advice, ..self }
    }
}

/// `system.doctor`.
///
/// # Errors
/// No account of the given name.
pub(crate) async fn examine(
    service: &Service,
    caller: &Caller,
    account: Option<&str>,
) -> Result<Vec<Finding>, ServiceError> {
    let mut chosen = match account {
        Some(name) => vec![service.account_to_read(caller, Some(name))?],
        None => service.inner.accounts.owned(caller),
    };
    chosen.sort_by_key(|account| account.row().address());
    let mut found = vec![disk(service), share(service, caller), clients(service), permissions(&service.inner.data_dir)];
    for account in chosen {
        let address = account.row().address();
        let of_account = of_account(&account).await;
        found.extend(of_account.into_iter().map(|one| Finding { account: Some(address.clone()), ..one }));
    }
    Ok(found)
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn disk(service: &Service) -> Finding {
    let space = &service.inner.space;
    if let Some(trouble) = space.trouble() {
        return finding("disk", Level::Error, trouble);
    }
    match space.spare() {
        None => finding("disk", Level::Warning, "the system does not say how much room the disk has"),
        Some(free) if free < LITTLE_ROOM_BYTES => {
            finding("disk", Level::Warning, format!("{} are left on the disk: free some before it is full", mib(free)))
        }
        Some(free) => finding("disk", Level::Ok, format!("{} are free", mib(free))),
    }
}

/// What the user's accounts store of what they may.
fn share(service: &Service, caller: &Caller) -> Finding {
    let used = service.inner.shares.of(caller.uid).used();
    let text = format!("your accounts store {} of {}", mib(used.bytes), mib(used.most));
    match used.bytes {
        bytes if bytes >= used.most => {
            let more = "nothing more is taken: forget what is no longer needed, or have the operator raise user_mib in [space]";
            finding("share", Level::Error, format!("{text}: {more}"))
        }
        bytes if bytes / 4 >= used.most / 5 => {
            finding("share", Level::Warning, format!("{text}: when all is used, nothing more is taken"))
        }
        _ => finding("share", Level::Ok, text),
    }
}

fn clients(service: &Service) -> Finding {
    let (now, most) = (service.clients().count(), u64::from(service.config().limits.rpc_clients.get()));
    let level = if now * 10 > most * 8 { Level::Warning } else { Level::Ok };
    finding("clients", level, format!("{now} of {most} places for programs are taken"))
}

/// Nobody else may look into the data directory.
fn permissions(data_dir: &Path) -> Finding {
    match open_to_others(data_dir) {
        Ok(None) => finding("permissions", Level::Ok, "nobody else may read the data"),
        Ok(Some(wrong)) => {
            finding("permissions", Level::Error, format!("{wrong} is open to others: take that away with chmod go="))
        }
        Err(error) => finding("permissions", Level::Warning, format!("cannot look at {}: {error}", data_dir.display())),
    }
}

fn open_to_others(folder: &Path) -> std::io::Result<Option<String>> {
    let open = |path: &Path| Ok::<_, std::io::Error>(std::fs::symlink_metadata(path)?.mode() & 0o077 != 0);
    for path in [folder.to_owned(), folder.join("node.key")] {
        if open(&path)? {
            return Ok(Some(path.display().to_string()));
        }
    }
    Ok(None)
}

async fn of_account(account: &Account) -> Vec<Finding> {
    let mut found = vec![store(account), keys(account)];
    found.extend(directory(account));
    found.push(match clock::status(&account.clock) {
        Some(skew) => finding("clock", Level::Warning, skew.problem),
        None => finding("clock", Level::Ok, "this machine's clock is not known to differ from others'"),
    });
    found.extend(consumers_of(account).await);
    found.extend(tokens_of(account).await);
    found
}

fn store(account: &Account) -> Finding {
    if let Some(damage) = account.damage() {
        return finding("store", Level::Error, damage.text).advise(damage.advice);
    }
    if let Some(error) = account.store.write_error() {
        return finding("store", Level::Error, error);
    }
    let size = std::fs::metadata(account.folder.join("messages.db")).map_or(0, |meta| meta.len());
    finding("store", Level::Ok, format!("it takes writes, and has {}", mib(size.max(1 << 20))))
}

fn keys(account: &Account) -> Finding {
    if account.keys.device_id() != account.device {
        return finding("keys", Level::Error, format!("keys are missing in {}", account.folder.display()));
    }
    for name in ["identity.key", "device.key"] {
        let path = account.folder.join(name);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) if meta.mode() & 0o077 != 0 => {
                let text = format!("{} is open to others: take that away with chmod go=", path.display());
                return finding("keys", Level::Error, text);
            }
            Ok(_) => {}
            Err(error) => return finding("keys", Level::Error, format!("{}: {error}", path.display())),
        }
    }
    finding("keys", Level::Ok, "they are there, and nobody else may read them")
}

/// The session, and by what its directory is known.
fn directory(account: &Account) -> Vec<Finding> {
    let state = account.state.now().clone();
    let Some(client) = &account.directory else {
        return vec![finding(
            "directory",
            Level::Ok,
            "none: the account is reached by invite and in the local network",
        )];
    };
    let trouble = info::trouble(&state);
    let session = match (&trouble, state.row.logged_in, state.session.up) {
        (Some(trouble), ..) => finding("directory", Level::Error, trouble.text.clone()).advise(trouble.advice.clone()),
        (None, false, _) => {
            finding("directory", Level::Warning, "the account is logged out").advise(Some(Step::LogIn.alone()))
        }
        (None, true, true) => finding("directory", Level::Ok, format!("the session with {} is up", client.url())),
        (None, true, false) => {
            finding("directory", Level::Warning, format!("the session with {} is not up yet", client.url()))
        }
    };
    let changed = trouble
        .is_some_and(|trouble| trouble.advice.is_some_and(|advice| matches!(advice.step, Step::AcceptDirectoryKey)));
    let ends = client.certificate_ends().map(|ends| Timestamp(ends.saturating_mul(1_000)));
    let soon = Timestamp::now().0.saturating_add(CERTIFICATE_ENDS_SOON.as_millis() as i64);
    let certificate = match client.pin().key() {
        _ if changed => finding("certificate", Level::Error, "the directory shows another key than before"),
        Some(_) => match ends {
            Some(at) if at.0 < soon => finding(
                "certificate",
                Level::Warning,
                format!("the directory's certificate ends at {at}: its operator has to renew it before"),
            ),
            Some(at) => finding(
                "certificate",
                Level::Ok,
                format!("the directory is known by its key; its certificate holds until {at}"),
            ),
            None => finding("certificate", Level::Ok, "the directory is known by its key"),
        },
        None => finding(
            "certificate",
            Level::Warning,
            "the directory's key is not known yet: it is taken at the first session",
        ),
    };
    vec![session, certificate]
}

/// Consumers that nobody has read for long, of those that are not read now.
fn gone(consumers: Vec<Consumer>, reads: impl Fn(&str) -> bool, now: Timestamp) -> Vec<Consumer> {
    let before = now.0.saturating_sub(GONE_AFTER.as_millis() as i64);
    consumers.into_iter().filter(|one| one.at.0 < before && one.waiting > 0 && !reads(&one.name)).collect()
}

async fn consumers_of(account: &Account) -> Vec<Finding> {
    let head = account.store.hub().head();
    let all = account.store.read(move |conn| consumers::page(conn, "", consumers::MAX_CONSUMERS as usize, head)).await;
    let all = match all {
        Ok(all) => all,
        Err(error) => return vec![finding("consumers", Level::Warning, error.to_string())],
    };
    let count = all.len();
    let gone = gone(all, |name| account.readers.reads(name), Timestamp::now());
    if gone.is_empty() {
        return vec![finding("consumers", Level::Ok, format!("{count} kept, and none is gone"))];
    }
    let named = gone.iter().take(MAX_NAMED).map(|one| {
        let text = format!("{} has read nothing since {}; what waits for it: {}", one.name, one.at, one.waiting);
        finding("consumers", Level::Warning, text).advise(Some(Step::RemoveConsumer.of(&one.name)))
    });
    named.collect()
}

async fn tokens_of(account: &Account) -> Vec<Finding> {
    let first = PageOf { after: None, limit: None };
    let Ok(page) = manage::list(account, first).await else {
        return vec![finding("tokens", Level::Warning, "they cannot be read")];
    };
    let soon = Timestamp::now().0.saturating_add(ENDS_SOON.as_millis() as i64);
    let in_force: Vec<_> = page.entries.into_iter().filter(|token| token.row.ended.is_none()).collect();
    let ending = in_force.iter().filter_map(|token| Some((token, token.row.expires.filter(|at| at.0 < soon)?)));
    let mut found: Vec<Finding> = ending
        .take(MAX_NAMED)
        .map(|(token, at)| finding("tokens", Level::Warning, format!("{} ends at {at}", token.row.name)))
        .collect();
    if found.is_empty() {
        found.push(finding("tokens", Level::Ok, format!("{} in force", in_force.len())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_gone_when_nobody_has_read_it_for_a_week_and_something_waits() {
        let day = 86_400_000;
        let consumer = |name: &str, at: i64, waiting: u64| Consumer {
            name: name.into(),
            seq: 1,
            at: Timestamp(at * day),
            waiting,
            attempts: 0,
            dead_letters: 0,
        };
        let all = vec![consumer("old", 1, 5), consumer("read", 1, 5), consumer("idle", 1, 0), consumer("new", 9, 5)];
        let found = gone(all, |name| name == "read", Timestamp(10 * day));
        assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["old"]);
    }
}
