//! What stands in a package, and where: said once for both formats.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use tests::binaries::repository;

use super::binaries::Binaries;
use super::graph::Graph;
use super::work::{Run, files, fresh, output, put, set_times};
use super::{licences, sbom};
use crate::man;

/// One package of a distribution.
#[derive(Debug)]
pub struct Package {
    pub name: &'static str,
    pub programs: &'static [&'static str],
    /// In one line.
    pub summary: &'static str,
    /// In lines of less than 80 characters; an empty one begins a paragraph.
    pub description: &'static [&'static str],
    /// Of docs/examples.
    pub examples: &'static [&'static str],
    /// Whether an installation starts it, where that is the custom. A directory has to be told its domain first.
    pub starts: bool,
}

/// All that there are.
pub const PACKAGES: [Package; 2] = [
    Package {
        name: "chatd",
        programs: &["chatd", "chatctl"],
        summary: "private messaging as a system service",
        description: &[
            "A daemon that exchanges messages with the daemons of one's contacts:",
            "directly, encrypted from one to the other, and kept until they have",
            "arrived. Every user of the machine has accounts of their own in it.",
            "",
            "chatctl is its command line, for people and for scripts: one verb for",
            "each thing, JSON on request, exit codes that mean something.",
        ],
        examples: &["bot.py", "bot.sh", "chat-failure@.service", "chat.lua", "client.js"],
        starts: true,
    },
    Package {
        name: "directoryd",
        programs: &["directoryd"],
        summary: "directory of a messaging domain",
        description: &[
            "Says who has which name in a domain of chatd, with which keys, and",
            "where they are; and keeps sealed envelopes for those who are away.",
            "It never sees a message.",
        ],
        examples: &[],
        starts: false,
    },
];

/// For whom a package is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Deb,
    Rpm,
}

/// What the packages of one name are made from.
#[derive(Debug)]
pub struct Source<'a> {
    run: &'a Run,
    package: &'a Package,
    binaries: &'a Binaries,
    /// Pages and completions.
    man: PathBuf,
    example: String,
    licences: String,
    sbom: String,
}

impl<'a> Source<'a> {
    /// Asks the programs for what they say of themselves.
    pub fn new(run: &'a Run, package: &'a Package, binaries: &'a Binaries, graph: &Graph) -> Result<Self> {
        let man = run.folder.join("work/man");
        man::write(&man, &binaries.speaking)?;
        let mut print = Command::new(binaries.speaking.join(package.name));
        // As root would have it, for whom the packages are.
        print.arg("--print-config").env_clear().env("HOME", "/root");
        let crates = graph.below(package.programs);
        let all: Vec<_> = crates.iter().map(|(known, _)| *known).collect();
        Ok(Self {
            example: example(&output(&mut print)?),
            licences: licences::texts(&all)?,
            sbom: sbom::document(run, package.name, package.summary, &crates)?,
            run,
            package,
            binaries,
            man,
        })
    }

    /// The files of a package as they will be on a machine, below the folder that this returns.
    pub fn stage(&self, format: Format) -> Result<PathBuf> {
        let name = self.package.name;
        let word = if format == Format::Deb { "deb" } else { "rpm" };
        let stage = Stage { root: self.run.folder.join("work").join(format!("{name}-{word}")) };
        fresh(&stage.root)?;
        for program in self.package.programs {
            stage.file(&format!("usr/bin/{program}"), &self.binaries.folder.join(program), 0o755)?;
        }
        for (from, to) in [
            (format!("systemd/{name}.service"), format!("usr/lib/systemd/system/{name}.service")),
            (format!("systemd/user/{name}.service"), format!("usr/lib/systemd/user/{name}.service")),
            (format!("systemd/{name}.sysusers"), format!("usr/lib/sysusers.d/{name}.conf")),
            (format!("systemd/{name}.tmpfiles"), format!("usr/lib/tmpfiles.d/{name}.conf")),
            (format!("packaging/{name}.toml"), format!("etc/{name}/{name}.toml")),
        ] {
            stage.file(&to, &repository().join(from), 0o644)?;
        }
        self.pages(&stage)?;
        if self.package.programs.contains(&"chatctl") {
            self.completions(&stage, format)?;
        }
        let doc = format!("usr/share/doc/{name}");
        stage.text(&format!("{doc}/examples/{name}.toml"), &self.example)?;
        for example in self.package.examples {
            let from = repository().join("docs/examples").join(example);
            stage.file(&format!("{doc}/examples/{example}"), &from, 0o644)?;
        }
        stage.text(&format!("{doc}/sbom.cdx.json"), &self.sbom)?;
        stage.packed(&format!("{doc}/third-party-licences.txt"), self.licences.as_bytes())?;
        let changes = std::fs::read(repository().join("CHANGELOG.md")).context("cannot read CHANGELOG.md")?;
        stage.packed(&format!("{doc}/changelog"), &changes)?;
        if format == Format::Rpm {
            for text in ["LICENSE-MIT", "LICENSE-APACHE"] {
                stage.file(&format!("usr/share/licenses/{name}/{text}"), &repository().join(text), 0o644)?;
            }
        }
        set_times(&stage.root, self.run.epoch)?;
        Ok(stage.root)
    }

    fn pages(&self, stage: &Stage) -> Result<()> {
        let mut found = 0;
        for page in files(&self.man.join("man"))? {
            let file = page.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let (stem, section) = file.rsplit_once('.').with_context(|| format!("{file} is of no section"))?;
            // `chatctl-send` belongs to chatctl.
            let is_ours = |program: &&&str| stem == **program || stem.starts_with(&format!("{program}-"));
            if self.package.programs.iter().find(is_ours).is_some() {
                let bytes = std::fs::read(&page).with_context(|| format!("cannot read {}", page.display()))?;
                stage.packed(&format!("usr/share/man/man{section}/{file}"), &bytes)?;
                found += 1;
            }
        }
        ensure!(found >= self.package.programs.len(), "{} has {found} manual pages", self.package.name);
        Ok(())
    }

    fn completions(&self, stage: &Stage, format: Format) -> Result<()> {
        let zsh = if format == Format::Deb { "vendor-completions" } else { "site-functions" };
        for (from, to) in [
            ("chatctl", "usr/share/bash-completion/completions/chatctl".to_owned()),
            ("_chatctl", format!("usr/share/zsh/{zsh}/_chatctl")),
            ("chatctl.fish", "usr/share/fish/vendor_completions.d/chatctl.fish".to_owned()),
        ] {
            stage.file(&to, &self.man.join("completions").join(from), 0o644)?;
        }
        Ok(())
    }
}

/// All keys with their defaults, switched off: an example to copy lines from.
fn example(printed: &str) -> String {
    let mut out = String::from("# Every key, with its default. Take the lines that are to differ.\n\n");
    for line in printed.lines() {
        let is_key = !line.is_empty() && !line.starts_with(['#', '[']);
        out.push_str(if is_key { "#" } else { "" });
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// A tree of files to be packed.
struct Stage {
    root: PathBuf,
}

impl Stage {
    fn put(&self, to: &str, bytes: &[u8], mode: u32) -> Result<()> {
        put(&self.root, to, bytes, mode).map(drop)
    }

    fn file(&self, to: &str, from: &Path, mode: u32) -> Result<()> {
        let bytes = std::fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.put(to, &bytes, mode)
    }

    fn text(&self, to: &str, text: &str) -> Result<()> {
        self.put(to, text.as_bytes(), 0o644)
    }

    /// With `.gz` at the end of its name, and no time in it.
    fn packed(&self, to: &str, bytes: &[u8]) -> Result<()> {
        self.put(to, bytes, 0o644)?;
        output(Command::new("gzip").args(["--best", "--no-name", "--force"]).arg(self.root.join(to)))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests_of_examples {
    use super::example;

    #[test]
    fn an_example_decides_nothing() {
        let text = example("# What it is.\nlisten = [\"a\"]\n\n[limits]\n# More.\nclients = 4\n");
        let keys = text.lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()).count();
        assert_eq!(keys, 0, "{text}");
        assert!(text.contains("\n#clients = 4\n") && text.contains("\n[limits]\n"), "{text}");
    }
}
