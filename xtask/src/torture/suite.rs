//! Tests of the suite with much more work, by the environment variables that they look at.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::step::{self, cargo};

/// One of them.
struct Part {
    name: &'static str,
    package: &'static str,
    /// More arguments for cargo, which tests to take among them.
    args: &'static [&'static str],
    /// How much.
    env: &'static [(&'static str, &'static str)],
}

/// A part that hangs is ended.
const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);

const PARTS: &[Part] = &[
    Part { name: "power cuts and failing disks", package: "chatd", args: &["--lib", "store::tests::crash"], env: &[] },
    Part { name: "damaged databases", package: "chatd", args: &["--lib", "store::tests::damage"], env: &[] },
    Part { name: "upgrades", package: "chatd", args: &["--lib", "store::tests::upgrade"], env: &[] },
    Part { name: "full disk, damaged accounts", package: "tests", args: &["--test", "e2e", "storage::"], env: &[] },
    Part { name: "a hundred starts", package: "tests", args: &["--test", "e2e", "simultaneous_starts"], env: &[] },
    Part {
        name: "limiters",
        package: "chatd",
        args: &["--lib", "policy::"],
        env: &[("CHATD_TORTURE_SOURCES", "10000000")],
    },
    Part {
        name: "directory's limiter",
        package: "directoryd",
        args: &["--lib", "limits::"],
        env: &[("CHATD_TORTURE_SOURCES", "10000000")],
    },
];

/// Their names.
pub fn names() -> impl Iterator<Item = &'static str> {
    PARTS.iter().map(|part| part.name)
}

/// Runs one: the figures that it printed, and whether all its tests passed.
pub fn run(name: &str) -> Result<(String, bool)> {
    let part = PARTS.iter().find(|part| part.name == name).with_context(|| format!("no part {name}"))?;
    let mut command = cargo(["test", "--locked", "-p", part.package]);
    command.args(part.args).args(["--", "--nocapture"]).env("CHATD_TORTURE", "1").envs(part.env.iter().copied());
    let (mut figures, mut passed) = (Vec::new(), 0);
    let step = step::run(name, command, Instant::now() + TIME_LIMIT, |line| {
        // A test's output may begin behind `test name ... ` on the same line.
        if let Some((_, figure)) = line.split_once("figure: ") {
            figures.push(figure.to_owned());
        }
        if let Some(rest) = line.strip_prefix("test result: ok. ") {
            passed += rest.split(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    })?;
    if figures.is_empty() {
        figures.push(format!("{passed} tests passed"));
    }
    // A filter that fits nothing passes for cargo.
    Ok((figures.join("\n"), step.ok && passed > 0))
}
