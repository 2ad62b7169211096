//! systemd's journal: whoever's standard error it reads says how grave a line is by `<N>` before it (sd-daemon(3)), so that
//! `journalctl -p warning` shows what it should.
//!
//! Not the job: anybody else's standard error, for which these would be three strange characters.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::LazyLock;

use tracing::Level;

/// Whether standard error is the journal's, as it was when the first line was written: the journal says by `JOURNAL_STREAM` which it is
/// (systemd.exec(5)), and a child with another one may have inherited that.
static JOURNAL: LazyLock<bool> =
    LazyLock::new(|| is_stream(std::env::var("JOURNAL_STREAM").ok().as_deref(), Path::new("/proc/self/fd/2")));

fn is_stream(named: Option<&str>, stream: &Path) -> bool {
    let Ok(stream) = std::fs::metadata(stream) else { return false };
    named.is_some_and(|named| named == format!("{}:{}", stream.dev(), stream.ino()))
}

/// The line as the journal wants it, if it reads it.
pub(super) fn line(level: Level, text: String) -> String {
    if *JOURNAL { format!("<{}>{text}", priority(level)) } else { text }
}

/// As syslog(3) counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_the_journals_if_it_is_the_one_that_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let meta = file.path().metadata().unwrap();
        let named = format!("{}:{}", meta.dev(), meta.ino());
        assert!(is_stream(Some(&named), file.path()));
        assert!(!is_stream(Some("8:1"), file.path()) && !is_stream(None, file.path()));
        assert_eq!([Level::ERROR, Level::INFO, Level::TRACE].map(priority), [3, 6, 7]);
    }
}
