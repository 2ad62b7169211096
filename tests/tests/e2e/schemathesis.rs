//! Requests that a program makes up from `/openapi.json`, against a running directory.

use tests::Directory;
use tests::binaries::tools_folder;
use tests::skip;

/// Requests for each operation and phase.
const EXAMPLES: &str = "30";
/// Not judged: what is made up is never signed, so that nearly all of it is refused, and has to be.
const NOT_JUDGED: &str = "positive_data_acceptance";

#[test]
fn made_up_requests_are_answered_as_the_description_says() {
    let program = tools_folder().unwrap().join("bin/schemathesis");
    if !program.is_file() {
        skip!("schemathesis is not there: cargo xtask test installs it");
    }
    let directory = Directory::start();
    let out = std::process::Command::new(program)
        .current_dir(directory.place().folder("schemathesis").unwrap())
        .args(["run", "--max-examples", EXAMPLES, "--seed", "1", "--suppress-health-check", "all", "--no-color"])
        .args(["--phases", "coverage,fuzzing", "--exclude-checks", NOT_JUDGED])
        .arg(format!("{}/openapi.json", directory.url()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}\n{}", String::from_utf8_lossy(&out.stderr));
    let line = said.lines().rev().find(|line| line.contains("generated")).unwrap_or_default();
    println!("figure: {}", line.trim());
}
