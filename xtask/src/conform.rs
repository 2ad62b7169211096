//! `cargo xtask conform`: whether a directory answers as docs/directory-api.md says.
//!
//! Not its job: what is tried (`tests::conform`).

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tests::conform::{CASES, Outcome, Target};
use tests::{Directory, DirectoryOptions};

use crate::step::cargo;

/// Which directory, and what of it.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Of the directory; without it throwaway ones are tried, over http and over https. With `#sha256-...` its key decides, without it
    /// the authorities of this system do
    #[arg(long)]
    url: Option<String>,
    /// One case only, or those that have this in their names
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// Tell each request and its answer
    #[arg(long)]
    verbose: bool,
}

/// Tries all of it; an error when something is otherwise.
pub fn run(options: &Options) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Some(url) = &options.url {
        return runtime.block_on(conform(url, options));
    }
    let build = cargo(["build", "--locked", "-p", "directoryd"]).status();
    ensure!(build.context("cannot run cargo")?.success(), "the build failed");
    let own = DirectoryOptions { config: Some("tls = \"own\"\n".to_owned()), ..DirectoryOptions::default() };
    for with in [DirectoryOptions::default(), own] {
        let directory = Directory::try_start(with)?;
        runtime.block_on(conform(directory.url(), options))?;
    }
    Ok(())
}

async fn conform(url: &str, options: &Options) -> Result<()> {
    let told = options.verbose.then_some((|text: &str| println!("        {text}")) as fn(&str));
    let target = Target::at(url, told).await.with_context(|| format!("cannot ask {url}"))?;
    println!("{} at {url}", target.origin);
    let wanted = |name: &str| options.test.as_ref().is_none_or(|test| name.contains(test.as_str()));
    let cases: Vec<_> = CASES.iter().filter(|case| wanted(case.name)).collect();
    if cases.is_empty() {
        let names: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        bail!("there is no such case; there are {}", names.join(", "));
    }
    let (mut failed, mut skipped) = (Vec::new(), 0);
    for case in &cases {
        let begun = Instant::now();
        match case.run(&target).await {
            Ok(Outcome::Passed) => println!("  ok    {:<18} {} ({:.0?})", case.name, case.about, begun.elapsed()),
            Ok(Outcome::Skipped(why)) => {
                skipped += 1;
                println!("  skip  {:<18} {why}", case.name);
            }
            Err(error) => {
                failed.push(case.name);
                println!("  FAIL  {:<18} {}: {error:#}", case.name, case.about);
            }
        }
    }
    println!("{} passed, {} failed, {skipped} skipped", cases.len() - failed.len() - skipped, failed.len());
    if failed.is_empty() { Ok(()) } else { bail!("{url} does otherwise: {}", failed.join(", ")) }
}
