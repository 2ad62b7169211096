//! A daemon stands whatever its surroundings do: logs that nobody reads, disks that are full, starts in the background.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;
use nix::unistd::pipe2;
use tests::binaries::program;
use tests::daemon::NO_NAMES;
use tests::process::Process;
use tests::process::background::Background;
use tests::wait::{DEADLINE, times_are_judged, wait_for};
use tests::{Ctl, Daemon, DaemonOptions, Directory, DirectoryOptions, Place};

/// The port that it has chosen: nobody reads here what it says.
fn listens(directoryd: &Process) -> u16 {
    wait_for("it listens", || directoryd.listening_port().is_some());
    directoryd.listening_port().unwrap()
}

/// SIGTERM ends it in time.
fn stops(child: &mut Process) {
    let since = Instant::now();
    let status = child.end(Signal::SIGTERM, DEADLINE).unwrap();
    assert!(!times_are_judged() || since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert!(status.success());
}

fn command(home: &Path, more: &[(&str, &str)]) -> Command {
    let env = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = DaemonOptions { env, ..DaemonOptions::default() };
    let mut command = Daemon::command(&options, home, &program("chatd").unwrap()).unwrap();
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A pipe as small as one can be, its end to read and its end for a program, and how much it holds. It is made small before anybody
/// writes: one that holds more than a page already cannot be.
fn one_page() -> (File, OwnedFd, usize) {
    let (unread, end) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let room = usize::try_from(fcntl(&end, FcntlArg::F_SETPIPE_SZ(4096)).unwrap()).unwrap();
    (unread.into(), end, room)
}

fn ctl(home: &Path) -> Ctl {
    Ctl::new(&home.join("run/chatd.sock"), home)
}

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let place = Place::new().unwrap();
    let home = place.folder("unread").unwrap();
    let mut chatd = command(&home, &[("CHATD_LOG", "trace")]);
    // Kept open, never read until the end: a few lines fill it.
    let (mut unread, end, room) = one_page();
    chatd.stderr(end);
    let mut chatd = Process::spawn(chatd).unwrap();
    wait_for("it answers", || ctl(&home).run(["status"]).code == Some(0));
    for _ in 0..100 {
        ctl(&home).ok(["status"]);
    }
    let resident = chatd.resident_kib().unwrap();
    assert!(resident < 256 * 1024, "{resident} KiB");
    stops(&mut chatd);
    let mut text = String::new();
    unread.read_to_string(&mut text).unwrap();
    // Lines are written several at a time, so the first that have no room may be many. They were not waited for.
    assert!(!text.is_empty() && text.len() <= room, "{} bytes of {room}", text.len());
    assert!(!text.contains("chatd: stopped"), "nothing was held up: {text}");
}

/// Both daemons at trace level, with pipes of one page that nobody reads, for `CHATD_TORTURE_LOG_SECONDS` (else a few rounds).
#[test]
fn torture_unread_logs_stop_nobody_under_load() {
    let place = Place::new().unwrap();
    let home = place.folder("unread").unwrap();
    std::fs::write(home.join("directoryd.toml"), "log = 'trace'\n").unwrap();
    let mut directoryd = Command::new(program("directoryd").unwrap());
    directoryd.arg("--config").arg(home.join("directoryd.toml")).arg("--data-dir").arg(home.join("directory"));
    directoryd.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::null());
    let (_unread_of_directoryd, end, _) = one_page();
    directoryd.stderr(end);
    let mut directoryd = Process::spawn(directoryd).unwrap();
    let port = listens(&directoryd);
    let healthy = || -> Option<bool> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.starts_with("HTTP/1.1 200"))
    };
    wait_for("the directory answers", || healthy().is_some());
    let mut chatd = command(&home, &[("CHATD_LOG", "trace")]);
    chatd.arg("--directory").arg(format!("http://127.0.0.1:{port}"));
    let (_unread_of_chatd, end, _) = one_page();
    chatd.stderr(end);
    let mut chatd = Process::spawn(chatd).unwrap();
    wait_for("the daemon answers", || ctl(&home).run(["status"]).code == Some(0));
    let (alice, bob) = (ctl(&home).account("alice"), ctl(&home).account("bob"));
    for name in ["alice", "bob"] {
        ctl(&home).ok(["register", name]);
    }
    tests::people::befriend(&alice, &bob);
    let seconds = std::env::var("CHATD_TORTURE_LOG_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let (since, mut rounds, mut most) = (Instant::now(), 0, 0);
    while rounds < 20 || since.elapsed() < Duration::from_secs(seconds) {
        alice.ok(["send", "bob", "hello", "--wait", "delivered", "--timeout", "20s"]);
        for _ in 0..20 {
            assert_eq!(healthy(), Some(true));
        }
        rounds += 1;
        for daemon in [&chatd, &directoryd] {
            most = most.max(daemon.resident_kib().unwrap());
        }
    }
    println!("unread logs: {rounds} messages and {} look-ups, at most {most} KiB", rounds * 20);
    assert!(most < 256 * 1024, "{most} KiB");
    stops(&mut chatd);
    stops(&mut directoryd);
}

#[test]
fn a_full_disk_under_the_log_stops_nobody() {
    let place = Place::new().unwrap();
    let home = place.folder("full").unwrap();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut chatd = command(&home, &[]);
    chatd.stderr(full());
    let mut chatd = Process::spawn(chatd).unwrap();
    wait_for("it answers", || ctl(&home).run(["status"]).code == Some(0));
    stops(&mut chatd);
    let mut directoryd = Command::new(program("directoryd").unwrap());
    directoryd.arg("--data-dir").arg(home.join("directory")).args(["--listen", "127.0.0.1:0"]);
    directoryd.stdin(Stdio::null()).stdout(full()).stderr(full());
    let mut directoryd = Process::spawn(directoryd).unwrap();
    let port = listens(&directoryd);
    wait_for("it answers", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    stops(&mut directoryd);
}

#[test]
fn a_start_in_the_background_returns_when_ready_or_says_why_not() {
    let place = Place::new().unwrap();
    let home = place.folder("background").unwrap();
    let pid_file = home.join("chatd.pid");
    let start = |more: &[&str]| {
        let mut command = command(&home, &[]);
        command.arg("--daemonize").arg("--pid-file").arg(&pid_file).args(more).output().unwrap()
    };
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = start(&["--listen", &address]);
    assert!(!failed.status.success(), "{failed:?}");
    assert!(String::from_utf8_lossy(&failed.stderr).contains(&address), "{failed:?}");
    assert!(!pid_file.exists(), "nothing runs");
    std::fs::write(&pid_file, "my diary").unwrap();
    let failed = start(&[]);
    assert!(!failed.status.success() && String::from_utf8_lossy(&failed.stderr).contains("no pid file"), "{failed:?}");
    assert_eq!(std::fs::read(&pid_file).unwrap(), b"my diary");
    std::fs::remove_file(&pid_file).unwrap();
    let fails = |more: &[&str], says: &str| {
        let mut command = Command::new(program("chatd").unwrap());
        tests::daemon::isolate(&mut command, &home);
        command.arg("--data-dir").arg(home.join("data")).args(["--listen", "127.0.0.1:0", "--daemonize"]).args(more);
        let failed = command.stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(failed.status.code() == Some(1) && told.contains(says), "{more:?}: {failed:?}");
        assert!(!pid_file.exists(), "{more:?}");
    };
    let shown = home.display().to_string();
    let (long, pid) = (format!("{shown}/{}", "s".repeat(107 - shown.len())), pid_file.display().to_string());
    assert_eq!(long.len(), 108);
    fails(&["--socket", &long, "--pid-file", &pid], "107");
    let (socket, missing) = (format!("{shown}/run/chatd.sock"), format!("{shown}/missing/chatd.pid"));
    fails(&["--socket", &socket, "--pid-file", &missing], "missing/chatd.pid");
    assert!(!Path::new(&socket).exists(), "what did not start is gone again");

    assert!(start(&[]).status.success());
    // No waiting: it returned because it is ready.
    ctl(&home).ok(["status"]);
    let chatd = Background::new(std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap()).unwrap();
    let log = home.join("data/chatd.log");
    std::fs::rename(&log, home.join("data/chatd.log.1")).unwrap();
    chatd.signal(Signal::SIGHUP).unwrap();
    wait_for("the log goes on in a new file", || {
        std::fs::read_to_string(&log).is_ok_and(|text| text.contains("told=\"changed: nothing\""))
    });
    chatd.signal(Signal::SIGTERM).unwrap();
    wait_for("the pid file goes with it", || !pid_file.exists());
}

#[test]
fn a_reload_changes_what_may_change_and_names_the_rest() {
    let options = DaemonOptions::default().config("log = 'info'\n");
    let daemon = Daemon::start(options);
    let config = daemon.home().join("chatd.toml");
    std::fs::write(
        &config,
        format!("{NO_NAMES}log = 'warn,chatd=info'\nsystem = true\n[limits]\naccounts_per_uid = 1\n"),
    )
    .unwrap();
    daemon.signal(Signal::SIGHUP);
    wait_for("it is told", || {
        daemon.log_text().contains("changed: log, limits.accounts_per_uid; a restart is needed for system")
    });
    daemon.bare_ctl().ok(["register", "one"]);
    daemon.bare_ctl().run(["register", "two"]).expect_code(1).says(&["1 account is yours"]);
}

/// Another domain's directory is known from the reload on, also to an account that was there before.
#[test]
fn a_reload_makes_another_domains_directory_known() {
    let place = std::sync::Arc::new(Place::new().unwrap());
    let near = Directory::start_with(DirectoryOptions::default().place(&place));
    let far = Directory::start_with(DirectoryOptions::default().args(&["--origin", "example.net"]));
    let daemon = Daemon::start(DaemonOptions::new("alice", near.url()).place(&place).config("log = 'info'\n"));
    let dora_daemon = Daemon::start(DaemonOptions::new("dora", far.url()).place(&place));
    let (alice, dora) = (daemon.ctl("alice"), dora_daemon.ctl("dora"));
    alice.ok(["register", "alice"]);
    dora.ok(["register", "dora"]);
    alice.run(["add", "dora@example.net"]).expect_code(1).says(&["the DNS does not say where example.net is"]);
    let config = daemon.home().join("chatd.toml");
    let reload = |text: &str, told: &str| {
        std::fs::write(&config, format!("{NO_NAMES}{text}")).unwrap();
        daemon.signal(Signal::SIGHUP);
        wait_for("it is told", || daemon.log_text().contains(told));
    };
    reload(&format!("log = 'info'\n[directories]\n\"example.net\" = \"{}\"\n", far.url()), "changed: directories");
    let asked = || alice.run(["add", "dora@example.net"]);
    assert!(!asked().expect_code(0).stderr.contains("the DNS does not say"));
    // What cannot be taken over changes nothing.
    reload("log = 'info'\n[directories]\n\"example.net\" = \"htp://nowhere\"\n", "htp://nowhere");
    alice
        .run(["add", "nobody@example.net"])
        .expect_code(1)
        .says(&["nobody is called nobody@example.net in example.net"]);
}
