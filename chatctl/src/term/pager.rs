//! Output that is longer than the screen, shown by the reader's own pager.

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Stdio};

use tokio::signal::unix::{SignalKind, signal};

/// What shows it unless PAGER says otherwise.
const DEFAULT: &str = "less";
/// For less: leave at once if it fits, pass colours, leave the screen as it is.
const LESS: &str = "FRX";

/// What less is told, if its user has said nothing: an empty variable counts as none.
fn options(set: Option<OsString>) -> Option<&'static str> {
    set.is_none_or(|options| options.is_empty()).then_some(LESS)
}

/// Text that waits to be shown as a whole.
#[derive(Debug, Default)]
pub struct Page(Vec<u8>);

impl Page {
    /// More of it.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// All of it.
    pub fn text(&self) -> &[u8] {
        &self.0
    }

    /// Shows it by a pager and waits for the reader to leave that. `false`: it fits without, or there is no pager, and nothing
    /// was shown.
    pub fn show(&self) -> bool {
        let rows = terminal_size::terminal_size().map_or(0, |(_, rows)| usize::from(rows.0));
        let lines = self.0.iter().filter(|byte| **byte == b'\n').count();
        if rows == 0 || lines < rows {
            return false;
        }
        let pager = std::env::var("PAGER").unwrap_or_else(|_| DEFAULT.to_owned());
        if pager.trim().is_empty() || pager.trim() == "cat" {
            return false;
        }
        let mut command = Command::new("sh");
        // `exec`: what does not exist ends with 127 before it has read anything.
        command.arg("-c").arg(format!("exec {pager}")).stdin(Stdio::piped());
        if let Some(options) = options(std::env::var_os("LESS")) {
            command.env("LESS", options);
        }
        // Ctrl-C is the pager's while it shows; this program must not leave the terminal to two readers.
        let _interrupt = signal(SignalKind::interrupt());
        let Ok(mut child) = command.spawn() else { return false };
        if let Some(mut input) = child.stdin.take() {
            // A reader who leaves early has seen enough.
            let _ = input.write_all(&self.0);
        }
        !matches!(child.wait().map(|status| status.code()), Ok(Some(126 | 127)) | Err(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_told_less_stays() {
        assert_eq!(options(None), Some(LESS));
        assert_eq!(options(Some("".into())), Some(LESS), "empty is unset");
        assert_eq!(options(Some("-i".into())), None);
    }
}
