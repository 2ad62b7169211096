//! The project's own tool: `cargo xtask demo`, `cargo xtask test`, `cargo xtask bench`,
//! `cargo xtask torture`, `cargo xtask dist`.
//!
//! Not its job: anything that a user of an installed package needs.

mod bench;
mod conform;
mod container;
mod debian;
mod demo;
mod dependencies;
mod dist;
mod machine;
mod man;
mod step;
mod test;
mod tools;
mod torture;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Shows, tests and measures the system", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build everything, start a directory and two daemons, and let alice and bob talk
    Demo(demo::Options),
    /// Write the manual pages and the completions of all programs into a folder, for packages
    Man(man::Options),
    /// Lay out what an image for containers is built from
    Container(container::Options),
    /// Build packages: .deb and .rpm of all programs
    Dist(dist::Options),
    /// Make what the tests on machines with a systemd of their own need (root, Debian)
    Machine(machine::Options),
    /// Run every check and every test
    Test(test::Options),
    /// Try whether a directory answers as its API says, a running one or a throwaway one
    Conform(conform::Options),
    /// Measure, and print one table
    Bench(bench::Options),
    /// Run the slow tests: kills, floods, fuzzing
    Torture(torture::Options),
    /// One of the two processes that `bench` compares with
    #[command(hide = true)]
    FloorNode(bench::floor::node::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Machine(options) => machine::run(&options),
        Command::Man(options) => man::run(&options),
        Command::Container(options) => container::run(&options),
        Command::Dist(options) => dist::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Conform(options) => conform::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Torture(options) => torture::run(&options),
        Command::FloorNode(options) => bench::floor::node::run(&options),
    }
}
