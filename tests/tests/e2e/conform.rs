//! `cargo xtask conform` finds what it should, and fails where it should.

use tests::conform::{CASES, Outcome, Target};
use tests::hostile_directory::{Answer, HostileDirectory};
use tests::{Directory, DirectoryOptions};

async fn outcomes(url: &str) -> Vec<(&'static str, Result<Outcome, String>)> {
    let target = Target::at(url, None).await.unwrap();
    let mut outcomes = Vec::new();
    for case in CASES {
        outcomes.push((case.name, case.run(&target).await.map_err(|error| format!("{error:#}"))));
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn a18_a_directory_conforms_over_http_and_https() {
    let own = DirectoryOptions { config: Some("tls = \"own\"\n".to_owned()), ..DirectoryOptions::default() };
    for options in [DirectoryOptions::default(), own] {
        let directory = Directory::start_with(options);
        for (name, outcome) in outcomes(directory.url()).await {
            assert_eq!(outcome, Ok(Outcome::Passed), "{name} at {}", directory.url());
        }
    }
    let closed = Directory::start_with(DirectoryOptions::default().args(&["--list", "off"]));
    let outcomes = outcomes(closed.url()).await;
    let skipped: Vec<&str> = outcomes
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Ok(Outcome::Skipped(_))))
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(skipped, ["list", "search-by-name", "search-by-address"]);
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a18_what_is_no_directory_conforms_in_nothing_but_its_key() {
    let hostile = HostileDirectory::start("127.0.0.1:0", "example.org", Answer::Body(200, b"{}".to_vec())).unwrap();
    let passed: Vec<&str> = outcomes(&hostile.url())
        .await
        .into_iter()
        .filter(|(_, outcome)| outcome.is_ok())
        .map(|(name, _)| name)
        .collect();
    assert_eq!(passed, ["identity"]);
}
