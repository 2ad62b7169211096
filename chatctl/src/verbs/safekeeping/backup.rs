//! `chatctl backup`: the account in one encrypted file.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

use proto::rpc::methods::{BackupBegin, BackupEnd, BackupRead};
use proto::rpc::types::{AccountInfo, BackupBeginParams, BackupReadParams, TransferParams};
use serde::Serialize;

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::interrupt;
use crate::input::secret;
use crate::new_file::AtomicFile;
use crate::term::output::note;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "With neither --recipient nor --passphrase-file, the passphrase is asked for. The file holds the \
                        identity key, contacts and messages: whoever opens it is you."
)]
pub struct Args {
    /// The file to write; it must not exist. `-` is standard output
    file: PathBuf,
    /// Encrypt to this key of age (age1pq1..., or age1...); may be given several times
    #[arg(long, value_name = "KEY", conflicts_with = "passphrase_file")]
    recipient: Vec<String>,
    /// Encrypt with the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written<'a> {
    account: &'a AccountInfo,
    file: String,
    bytes: u64,
    post_quantum: bool,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    if args.file == Path::new("-") {
        if session.out.json {
            return Err(Failure::Usage("standard output holds the backup: --json has no place there".to_owned()));
        }
        if std::io::stdout().is_terminal() {
            return Err(Failure::Usage(
                "a backup is no text for a terminal: name a file, or send it into a pipe".to_owned(),
            ));
        }
    } else {
        AtomicFile::may_create(&args.file, NOTHING)?;
    }
    interrupt::or(write(args, session)).await?
}

const NOTHING: &str = "nothing was backed up";

/// Where the parts go.
enum Target {
    File(AtomicFile),
    Output(std::io::Stdout),
}

async fn write(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let passphrase = match (&args.passphrase_file, args.recipient.is_empty()) {
        (Some(path), _) => Some(secret::passphrase_file(path)?),
        (None, true) => Some(secret::ask(true, "--recipient or --passphrase-file").await?),
        (None, false) => None,
    };
    let params = BackupBeginParams { account: session.account(), recipients: args.recipient, passphrase };
    let begun = session.call::<BackupBegin>(&params).await?;
    let transfer = begun.transfer;
    let mut target = match args.file.to_str() {
        Some("-") => Target::Output(std::io::stdout()),
        _ => Target::File(AtomicFile::create(&args.file, NOTHING)?),
    };
    let mut offset = 0;
    while offset < begun.size {
        let part = session.call::<BackupRead>(&BackupReadParams { transfer: transfer.clone(), offset }).await?.data;
        if part.is_empty() {
            return Err(Failure::other("the daemon's backup ended early; nothing was written"));
        }
        match &mut target {
            Target::File(file) => file.write(&part)?,
            Target::Output(out) => out.write_all(&part).map_err(unwritten)?,
        }
        offset += part.len() as u64;
    }
    match target {
        Target::File(file) => file.finish()?,
        Target::Output(mut out) => out.flush().map_err(unwritten)?,
    }
    // It would be dropped by itself; whether it is dropped now changes nothing.
    let _ = session.call::<BackupEnd>(&TransferParams { transfer }).await;
    let (file, bytes, post_quantum) = (args.file.display().to_string(), begun.size, begun.post_quantum);
    let written = Written { account: &begun.account, file, bytes, post_quantum };
    session.out.either(&written, |_, written| {
        let place = if written.file == "-" { "standard output" } else { &written.file };
        note(&format!("{} is in {place} ({} bytes)", written.account.address, written.bytes));
        if !written.post_quantum {
            note("a later quantum computer could open it: age-keygen -pq makes keys (age1pq1...) that withstand one");
        }
        Ok(())
    })?;
    Ok(Exit::Ok)
}

fn unwritten(error: std::io::Error) -> Failure {
    Failure::other(format!("cannot write to standard output: {error}; what is there is not a whole backup"))
}
