//! `chatctl register`: makes an account, and hands over its recovery key this once.

use std::io::Write;
use std::path::PathBuf;

use proto::rpc::methods::AccountRegister;
use proto::rpc::types::{AccountInfo, RegisterParams};
use serde::Serialize;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::interrupt::Interrupts;
use crate::input::secret;
use crate::new_file;
use crate::term::output::{note, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name to claim, such as alice, or alice@example.org in that domain's directory
    name: String,
    /// URL or domain of the directory; the daemon's own if left out, '' for none
    #[arg(long, value_name = "DIRECTORY")]
    directory: Option<String>,
    /// The name that contacts are shown
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// A registration token of the directory's operator
    #[arg(long, value_name = "TOKEN")]
    invite_token: Option<String>,
    /// Take a name back that was given up less than 30 days ago: the file with the recovery key of that account, which stays the
    /// recovery key
    #[arg(long, value_name = "FILE", conflicts_with = "recovery_file")]
    reclaim: Option<PathBuf>,
    /// Write the recovery key to this new file instead of standard output
    #[arg(long, value_name = "FILE")]
    recovery_file: Option<PathBuf>,
}

/// What `--json` prints when the key went into a file.
#[derive(Serialize)]
struct WithFile<'a> {
    account: &'a AccountInfo,
    recovery_file: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    // Opened first: the key is told once, so there must be a place for it before there is a key.
    let mut file =
        args.recovery_file.as_ref().map(|path| new_file::create(path, "nothing was registered")).transpose()?;
    let recovery_key = args.reclaim.as_ref().map(|path| secret::file(path, "recovery key")).transpose()?;
    let params = RegisterParams {
        name: args.name,
        directory: args.directory,
        display_name: args.display_name,
        invite_token: args.invite_token,
        recovery_key,
    };
    // An account without its recovery key is worse than a moment of waiting.
    let why = "waiting for the daemon: it tells the recovery key only once (again to leave all the same)";
    let called = Interrupts::new()?.hold(why, session.call::<AccountRegister>(&params)).await;
    let result = called.and_then(|result| result);
    if let (Err(_), Some(path)) = (&result, &args.recovery_file) {
        let _ = std::fs::remove_file(path);
    }
    let result = result?;
    let account = &result.account;
    if let (Some(file), Some(path)) = (&mut file, &args.recovery_file) {
        let written = writeln!(file, "{}", &*result.recovery_key).and_then(|()| file.sync_all());
        match written {
            Ok(()) if session.out.json => {
                session.out.object(&WithFile { account, recovery_file: path.display().to_string() })?;
                return Ok(Exit::Ok);
            }
            Ok(()) => {
                report(account);
                note(&format!(
                    "The recovery key is in {}. Keep it where this computer's loss does not take it.",
                    path.display()
                ));
                return Ok(Exit::Ok);
            }
            // The account exists and its key must not be lost: it goes to standard output after all.
            Err(error) => say(&format!("cannot write {}: {error}; the recovery key follows here", path.display())),
        }
    }
    let json = session.out.json;
    super::print_once(&mut session.out, "recovery key", &result.recovery_key, |out| {
        if json {
            return out.object(&result);
        }
        report(&result.account);
        if args.reclaim.is_some() {
            note("Its recovery key is the one that you gave.");
            return Ok(());
        }
        note(
            "The line below is the recovery key. It is shown this once and stored nowhere: write it down. \
              It is the only way to keep the name if this computer is lost.",
        );
        out.line(&*result.recovery_key)
    })?;
    Ok(Exit::Ok)
}

fn report(account: &AccountInfo) {
    note(&format!("registered {} (fingerprint {})", account.address, account.fingerprint));
}
