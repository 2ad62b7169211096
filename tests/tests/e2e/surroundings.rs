//! What surrounds the programs: environments that lack everything, masks that protect nothing, few descriptors, few places.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tests::binaries::program;
use tests::daemon::Chatd;
use tests::directory::Directoryd;
use tests::process::Process;
use tests::process::managed::Program;
use tests::users;
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
fn daemon_after(line: &str, home: &Path, directory: &str) -> (Process, Ctl) {
    let options = DaemonOptions { directory: Some(directory.to_owned()), ..DaemonOptions::default() };
    let command = Daemon::command(&options, home, &program("chatd").unwrap()).unwrap();
    let log = home.join("chatd.log");
    let (daemon, _) = Process::start("chatd", after(line, &command), &log, Chatd::READY).unwrap();
    (daemon, Ctl::new(&home.join("run/chatd.sock"), home))
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
    let mut command = Command::new(program("directoryd").unwrap());
    tests::daemon::isolate(&mut command, &home);
    command.arg("--data-dir").arg(home.join("directory")).args(["--listen", "127.0.0.1:0"]);
    command.args(["--origin", "example.org"]);
    let (log, behind) = (home.join("directoryd.log"), after("umask 000", &command));
    let (directory, _) = Process::start("directoryd", behind, &log, Directoryd::READY).unwrap();
    let url = format!("http://127.0.0.1:{}", directory.listening_port().unwrap());
    let (_daemon, ctl) = daemon_after("umask 000", &home, &url);
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
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("48"), "{files}");
    ctl.ok(["register", "alice"]);
    // As many as the system lets wait: most are never accepted.
    let held: Vec<_> = (0..100).filter_map(|_| std::os::unix::net::UnixStream::connect(ctl.socket()).ok()).collect();
    assert!(held.len() > 48, "{}", held.len());
    let open = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    wait_for("no descriptor is left", || open() >= 47);
    drop(held);
    wait_for("they are free again", || ctl.run(["status"]).code == Some(0));
    assert_eq!(ctl.json(["whoami"])["name"], "alice");
    assert!(daemon.is_running());
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

/// A user whose environment has nothing but a home. Root's daemon would be the system's.
struct Bare {
    place: Place,
    home: std::path::PathBuf,
    bin: std::path::PathBuf,
}

impl Bare {
    const USER: u32 = 23_003;

    /// `None`: this machine cannot be such a user.
    fn new() -> Option<Self> {
        if users::missing().is_some() {
            return None;
        }
        let place = Place::new().unwrap();
        let (home, bin) = (place.folder("home").unwrap(), place.folder("bin").unwrap());
        users::give(&home, Self::USER).unwrap();
        for name in ["chatd", "chatctl"] {
            users::shared_program(&place, name).unwrap();
        }
        Some(Self { place, home, bin })
    }

    fn run(&self, name: &str, args: &[&str]) -> Command {
        let mut command = users::command(Self::USER, &self.bin.join(name));
        command.args(args).env("HOME", &self.home).stdin(Stdio::null());
        command
    }

    fn daemon(&self, log: &str, args: &[&str], env: &[(&str, &Path)]) -> Process {
        let mut chatd = self.run("chatd", &[&["--listen", "127.0.0.1:0"], args].concat());
        let log = std::fs::File::options().create(true).append(true).open(self.place.path().join(log)).unwrap();
        chatd.envs(env.iter().copied()).stdout(Stdio::null()).stderr(log);
        Process::spawn(chatd).unwrap()
    }

    /// Which socket a client finds, with that folder for what runs.
    fn socket(&self, runtime: Option<&Path>) -> Option<String> {
        let mut command = self.run("chatctl", &["status", "--json"]);
        command.envs(runtime.map(|folder| ("XDG_RUNTIME_DIR", folder)));
        let ran = command.output().unwrap();
        let status = || serde_json::from_slice::<serde_json::Value>(&ran.stdout).unwrap();
        ran.status.success().then(|| status()["socket"].as_str().unwrap().to_owned())
    }
}

/// As cron, `su` and containers start programs: nothing in the environment but a home.
#[test]
fn from_an_empty_environment_daemon_and_client_meet() {
    let Some(bare) = Bare::new() else {
        tests::skip!("needs root and setpriv, to be a user whose environment is empty");
    };
    let _chatd = bare.daemon("log", &[], &[]);
    wait_for("they meet", || bare.socket(None).is_some());
    let socket = bare.home.join(".local/state/chatd/chatd.sock");
    // Also a client of a desktop, which has more in its environment.
    for runtime in [None, Some(bare.home.as_path())] {
        assert_eq!(bare.socket(runtime).unwrap(), socket.display().to_string());
    }
    let told = std::fs::read_to_string(bare.place.path().join("log")).unwrap();
    assert!(told.contains("chatd ready") && !told.contains("panicked at"), "{told}");
}

/// What is open goes on with the daemon that it found, also when another one is nearer by then.
#[test]
fn what_is_open_stays_with_its_daemon() {
    let Some(bare) = Bare::new() else {
        tests::skip!("needs root and setpriv, to be a user whose environment is empty");
    };
    let directory = Directory::start();
    let (runtime, other) = (bare.place.folder("runtime").unwrap(), bare.place.folder("other").unwrap());
    for folder in [&runtime, &other] {
        users::give(folder, Bare::USER).unwrap();
    }
    let first = || bare.daemon("first", &["--directory", directory.url()], &[]);
    let chatd = first();
    wait_for("it is there", || bare.socket(Some(&runtime)).is_some());
    let socket = bare.socket(Some(&runtime)).unwrap();
    let say = |args: &[&str]| {
        let ran = bare.run("chatctl", &[&["--socket", &socket], args].concat()).output().unwrap();
        (ran.status.success(), String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap())
    };
    let ok = |args: &[&str]| assert!(say(args).0, "{args:?}: {}", say(args).1);
    ok(&["register", "alice"]);
    ok(&["register", "bob"]);
    ok(&["add", "bob", "--account", "alice"]);
    wait_for("bob is asked", || say(&["requests", "--account", "bob"]).1.contains("alice"));
    ok(&["accept", "alice", "--account", "bob"]);
    ok(&["send", "alice", "zero", "--account", "bob", "--wait", "delivered"]);
    let open = |args: &[&str]| {
        let mut command = bare.run("chatctl", &[args, &["--account", "alice"]].concat());
        command.env("XDG_RUNTIME_DIR", &runtime);
        Stream::start(command).unwrap()
    };
    let (mut watch, mut chat) = (open(&["watch"]), open(&["chat", "bob"]));
    chat.until("what was said", |line| line.contains("zero"));
    ok(&["send", "alice", "one", "--account", "bob", "--wait", "delivered"]);
    watch.until("one", |line| line.contains("bob: one"));
    chat.until("one", |line| line.contains("bob: one"));
    // From here on, who comes with that environment gets another daemon.
    let data = other.join("data").display().to_string();
    let _second = bare.daemon("second", &["--data-dir", &data], &[("XDG_RUNTIME_DIR", &runtime)]);
    wait_for("it is nearer", || bare.socket(Some(&runtime)).is_some_and(|found| found != socket));
    drop(chatd);
    let _again = first();
    wait_for("the first is back", || say(&["status"]).0);
    ok(&["send", "alice", "two", "--account", "bob", "--wait", "delivered"]);
    watch.until("two", |line| line.contains("bob: two"));
    chat.until("two", |line| line.contains("bob: two"));
    chat.type_line("from alice");
    wait_for("it went through the first", || say(&["history", "alice", "--account", "bob"]).1.contains("from alice"));
}
