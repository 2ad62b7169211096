//! Starting: locks, permissions, configuration, sockets, disks, signals.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tests::binaries::program;
use tests::process::Process;
use tests::wait::{DEADLINE, wait_for};
use tests::{Daemon, DaemonOptions, Directory, Place};

/// A start that fails, fails within this.
const FAIL_DEADLINE: Duration = Duration::from_secs(20);

/// Runs a start that has to fail; returns how it did.
#[track_caller]
fn fails(command: Command) -> Output {
    let shown = format!("{command:?}");
    let output = Process::output(command, b"", FAIL_DEADLINE).unwrap_or_else(|error| panic!("it started: {error:#}"));
    assert!(!output.status.success(), "it should have failed: {shown}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("panicked at"), "{text}");
    output
}

fn says(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    for word in words {
        assert!(text.contains(&word.to_lowercase()), "should say {word:?}: {text}");
    }
}

fn chatd(home: &Path, options: &DaemonOptions) -> Command {
    Daemon::command(options, home, &program("chatd").unwrap()).unwrap()
}

#[test]
fn a_data_directory_is_locked() {
    let daemon = Daemon::start(DaemonOptions::default());
    let mut second = chatd(daemon.home(), &DaemonOptions::default());
    second.arg("--socket").arg(daemon.home().join("second.sock"));
    // The same flag twice is for the argument parser; build it by hand instead.
    let mut by_hand = Command::new(program("chatd").unwrap());
    tests::daemon::isolate(&mut by_hand, daemon.home());
    by_hand.arg("--data-dir").arg(daemon.data_dir()).arg("--socket").arg(daemon.home().join("second.sock"));
    by_hand.args(["--listen", "127.0.0.1:0"]);
    let output = fails(by_hand);
    says(&output, &["data", "another"]);
    assert!(!daemon.home().join("second.sock").exists(), "the lock comes before the socket");
    daemon.bare_ctl().ok(["status"]);
}

#[test]
fn a_hundred_simultaneous_starts_have_one_winner() {
    const STARTS: usize = 100;
    let place = Place::new().unwrap();
    let home = place.folder("chatd").unwrap();
    let mut children: Vec<_> = (0..STARTS)
        .map(|number| {
            let log = std::fs::File::create(home.join(format!("{number}.log"))).unwrap();
            let mut command = chatd(&home, &DaemonOptions::default());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            Process::spawn(command).unwrap()
        })
        .collect();
    wait_for("all but one have ended", || children.iter_mut().filter_map(Process::ended).count() == STARTS - 1);
    // The losers end before the winner has bound its socket.
    let ctl = tests::Ctl::new(&home.join("run/chatd.sock"), &home);
    wait_for("the winner answers", || ctl.run(["status"]).code == Some(0));
    let mut losers = 0;
    for (number, child) in children.iter_mut().enumerate() {
        let log = std::fs::read_to_string(home.join(format!("{number}.log"))).unwrap();
        assert!(!log.contains("panicked at"), "{log}");
        match child.ended() {
            Some(status) => {
                assert_eq!(status.code(), Some(1), "{log}");
                assert!(log.contains("another") && log.contains("data"), "it says why: {log}");
                losers += 1;
            }
            None => drop(child.end(Signal::SIGKILL, DEADLINE)),
        }
    }
    println!("figure: {STARTS} starts on one data directory: {} winner", STARTS - losers);
    assert_eq!(losers, STARTS - 1);
}

#[test]
fn many_starts_on_one_socket_have_one_winner() {
    const STARTS: usize = 12;
    let place = Place::new().unwrap();
    let home = place.folder("chatd").unwrap();
    let mut children: Vec<_> = (0..STARTS)
        .map(|number| {
            let mut command = Command::new(program("chatd").unwrap());
            tests::daemon::isolate(&mut command, &home);
            command.arg("--data-dir").arg(home.join(format!("data-{number}")));
            command.arg("--socket").arg(home.join("run.sock")).args(["--listen", "127.0.0.1:0"]);
            let log = std::fs::File::create(home.join(format!("{number}.log"))).unwrap();
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            Process::spawn(command).unwrap()
        })
        .collect();
    wait_for("all but one have ended", || children.iter_mut().filter_map(Process::ended).count() == STARTS - 1);
    let ctl = tests::Ctl::new(&home.join("run.sock"), &home);
    wait_for("the winner answers", || ctl.run(["status"]).code == Some(0));
    for (number, child) in children.iter_mut().enumerate() {
        match child.ended() {
            Some(status) => {
                let log = std::fs::read_to_string(home.join(format!("{number}.log"))).unwrap();
                assert_eq!(status.code(), Some(1), "{log}");
                assert!(log.contains("run.sock") && !log.contains("panicked at"), "{log}");
            }
            None => drop(child.end(Signal::SIGKILL, DEADLINE)),
        }
    }
}

#[test]
fn a_socket_in_use_is_not_taken_and_a_stale_one_is_replaced() {
    let mut daemon = Daemon::start(DaemonOptions::default());
    let mut other = Command::new(program("chatd").unwrap());
    tests::daemon::isolate(&mut other, daemon.home());
    other.arg("--data-dir").arg(daemon.home().join("other")).arg("--socket").arg(daemon.socket());
    other.args(["--listen", "127.0.0.1:0"]);
    says(&fails(other), &["chatd.sock"]);
    daemon.bare_ctl().ok(["status"]);
    daemon.kill9();
    assert!(daemon.socket().exists(), "a crash leaves the socket");
    daemon.restart();
    daemon.bare_ctl().ok(["status"]);
    daemon.stop();
    assert!(!daemon.socket().exists(), "a clean stop removes it");
    // What is no socket is never removed.
    std::fs::write(daemon.socket(), "precious").unwrap();
    says(&fails(chatd(daemon.home(), &DaemonOptions::default())), &["chatd.sock"]);
    assert_eq!(std::fs::read_to_string(daemon.socket()).unwrap(), "precious");
}

#[test]
fn wrong_permissions_are_refused() {
    let mut daemon = Daemon::start(DaemonOptions::default());
    daemon.stop();
    let data = daemon.data_dir();
    for mode in [0o777, 0o770, 0o755] {
        std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = fails(chatd(daemon.home(), &DaemonOptions::default()));
        says(&output, &["data", "chmod 700"]);
    }
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o700)).unwrap();
    daemon.restart();
}

#[test]
fn a_data_directory_of_another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        tests::skip!("needs root, to give a folder away");
    }
    let mut daemon = Daemon::start(DaemonOptions::default());
    daemon.stop();
    let give = |uid: u32| nix::unistd::chown(&daemon.data_dir(), Some(nix::unistd::Uid::from_raw(uid)), None).unwrap();
    give(23_001);
    says(&fails(chatd(daemon.home(), &DaemonOptions::default())), &["data", "own"]);
    give(0);
    daemon.restart();
}

#[test]
fn a_data_directory_that_cannot_be_made() {
    let place = Place::new().unwrap();
    let home = place.folder("chatd").unwrap();
    std::fs::write(home.join("data"), "a file").unwrap();
    says(&fails(chatd(&home, &DaemonOptions::default())), &["data"]);
}

#[test]
fn an_unknown_config_key_is_named_with_the_nearest() {
    let place = Place::new().unwrap();
    let home = place.folder("chatd").unwrap();
    let with = |text: &str| chatd(&home, &DaemonOptions::default().config(text));
    says(&fails(with("directry = \"http://127.0.0.1:1\"\n")), &["directry", "directory", "chatd.toml"]);
    says(&fails(with("[limits]\nacounts_per_uid = 3\n")), &["acounts_per_uid", "`accounts_per_uid`"]);
    says(&fails(with("listen = 7\n")), &["chatd.toml"]);
    says(&fails(with("= = =\n")), &["chatd.toml"]);
    let mut check = with("data_dir = \"/nonexistent/never/made\"\n");
    check.arg("--check");
    assert!(check.output().unwrap().status.success(), "--check validates and exits");
    let mut check = with("colour = \"blue\"\n");
    check.arg("--check");
    says(&fails(check), &["colour"]);

    let mut directoryd = Command::new(program("directoryd").unwrap());
    tests::daemon::isolate(&mut directoryd, &home);
    std::fs::write(home.join("d.toml"), "orgin = \"example.org\"\n").unwrap();
    directoryd.arg("--config").arg(home.join("d.toml")).arg("--data-dir").arg(home.join("d"));
    says(&fails(directoryd), &["orgin", "origin"]);
    let mut missing = Command::new(program("chatd").unwrap());
    tests::daemon::isolate(&mut missing, &home);
    missing.arg("--config").arg(home.join("none.toml"));
    says(&fails(missing), &["none.toml"]);
}

#[test]
fn an_address_in_use_is_named() {
    let directory = Directory::start();
    let mut second = Command::new(program("directoryd").unwrap());
    tests::daemon::isolate(&mut second, directory.home());
    second.arg("--data-dir").arg(directory.home().join("second")).args(["--listen", directory.address()]);
    says(&fails(second), &[directory.address()]);
    let mut same = Command::new(program("directoryd").unwrap());
    tests::daemon::isolate(&mut same, directory.home());
    same.arg("--data-dir").arg(directory.data_dir()).args(["--listen", "127.0.0.1:0"]);
    says(&fails(same), &["data"]);
}

/// A small file system of its own, mounted for one test.
pub(crate) struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    pub(crate) fn mount(folder: &Path, size: &str) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "none"]).arg(folder);
        let output = mount.output().ok()?;
        output.status.success().then(|| Self(folder.to_path_buf()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_on_start_is_told_and_nothing_is_lost() {
    if !nix::unistd::geteuid().is_root() {
        tests::skip!("needs root, to mount a small file system");
    }
    let directory = Directory::start();
    let place = Arc::new(Place::new().unwrap());
    let home = place.folder("chatd").unwrap();
    let data = home.join("data");
    tests::place::private_folder(&data).unwrap();
    let Some(_disk) = Tmpfs::mount(&data, "24m") else {
        tests::skip!("cannot mount a tmpfs here");
    };
    let options = DaemonOptions::new("chatd", directory.url()).place(&place);
    let ballast = data.join("ballast-of-the-test");
    let fill = || {
        let mut file = std::fs::File::options().create(true).append(true).open(&ballast).unwrap();
        let block = vec![0_u8; 4_096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    };
    fill();
    let output = fails(chatd(&home, &options));
    let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(text.contains("full") || text.contains("no space"), "{text}");
    std::fs::remove_file(&ballast).unwrap();
    let mut daemon = Daemon::start(options);
    let alice = daemon.ctl("alice");
    alice.ok(["register", "alice"]);
    let id = alice.json(["whoami"])["id"].clone();
    daemon.stop();
    fill();
    // With an account: it starts and says so, or it refuses and says so; the account is never made anew.
    let mut full = chatd(&home, &DaemonOptions::new("chatd", directory.url()));
    full.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut process = Process::spawn(full).unwrap();
    let mut said = process.take_stderr().unwrap();
    // Killed if it goes on.
    let _ = process.wait(Duration::from_secs(3));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut said, &mut text).unwrap();
    assert!(!text.contains("panicked at"), "{text}");
    std::fs::remove_file(&ballast).unwrap();
    daemon.restart();
    assert_eq!(daemon.ctl("alice").json(["whoami"])["id"], id, "the same account as before");
}

#[test]
fn signals_stop_cleanly() {
    let mut daemon = Daemon::start(DaemonOptions::default());
    daemon.signal(Signal::SIGHUP);
    daemon.bare_ctl().ok(["status"]);
    assert!(daemon.is_running(), "SIGHUP reloads");
    // A client that stays connected does not hold it up.
    let _watch = daemon.bare_ctl().stream(["status"]);
    daemon.signal(Signal::SIGINT);
    wait_for("it ended", || !daemon.is_running());
    daemon.stop();
    daemon.restart();
    daemon.stop();
}
