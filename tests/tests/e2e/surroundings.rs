//! What surrounds the programs: environments that lack everything, masks that protect nothing, few descriptors, few places.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::binaries::program;
use tests::process::Ended;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Directory, Pair, Place, Stream};

use crate::util::wait_for_body;

/// The same command behind a line of the shell.
fn after(line: &str, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(format!("{line}; exec \"$0\" \"$@\"")).arg(command.get_program()).args(command.get_args());
    shell.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        shell.current_dir(folder);
    }
    shell.stdin(Stdio::null());
    shell
}

/// A daemon behind a line of the shell, and its `chatctl`.
fn daemon_after(line: &str, home: &Path, directory: &str) -> (Ended, Ctl) {
    let options = DaemonOptions { directory: Some(directory.to_owned()), ..DaemonOptions::default() };
    let command = Daemon::command(&options, home, &program("chatd").unwrap()).unwrap();
    let log = std::fs::File::create(home.join("chatd.log")).unwrap();
    let daemon = Ended(after(line, &command).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let ctl = Ctl::new(&home.join("run/chatd.sock"), home);
    wait_for("it answers", || ctl.run(["status"]).code == Some(0));
    (daemon, ctl)
}

fn is_closed_to_others(path: &Path) {
    let mode = std::fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    if path.is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| is_closed_to_others(&entry.unwrap().path()));
    }
}

#[test]
fn a_mask_that_protects_nothing_opens_nothing() {
    let place = Place::new().unwrap();
    let home = place.folder("open").unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new(program("directoryd").unwrap());
    tests::daemon::isolate(&mut command, &home);
    command.arg("--data-dir").arg(home.join("directory")).args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--origin", "example.org"]);
    let log = std::fs::File::create(home.join("directoryd.log")).unwrap();
    let _directory = Ended(after("umask 000", &command).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    wait_for("the directory answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let (_daemon, ctl) = daemon_after("umask 000", &home, &format!("http://127.0.0.1:{port}"));
    let phrase = home.join("phrase");
    std::fs::write(&phrase, "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(&phrase, std::fs::Permissions::from_mode(0o600)).unwrap();
    let files = home.join("files");
    std::fs::create_dir(&files).unwrap();
    std::fs::set_permissions(&files, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (key, backup) = (files.join("key"), files.join("backup"));
    let shown = |path: &Path| path.display().to_string();
    for args in [
        &["register", "alice", "--recovery-file", &shown(&key)][..],
        &["backup", &shown(&backup), "--passphrase-file", &shown(&phrase)],
    ] {
        let ran = after("umask 000", &ctl.command(args).unwrap()).output().unwrap();
        assert!(ran.status.success(), "{args:?}: {ran:?}");
    }
    assert!(key.exists() && backup.exists());
    for folder in ["data", "directory", "files"] {
        is_closed_to_others(&home.join(folder));
    }
    let socket = std::fs::metadata(home.join("run/chatd.sock")).unwrap().permissions().mode();
    assert_eq!(socket & 0o777, 0o600, "{socket:o}");
}

#[test]
fn a_daemon_of_few_descriptors_outlives_what_takes_them_all() {
    let directory = Directory::start();
    let home = directory.place().folder("few").unwrap();
    let (mut daemon, ctl) = daemon_after("ulimit -n 48", &home, directory.url());
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("48"), "{files}");
    ctl.ok(["register", "alice"]);
    // As many as the system lets wait: most are never accepted.
    let held: Vec<_> = (0..100).filter_map(|_| std::os::unix::net::UnixStream::connect(ctl.socket()).ok()).collect();
    assert!(held.len() > 48, "{}", held.len());
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    wait_for("no descriptor is left", || open() >= 47);
    drop(held);
    wait_for("they are free again", || ctl.run(["status"]).code == Some(0));
    assert_eq!(ctl.json(["whoami"])["name"], "alice");
    assert!(daemon.try_wait().unwrap().is_none());
    let log = std::fs::read_to_string(home.join("chatd.log")).unwrap();
    assert!(!log.contains("panicked at"), "{log}");
}

/// Eight that follow, of sixteen places, and the short commands of the same user beside them.
#[test]
fn eight_watches_leave_room_for_status_and_send() {
    let few = "[limits]\nrpc_clients = 16\nrpc_clients_per_uid = 16\n";
    let pair = Pair::strangers_with(few, tests::DirectoryOptions::default());
    tests::people::befriend(&pair.alice, &pair.bob);
    let mut watches: Vec<Stream> = (0..8).map(|_| pair.alice.stream(["watch", "--json", "--new"])).collect();
    let following = || {
        let clients = pair.alice.json(["status"])["own_clients"].as_array().cloned().unwrap_or_default();
        clients.iter().filter(|client| client["does"] == "follows events").count()
    };
    wait_for("all eight follow", || following() == 8);
    let shown = pair.alice.ok(["status"]).stdout;
    assert_eq!(shown.matches(": follows events\n").count(), 8, "{shown}");
    assert_eq!(shown.matches(": runs system.status\n").count(), 1, "{shown}");
    for n in 0..20 {
        pair.alice.ok(["send", "bob", &n.to_string()]);
    }
    wait_for_body(&pair.bob, "alice", "19");
    pair.bob.ok(["send", "alice", "to all of them", "--wait", "delivered"]);
    for watch in &mut watches {
        watch.until("the message", |line| line.contains("to all of them"));
    }
    assert_eq!(following(), 8, "none had to go");
}

#[test]
fn an_empty_variable_is_none() {
    let directory = Directory::start();
    let mut options = DaemonOptions::new("chatd", directory.url()).config("log = 'debug'\n");
    options.env = vec![("CHATD_LOG".into(), String::new())];
    let daemon = Daemon::start(options);
    let ctl = daemon.bare_ctl().env("CHATD_ACCOUNT", "");
    ctl.ok(["register", "alice"]);
    assert_eq!(ctl.json(["whoami"])["name"], "alice");
    assert!(daemon.log_text().contains("DEBUG"), "the key of the file counts: {}", daemon.log_text());
}

/// As cron, `su` and containers start programs: nothing in the environment but a home.
#[test]
fn from_an_empty_environment_daemon_and_client_meet() {
    const USER: &str = "23003";
    let there = Command::new("setpriv").arg("--version").output().is_ok_and(|output| output.status.success());
    // Root's daemon is the system's.
    if !nix::unistd::geteuid().is_root() || !there {
        tests::skip!("needs root and setpriv, to be a user whose environment is empty");
    }
    let place = Place::new().unwrap();
    let (home, bin) = (place.folder("home").unwrap(), place.folder("bin").unwrap());
    std::fs::set_permissions(&bin, std::fs::Permissions::from_mode(0o755)).unwrap();
    let id = USER.parse().unwrap();
    std::os::unix::fs::chown(&home, Some(id), Some(id)).unwrap();
    let run = |name: &str, args: &[&str]| {
        let copy = bin.join(name);
        if !copy.exists() {
            std::fs::copy(program(name).unwrap(), &copy).unwrap();
            std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={USER}"), &format!("--regid={USER}"), "--clear-groups"]).arg(copy).args(args);
        command.env_clear().env("HOME", &home).current_dir("/").stdin(Stdio::null());
        command
    };
    let log = place.path().join("log");
    let mut chatd = run("chatd", &["--listen", "127.0.0.1:0"]);
    chatd.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let _chatd = Ended(chatd.spawn().unwrap());
    let status = |runtime: Option<&Path>| {
        let mut command = run("chatctl", &["status", "--json"]);
        command.envs(runtime.map(|folder| ("XDG_RUNTIME_DIR", folder)));
        let ran = command.output().unwrap();
        ran.status.success().then(|| serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap())
    };
    wait_for("they meet", || status(None).is_some());
    let socket = home.join(".local/state/chatd/chatd.sock");
    // Also a client of a desktop, which has more in its environment.
    for runtime in [None, Some(home.as_path())] {
        assert_eq!(status(runtime).unwrap()["socket"], socket.display().to_string());
    }
    let told = std::fs::read_to_string(&log).unwrap();
    assert!(told.contains("chatd ready") && !told.contains("panicked at"), "{told}");
}
