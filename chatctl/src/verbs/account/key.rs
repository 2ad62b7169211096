//! `chatctl key rotate`, `chatctl key recover` and `chatctl key directory`.

use std::io::Write;
use std::path::PathBuf;

use proto::rpc::methods::{DirectoryKey, KeyRecover, KeyRotate};
use proto::rpc::types::{AccountInfo, DirectoryKeyParams, KeyRecoverParams, KeyResult};
use serde::Serialize;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::interrupt::Interrupts;
use crate::input::secret;
use crate::new_file;
use crate::show;
use crate::term::output::{note, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a new identity key, signed by the old one
    ///
    /// Contacts follow by themselves; those who had verified you are asked to compare again.
    Rotate,
    /// Make a new identity key and a new recovery key, signed by the recovery key
    ///
    /// For when the identity key may be in other hands. The recovery key given is of no use afterwards.
    Recover {
        /// The file with the recovery key that `register` printed, or the last `key recover`
        #[arg(long, value_name = "FILE")]
        recovery_file: PathBuf,
        /// Write the new recovery key to this new file instead of standard output
        #[arg(long, value_name = "FILE")]
        new_recovery_file: Option<PathBuf>,
    },
    /// Show the key that the directory is known by, or accept another one
    ///
    /// The directory's key is remembered when an account is registered. If it changes, nothing is sent to the directory until
    /// you accept the new key: ask its operator first.
    Directory {
        /// Trust this key from now on, if it is the one that the directory shows
        #[arg(long, value_name = "KEY")]
        accept: Option<String>,
        /// The directory of another domain, which the configuration of chatd names
        #[arg(long, value_name = "DOMAIN")]
        domain: Option<String>,
    },
}

/// What `--json` prints when the key went into a file.
#[derive(Serialize)]
struct WithFile<'a> {
    account: &'a AccountInfo,
    published: bool,
    recovery_file: String,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    match args.action {
        Action::Rotate => {
            let params = session.account_params();
            let result = session.call::<KeyRotate>(&params).await?;
            session.out.either(&result, |_, result| {
                report(result);
                Ok(())
            })?;
        }
        Action::Recover { recovery_file, new_recovery_file } => {
            recover(session, &recovery_file, new_recovery_file.as_deref()).await?;
        }
        Action::Directory { accept, domain } => return directory(session, accept, domain).await,
    }
    Ok(Exit::Ok)
}

async fn directory(session: &mut Session, accept: Option<String>, domain: Option<String>) -> Result<Exit, Failure> {
    let accepted = accept.is_some();
    let params = DirectoryKeyParams { account: session.account(), domain, accept };
    let result = session.call::<DirectoryKey>(&params).await?;
    let changed = result.known.is_some() && result.shown.is_some() && result.known != result.shown;
    session.out.either(&result, |out, result| out.show(&show::account::directory_key(result)))?;
    if accepted {
        note("this key is trusted from now on");
    }
    if changed {
        say("the directory shows another key than it is known by: ask its operator, then run this with --accept KEY");
        return Ok(Exit::KeyNotTrusted);
    }
    Ok(Exit::Ok)
}

async fn recover(session: &mut Session, from: &std::path::Path, to: Option<&std::path::Path>) -> Result<(), Failure> {
    let recovery_key = secret::file(from, "recovery key")?;
    // Opened first: the key is told once, so there must be a place for it before there is a key.
    let mut file = to.map(|path| new_file::create(path, "nothing was changed")).transpose()?;
    let params = KeyRecoverParams { account: session.account(), recovery_key };
    let why = "waiting for the daemon: it tells the new recovery key only once (again to leave all the same)";
    let called = Interrupts::new()?.hold(why, session.call::<KeyRecover>(&params)).await;
    let result = called.and_then(|result| result);
    if let (Err(_), Some(path)) = (&result, to) {
        let _ = std::fs::remove_file(path);
    }
    let result = result?;
    let key = result.recovery_key.clone().unwrap_or_default();
    if let (Some(file), Some(path)) = (&mut file, to) {
        match writeln!(file, "{}", &*key).and_then(|()| file.sync_all()) {
            Ok(()) if session.out.json => {
                let (account, published) = (&result.account, result.published);
                let recovery_file = path.display().to_string();
                return Ok(session.out.object(&WithFile { account, published, recovery_file })?);
            }
            Ok(()) => {
                report(&result);
                note(&format!("The new recovery key is in {}. The one before is of no use any more.", path.display()));
                return Ok(());
            }
            // The account has the new key, and it must not be lost: it goes to standard output after all.
            Err(error) => say(&format!("cannot write {}: {error}; the new recovery key follows here", path.display())),
        }
    }
    let json = session.out.json;
    super::print_once(&mut session.out, "recovery key", &key, |out| {
        if json {
            return out.object(&result);
        }
        report(&result);
        note(
            "The line below is the new recovery key. It is shown this once and stored nowhere: write it down. The one \
             before is of no use any more.",
        );
        out.line(&*key)
    })
}

fn report(result: &KeyResult) {
    let account = &result.account;
    note(&format!("{} has a new identity key (fingerprint {})", account.address, account.fingerprint));
    if !result.published {
        note("the directory has not taken it yet; the daemon goes on trying");
    }
}
