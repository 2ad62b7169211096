//! Passphrases and keys that a person types or keeps in a file. This program only carries them.

use std::fs;
use std::io::{self, IsTerminal};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use proto::rpc::secret::Secret;

use super::prompt;
use crate::failure::{Exit, Failure};

/// Bytes of such a file at most; a few lines.
const MAX_BYTES: u64 = 64 * 1024;

/// The text of a small file.
pub fn file(path: &Path, what: &str) -> Result<Secret, Failure> {
    let failed = |error: io::Error| Failure::other(format!("cannot read the {what} {}: {error}", path.display()));
    let meta = fs::metadata(path).map_err(failed)?;
    // A pipe has no mode that counts: whoever reads it first has it.
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        return Err(Failure::Other {
            exit: Exit::Failed,
            text: format!(
                "others may read or change the {what} {} (mode {:o}): nothing was done",
                path.display(),
                meta.mode() & 0o777
            ),
            hint: Some(format!("if the secret is still one: chmod 600 {}", path.display())),
        });
    }
    let size = meta.len();
    if size > MAX_BYTES {
        return Err(Failure::other(format!("{} has {size} bytes: that is no {what}", path.display())));
    }
    fs::read_to_string(path).map(Secret::from).map_err(failed)
}

/// The first line of a file.
pub fn passphrase_file(path: &Path) -> Result<Secret, Failure> {
    let text = file(path, "passphrase file")?;
    let line = text.lines().next().unwrap_or_default().trim_end_matches('\r');
    if line.is_empty() {
        return Err(Failure::Usage(format!("the passphrase file {} begins with an empty line", path.display())));
    }
    Ok(line.into())
}

/// Asks for a passphrase without showing it; for a new one, twice. `instead` names the flags for programs.
pub async fn ask(new: bool, instead: &str) -> Result<Secret, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::Usage(format!("standard input is no terminal to type a passphrase at: give {instead}")));
    }
    let first = prompt::hidden("passphrase: ").await?;
    if first.is_empty() {
        return Err(Failure::Usage("the passphrase is empty; nothing was done".to_owned()));
    }
    if new && prompt::hidden("once more: ").await? != first {
        return Err(Failure::other("the two differ; nothing was done"));
    }
    Ok(first)
}
