//! `chatctl backup`: the account in one encrypted file.

use std::path::PathBuf;

use proto::rpc::methods::{BackupBegin, BackupEnd, BackupRead};
use proto::rpc::types::{AccountInfo, BackupBeginParams, BackupReadParams, TransferParams};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::newfile::Whole;
use crate::output::note;
use crate::secret;
use crate::session::Session;

/// What it takes.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With neither --recipient nor --passphrase-file, the passphrase is asked for. The file holds the \
                        identity key, contacts and messages: whoever opens it is you."
)]
pub struct Args {
    /// The file to write; it must not exist
    file: PathBuf,
    /// Encrypt to this key of age (age1...); may be given several times
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
}

/// Does it.
pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let mut file = Whole::create(&args.file, "nothing was backed up")?;
    let passphrase = match (&args.passphrase_file, args.recipient.is_empty()) {
        (Some(path), _) => Some(secret::passphrase_file(path)?),
        (None, true) => Some(secret::ask(true, "--recipient or --passphrase-file")?),
        (None, false) => None,
    };
    let params = BackupBeginParams { account: session.account(), recipients: args.recipient, passphrase };
    let begun = session.call::<BackupBegin>(&params).await?;
    let transfer = begun.transfer;
    let mut offset = 0;
    while offset < begun.size {
        let part = session.call::<BackupRead>(&BackupReadParams { transfer: transfer.clone(), offset }).await?.data;
        if part.is_empty() {
            return Err(Failure::other("the daemon's backup ended early; nothing was written"));
        }
        file.write(&part)?;
        offset += part.len() as u64;
    }
    file.finish()?;
    // It would be dropped by itself; whether it is dropped now changes nothing.
    let _ = session.call::<BackupEnd>(&TransferParams { transfer }).await;
    let written = Written { account: &begun.account, file: args.file.display().to_string(), bytes: begun.size };
    session.out.either(&written, |_, written| {
        note(&format!("{} is in {} ({} bytes)", written.account.address, written.file, written.bytes));
        Ok(())
    })?;
    Ok(Exit::Ok)
}
