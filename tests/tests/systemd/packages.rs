//! The packages by themselves, and on a machine with rpm and dnf.

use std::path::PathBuf;
use std::process::Command;

use tests::binaries::{packages_folder, repository};
use tests::{skip, skip_without_failing};

use crate::machine::{Machine, befriend, missing};

fn packages(end: &str) -> Vec<PathBuf> {
    let found = std::fs::read_dir(packages_folder().unwrap().join("new")).into_iter().flatten();
    let mut found: Vec<PathBuf> = found.map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|found| found == end));
    found.sort();
    found
}

/// What a program says of files; `None` if it is not there.
fn said(program: &str, args: &[&str], files: &[PathBuf]) -> Option<String> {
    let output = Command::new(program).args(args).args(files).output().ok()?;
    Some([output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat())
}

#[test]
fn lintian_and_rpmlint_find_no_error() {
    let rules = repository().join("packaging/rpm/rpmlint.toml").display().to_string();
    for (end, program, args, error) in [
        ("deb", "lintian", &["--tag-display-limit", "0"][..], "E: "),
        ("rpm", "rpmlint", &["--config", rules.as_str()], ": E: "),
    ] {
        let files = packages(end);
        if files.is_empty() {
            skip!("there are no packages: cargo xtask test makes them");
        }
        assert_eq!(files.len(), 2, "{files:?}");
        let Some(said) = said(program, args, &files) else {
            skip!("{program} is missing: cargo xtask test installs it")
        };
        let errors: Vec<&str> = said.lines().filter(|line| line.contains(error)).collect();
        assert!(errors.is_empty(), "{program}: {errors:#?}");
        let warnings = said.lines().filter(|line| line.contains("W: ")).count();
        println!("figure: {program}: no errors, {warnings} warnings");
    }
}

#[test]
fn packages_hold_what_they_should() {
    let everywhere = [
        "/usr/bin/NAME",
        "/usr/lib/systemd/system/NAME.service",
        "/usr/lib/systemd/user/NAME.service",
        "/usr/lib/sysusers.d/NAME.conf",
        "/usr/lib/tmpfiles.d/NAME.conf",
        "/etc/NAME/NAME.toml",
        "/usr/share/man/man8/NAME.8.gz",
        "/usr/share/doc/NAME/examples/NAME.toml",
        "/usr/share/doc/NAME/changelog.gz",
        "/usr/share/doc/NAME/third-party-licences.txt.gz",
        "/usr/share/doc/NAME/sbom.cdx.json",
    ];
    let chatctl = [
        "/usr/bin/chatctl",
        "/usr/share/man/man1/chatctl-send.1.gz",
        "/usr/share/bash-completion/completions/chatctl",
        "/usr/share/fish/vendor_completions.d/chatctl.fish",
        "/usr/share/doc/chatd/examples/bot.sh",
        "/usr/share/doc/chatd/examples/chat-failure@.service",
    ];
    let debian = ["/usr/share/doc/NAME/copyright", "/usr/share/doc/NAME/changelog.Debian.gz"];
    let fedora = ["/usr/share/licenses/NAME/LICENSE-MIT", "/usr/share/licenses/NAME/LICENSE-APACHE"];
    for (end, program, args, own, zsh) in [
        ("deb", "dpkg-deb", &["--contents"][..], &debian, "/usr/share/zsh/vendor-completions/_chatctl"),
        ("rpm", "rpm", &["-qpl"], &fedora, "/usr/share/zsh/site-functions/_chatctl"),
    ] {
        let files = packages(end);
        if files.is_empty() {
            skip!("there are no packages: cargo xtask test makes them");
        }
        for file in files {
            let listed = said(program, args, std::slice::from_ref(&file)).unwrap();
            let listed: Vec<&str> =
                listed.lines().map(|line| line.rsplit(' ').next().unwrap().trim_start_matches('.')).collect();
            let is_chatd = file.file_name().unwrap().to_string_lossy().starts_with("chatd");
            let name = if is_chatd { "chatd" } else { "directoryd" };
            let more = if is_chatd { &chatctl[..] } else { &[] };
            let wanted = everywhere.iter().chain(own).chain(more).map(|path| path.replace("NAME", name));
            let wanted: Vec<String> = wanted.chain(is_chatd.then(|| zsh.to_owned())).collect();
            let missing: Vec<&String> = wanted.iter().filter(|path| !listed.contains(&path.as_str())).collect();
            assert!(missing.is_empty(), "{}: {missing:?} not in {listed:#?}", file.display());
        }
    }
}

/// Stands for the C library and what else a machine of Fedora's has; the tree is one of Debian.
const STUB: &str = r#"
cd /root && cp /packages/new/*.rpm . && {
    printf 'Name: stub\nVersion: 1\nRelease: 1\nSummary: Stub\nLicense: MIT\nBuildArch: noarch\n'
    rpm -qp --requires ./*.rpm | grep -v -e ^rpmlib -e ^config | sort -u | sed 's/^/Provides: /'
    printf '%%description\nStub\n%%files\n'
} > stub.spec && rpmbuild -bb --quiet --define '_topdir /root/build' stub.spec && mv build/RPMS/*/*.rpm .
"#;

#[test]
fn rpm_and_dnf_install_upgrade_and_remove() {
    if let Some(reason) = missing() {
        skip_without_failing!("{reason}");
    }
    let machine = Machine::boot("fedora");
    machine.sh("rpm --initdb && rpm --install --nodeps /packages/old/chatd-*.rpm");
    machine.ok(&["systemctl", "start", "chatd"]);
    let before = machine.show("chatd", "MainPID");
    machine.sh("rpm --upgrade --nodeps /packages/new/chatd-*.rpm");
    assert_ne!(machine.show("chatd", "MainPID"), before, "the new one runs");
    machine.sh("rpm --erase --nodeps chatd");
    assert_eq!(machine.run(&["systemctl", "is-active", "chatd"]).stdout.trim(), "inactive");
    machine.ok(&["test", "-d", "/var/lib/chatd"]);

    machine.sh(STUB);
    // Done here, as it is done by whoever gives packages away.
    machine.sh("createrepo_c --quiet /root 2>&1");
    let dnf = "dnf --quiet --assumeyes --nogpgcheck --repofrompath=local,/root --disablerepo='*' --enablerepo=local";
    machine.sh(&format!("{dnf} install chatd directoryd 2>&1"));
    machine.serve_names();
    machine.ok(&["systemctl", "start", "chatd"]);
    machine.people(&["alice", "bob"]);
    befriend((&machine, "alice"), (&machine, "bob"));
    machine.ctl_ok("alice", &["send", "bob", "by rpm", "--wait", "delivered", "--timeout", "30s"]);
    machine.sh(&format!("{dnf} remove chatd 2>&1"));
    machine.ok(&["test", "-d", "/var/lib/chatd/accounts"]);
    assert_ne!(machine.run(&["test", "-e", "/usr/bin/chatd"]).code, Some(0));
}
