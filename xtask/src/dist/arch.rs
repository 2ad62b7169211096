//! For which kind of processor packages are: this one's, or another for which there is a compiler.

use std::process::Command;

use anyhow::{Result, ensure};

/// One of them, in everybody's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arch {
    /// Rust's.
    pub target: &'static str,
    /// Debian's.
    pub debian: &'static str,
    /// That of RPM and of [`std::env::consts::ARCH`].
    pub rpm: &'static str,
    /// How programs for it are linked, stripped and taken apart: what stands before the tools' names.
    tools: &'static str,
}

const KNOWN: [Arch; 2] = [
    Arch { target: "x86_64-unknown-linux-gnu", debian: "amd64", rpm: "x86_64", tools: "x86_64-linux-gnu-" },
    Arch { target: "aarch64-unknown-linux-gnu", debian: "arm64", rpm: "aarch64", tools: "aarch64-linux-gnu-" },
];

impl Arch {
    /// The one with Debian's name; this machine's without.
    ///
    /// # Errors
    /// When nobody said what it is called elsewhere.
    pub fn named(name: Option<&str>) -> Result<Self> {
        let here = std::env::consts::ARCH;
        let found = KNOWN.into_iter().find(|arch| name.map_or(arch.rpm == here, |name| arch.debian == name));
        let known = KNOWN.map(|arch| arch.debian).join(", ");
        found.ok_or_else(|| anyhow::anyhow!("packages are made for {known}, and not for {}", name.unwrap_or(here)))
    }

    /// Whether programs for it run here.
    pub fn is_here(self) -> bool {
        self.rpm == std::env::consts::ARCH
    }

    /// `strip` and the like.
    pub fn tool(self, name: &str) -> String {
        if self.is_here() { name.to_owned() } else { format!("{}{name}", self.tools) }
    }

    /// What a build for another one has to be told.
    pub fn build(self, cargo: &mut Command) {
        if self.is_here() {
            return;
        }
        let (compiler, triple) = (self.tool("gcc"), self.target.replace('-', "_"));
        cargo.args(["--target", self.target]);
        cargo.env(format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase()), &compiler);
        cargo.env(format!("CC_{triple}"), &compiler).env(format!("AR_{triple}"), self.tool("ar"));
    }

    /// What it takes to build for another one.
    ///
    /// # Errors
    /// What is missing, and what brings it.
    pub fn check(self) -> Result<()> {
        let runs = |program: &str, args: &[&str]| Command::new(program).args(args).output().ok();
        ensure!(
            self.is_here() || runs(&self.tool("gcc"), &["--version"]).is_some_and(|run| run.status.success()),
            "{} is missing; on Debian: apt-get install gcc-{}-linux-gnu libc6-dev-{}-cross; rustup target add {}",
            self.tool("gcc"),
            self.rpm,
            self.debian,
            self.target
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests_of_arch {
    use super::*;

    #[test]
    fn it_is_this_machines_unless_said_otherwise() {
        assert!(Arch::named(None).is_ok_and(Arch::is_here));
        assert_eq!(Arch::named(Some("arm64")).map(|arch| arch.rpm).ok(), Some("aarch64"));
        assert!(Arch::named(Some("vax")).is_err_and(|error| error.to_string().contains("amd64, arm64")));
    }
}
