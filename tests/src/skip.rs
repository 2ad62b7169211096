//! Skipping a test that this machine cannot run, in the open: it is listed at the end of `cargo xtask test`, and with
//! `CI=true` it is a failure.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

/// Ends the test here, saying why.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::skip::record(&format!($($reason)+));
        return;
    }};
}

/// Ends the test here, saying why; no failure with `CI=true` either: for what comes from somebody else's registry, which may be out
/// of reach anywhere. It is listed all the same.
#[macro_export]
macro_rules! skip_without_failing {
    ($($reason:tt)+) => {{
        $crate::skip::note(&format!($($reason)+));
        return;
    }};
}

/// Whether this machine promises to be able to run everything.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// The file that collects the skips of a run.
///
/// # Errors
/// When the target folder cannot be told.
pub fn list() -> Result<PathBuf> {
    Ok(crate::binaries::target_folder()?.join("skipped-tests.txt"))
}

/// Writes `SKIPPED: name: reason` to [`list`] and to stderr.
///
/// # Panics
/// With `CI=true`.
#[track_caller]
pub fn record(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    assert!(!is_ci(), "{name} was skipped although CI=true: {reason}");
    note(reason);
}

/// The same with no failure anywhere.
pub fn note(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("unnamed");
    let line = format!("SKIPPED: {name}: {reason}\n");
    eprint!("{line}");
    let file = list().map(|path| std::fs::File::options().create(true).append(true).open(path));
    if let Ok(Ok(mut file)) = file {
        let _ = file.write_all(line.as_bytes());
    }
}
