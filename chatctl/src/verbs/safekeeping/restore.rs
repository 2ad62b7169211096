//! `chatctl restore`: an account from a backup, as a new device.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use proto::rpc::methods::{RestoreBegin, RestoreEnd, RestoreFinish, RestoreWrite};
use proto::rpc::types::{Empty, RestoreFinishParams, RestoreResult, RestoreWriteParams, TransferParams};

use crate::client::session::Session;
use crate::failure::{Exit, Failure};
use crate::input::secret;
use crate::show::words::clock;
use crate::term::output::note;

/// Bytes of one part.
const PART: usize = 512 * 1024;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "With neither --identity-file nor --passphrase-file, the passphrase is asked for. The account must not \
                        be on this daemon, and must not run anywhere else afterwards."
)]
pub struct Args {
    /// The file that `backup` wrote; `-` is standard input
    file: PathBuf,
    /// Open it with a key of age out of this file (AGE-SECRET-KEY-PQ-1..., or AGE-SECRET-KEY-1...)
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    identity_file: Option<PathBuf>,
    /// Open it with the first line of this file
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let unreadable = |error| Failure::other(format!("cannot read {}: {error}", args.file.display()));
    let mut file: Box<dyn Read> = match args.file.to_str() {
        Some("-") if args.identity_file.is_none() && args.passphrase_file.is_none() => {
            let text = "standard input holds the backup: give --identity-file or --passphrase-file";
            return Err(Failure::Usage(text.to_owned()));
        }
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(&args.file).map_err(unreadable)?),
    };
    let (mut identities, mut passphrase) = (Vec::new(), None);
    match (&args.identity_file, &args.passphrase_file) {
        (Some(path), _) => {
            let text = secret::file(path, "identity file")?;
            identities = text.lines().filter(|line| !line.starts_with('#')).map(Into::into).collect();
        }
        (None, Some(path)) => passphrase = Some(secret::passphrase_file(path)?),
        (None, None) => passphrase = Some(secret::ask(false, "--identity-file or --passphrase-file").await?),
    }
    let transfer = session.call::<RestoreBegin>(&Empty {}).await?.transfer;
    let uploaded = upload(session, &args.file, &mut *file, &transfer).await;
    if let Err(failure) = uploaded {
        // It would be dropped by itself.
        let _ = session.call::<RestoreEnd>(&TransferParams { transfer }).await;
        return Err(failure);
    }
    let params = RestoreFinishParams { transfer, identities, passphrase };
    let result = session.call::<RestoreFinish>(&params).await?;
    session.out.either(&result, |_, result| {
        report(result);
        Ok(())
    })?;
    Ok(Exit::Ok)
}

async fn upload(session: &mut Session, path: &Path, file: &mut dyn Read, transfer: &str) -> Result<(), Failure> {
    loop {
        let mut data = Vec::with_capacity(PART);
        let read = Read::take(&mut *file, PART as u64).read_to_end(&mut data);
        read.map_err(|error| Failure::other(format!("cannot read {}: {error}", path.display())))?;
        if data.is_empty() {
            return Ok(());
        }
        session.call::<RestoreWrite>(&RestoreWriteParams { transfer: transfer.to_owned(), data }).await?;
    }
}

fn report(result: &RestoreResult) {
    let account = &result.account;
    note(&format!("{} is restored as it was on {}", account.address, clock::precise(result.made)));
    note("It is a new device: what was received since then comes again from those who still have it.");
    if !result.published {
        note("the directory does not know this device yet; the daemon goes on trying");
    }
}
