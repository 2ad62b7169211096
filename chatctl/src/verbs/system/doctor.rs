//! `chatctl doctor`: what is wrong, and what to do about it. Works without a daemon as far as that goes.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use proto::places;
use proto::rpc::API_VERSION;
use proto::rpc::methods::{SystemDoctor, SystemHello};
use proto::rpc::types::{Check, CheckLevel, HelloParams};
use serde::Serialize;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::show::status;

#[derive(Debug, clap::Args)]
pub struct Args {}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    /// The worst of what was found.
    level: CheckLevel,
    checks: Vec<Check>,
}

fn check(what: &str, level: CheckLevel, text: String) -> Check {
    Check { what: what.to_owned(), account: None, level, text, advice: None }
}

pub async fn run(_args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut checks = Vec::new();
    let exit = match examine(session, &mut checks).await {
        Ok(()) => None,
        Err(failure) => {
            let hint = failure.hint().map(|hint| format!(": {hint}")).unwrap_or_default();
            checks.push(check("daemon", CheckLevel::Error, format!("{failure}{hint}")));
            checks.extend(sockets(session));
            Some(failure.exit())
        }
    };
    let level = checks.iter().map(|check| check.level).max().unwrap_or(CheckLevel::Ok);
    session.out.either(&Report { level, checks }, |out, report| out.show(&status::report(&report.checks)))?;
    Ok(exit.unwrap_or(if level == CheckLevel::Error { Exit::Failed } else { Exit::Ok }))
}

/// What the daemon is asked.
async fn examine(session: &mut Session, checks: &mut Vec<Check>) -> Result<(), Failure> {
    let client = session.client().await?;
    let socket = session.connected().map(Path::to_owned).unwrap_or_default();
    checks.push(check("socket", CheckLevel::Ok, format!("a daemon answers at {}", socket.display())));
    let hello = client.call::<SystemHello>(&HelloParams::default()).await?;
    let versions = format!("{} and chatctl {} speak version {API_VERSION}", hello.server, env!("CARGO_PKG_VERSION"));
    checks.push(match hello.api == API_VERSION {
        true => check("version", CheckLevel::Ok, versions),
        false => {
            let text = format!(
                "{} speaks version {} of the API, this program {API_VERSION}: install one of both",
                hello.server, hello.api
            );
            check("version", CheckLevel::Warning, text)
        }
    });
    if hello.accounts.is_empty() {
        let text = "you have no account here: chatctl register NAME makes one".to_owned();
        checks.push(check("account", CheckLevel::Warning, text));
    }
    let params = session.account_params();
    checks.extend(session.call::<SystemDoctor>(&params).await?.checks);
    Ok(())
}

/// What can be seen of the places where a socket would be.
fn sockets(session: &Session) -> Vec<Check> {
    let Ok(paths) = places::sockets(session.connected()) else { return Vec::new() };
    let look = |path: &Path| {
        let folder = path.parent().unwrap_or(path);
        match (path.symlink_metadata(), folder.symlink_metadata()) {
            (Ok(meta), _) if meta.file_type().is_socket() => {
                let text =
                    format!("{} is there (mode {:o}, of user {})", path.display(), meta.mode() & 0o777, meta.uid());
                check("socket", CheckLevel::Warning, format!("{text}, and nobody answers at it"))
            }
            (Ok(_), _) => {
                let text = format!("{} is no socket: remove it, so that a daemon can make its own", path.display());
                check("socket", CheckLevel::Error, text)
            }
            (Err(_), Ok(meta)) if meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 => {
                let text = format!("others may write to {}: they could put a socket there", folder.display());
                check("socket", CheckLevel::Error, text)
            }
            (Err(error), _) => check("socket", CheckLevel::Warning, format!("{}: {error}", path.display())),
        }
    };
    paths.iter().map(|path| look(path)).collect()
}
