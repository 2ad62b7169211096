//! What operators do: checking before a start, reading manual pages, changing what runs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::Signal;
use tests::binaries::program;
use tests::http::Http;
use tests::wait::wait_for;
use tests::{Daemon, DaemonOptions, Directory, DirectoryOptions, Pair, Screen};

fn run(name: &str, args: &[&str]) -> Output {
    Command::new(program(name).unwrap()).args(args).env_remove("XDG_STATE_HOME").output().unwrap()
}

#[test]
fn pages_of_the_daemons_have_all_sections_and_are_clean_roff() {
    for (name, words) in [("chatd", ["CHATD_LOG", "chatd.sock"]), ("directoryd", ["XDG_STATE_HOME", "directory.db"])] {
        let ran = run(name, &["--print-man"]);
        let page = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success() && page.contains(&format!(".TH {name} 8")), "{page}");
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "EXAMPLES", "FILES", "ENVIRONMENT", "\"EXIT STATUS\""] {
            assert!(page.contains(&format!(".SH {section}")), "{name}: no {section} in {page}");
        }
        for word in words {
            assert!(page.contains(word), "{name}: {word}");
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &page).unwrap();
        let Ok(shown) = Command::new("groff").args(["-man", "-Tascii", "-ww", "-P-cbou"]).arg(file.path()).output()
        else {
            tests::skip!("groff is missing");
        };
        assert_eq!(String::from_utf8_lossy(&shown.stderr), "", "{name}");
        assert!(String::from_utf8_lossy(&shown.stdout).contains("EXIT STATUS"));
    }
}

#[test]
fn a_check_of_a_directory_meets_what_a_start_would_meet() {
    let directory = Directory::start();
    let folder = tempfile::tempdir().unwrap();
    let check = |data: &Path, more: &[&str]| {
        let data = data.display().to_string();
        let fixed = ["--check", "--origin", "example.org", "--data-dir", &data, "--listen", "127.0.0.1:0"];
        let ran = run("directoryd", &[&fixed[..], more].concat());
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap())
    };
    let new = folder.path().join("a/b");
    let (code, told) = check(&new, &[]);
    assert_eq!(code, Some(0), "{told}");
    for word in ["example.org", "127.0.0.1:0", "a/b (new)", "its members"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!folder.path().join("a").exists(), "nothing is made");
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, std::fs::Permissions::from_mode(0o777)).unwrap();
    let newer = folder.path().join("newer");
    std::fs::create_dir(&newer).unwrap();
    std::fs::set_permissions(&newer, std::fs::Permissions::from_mode(0o700)).unwrap();
    rusqlite::Connection::open(newer.join("directory.db")).unwrap().pragma_update(None, "user_version", 999).unwrap();
    for (data, says) in [
        (directory.data_dir(), "another directoryd"),
        (file.clone(), "data directory"),
        (file.join("below"), "data directory"),
        (open, "chmod go-w"),
        (newer, "999"),
    ] {
        let (code, told) = check(&data, &[]);
        assert!(code == Some(1) && told.contains(says), "{}: {told}", data.display());
    }
    let config = folder.path().join("d.toml");
    std::fs::write(&config, "proxies = ['10.0.0.0/99']").unwrap();
    let (code, told) = check(&new, &["--config", config.to_str().unwrap()]);
    assert!(code == Some(1) && told.contains("10.0.0.0/99"), "{told}");
}

/// With the socket's path of so many bytes.
fn socket_of(folder: &Path, bytes: usize) -> String {
    let folder = folder.display().to_string();
    format!("{folder}/{}", "s".repeat(bytes - folder.len() - 1))
}

#[test]
fn a_check_of_a_daemon_meets_what_a_start_would_meet() {
    let daemon = Daemon::start(DaemonOptions::default());
    let folder = tempfile::Builder::new().tempdir_in("/tmp").unwrap();
    let home = folder.path();
    let check = |text: &str, more: &[&str]| {
        std::fs::write(home.join("chatd.toml"), text).unwrap();
        let mut command = Command::new(program("chatd").unwrap());
        tests::daemon::isolate(&mut command, home);
        command.arg("--config").arg(home.join("chatd.toml")).arg("--check").args(more);
        let ran = command.output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stdout).unwrap() + &String::from_utf8(ran.stderr).unwrap())
    };
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let good =
        format!("listen = ['127.0.0.1:0']\ndata_dir = '{0}/a/data'\nsocket = '{0}/b/chatd.sock'\n", home.display());
    std::fs::write(home.join("file"), "").unwrap();
    let before = || {
        let mut names: Vec<_> = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for (more, says) in [
        ("directory = 'htp://nowhere'".to_owned(), &["directory", "htp://nowhere"][..]),
        ("log = 'chatd=loud'".into(), &["log", "loud"]),
        ("system = true\nsocket_group = 'no-such-group'".into(), &["socket_group", "no-such-group"]),
        ("socket_group = 'root'".into(), &["socket_group", "system = true"]),
    ] {
        let (code, told) = check(&(good.clone() + &more), &[]);
        assert_eq!(code, Some(1), "{more}: {told}");
        says.iter().for_each(|word| assert!(told.contains(word), "{more}: no {word} in {told}"));
    }
    let (file, data) = (format!("{}/file/below", home.display()), daemon.data_dir().display().to_string());
    let (long, longest) = (socket_of(home, 108), socket_of(home, 107));
    for (flags, says) in [
        (["--data-dir", file.as_str()], &["file"][..]),
        (["--data-dir", &data], &["another", &data]),
        (["--socket", &long], &["107"]),
        (["--listen", &address], &[&address]),
    ] {
        let (code, told) = check(&good, &flags);
        assert_eq!(code, Some(1), "{flags:?}: {told}");
        says.iter().for_each(|word| assert!(told.contains(word), "{flags:?}: no {word} in {told}"));
    }
    let (code, told) = check(&good, &["--socket", &longest]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = check(&(good.clone() + "directory = 'http://127.0.0.1:7470'"), &[]);
    assert_eq!(code, Some(0), "{told}");
    for word in ["/a/data", "/b/chatd.sock", "127.0.0.1:0", "http://127.0.0.1:7470", "chatd.toml"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(before(), ["chatd.toml", "file"], "nothing is made");
    daemon.bare_ctl().ok(["status"]);
}

/// What changes at once, and what needs a restart, is told, and it is true.
#[tokio::test(flavor = "multi_thread")]
async fn sighup_changes_what_may_change_in_a_running_directory() {
    let config = "list = 'members'\nlimit_loopback = true\n";
    let directory = Directory::start_with(DirectoryOptions { config: Some(config.into()), ..Default::default() });
    let mut http = Http::connect(directory.address()).await.unwrap();
    assert_eq!(http.get("/v1/users").await.unwrap().status, 403, "members only");
    let reload = async |text: &str, says: &str| {
        std::fs::write(directory.home().join("directoryd.toml"), text).unwrap();
        directory.signal(Signal::SIGHUP);
        wait_for(says, || directory.log_text().contains(says));
    };
    let public = "list = 'public'\nlimit_loopback = true\nlog_format = 'json'\nlog = 'debug'\n";
    reload(public, "changed: list, log; a restart is needed for log_format").await;
    assert_eq!(http.get("/v1/users").await.unwrap().status, 200, "everybody");
    let limited = format!("{public}hosts = ['dir.example.net']\n[limits]\nlookup_burst = 1\nlookup_per_minute = 1\n");
    reload(
        &limited,
        "changed: hosts, limits.lookup_burst, limits.lookup_per_minute; a restart is needed for log_format",
    )
    .await;
    let statuses = [http.get("/v1/users").await.unwrap().status, http.get("/v1/users").await.unwrap().status];
    assert_eq!(statuses, [200, 429], "the new rate, from a fresh burst");
    // What cannot be used changes nothing.
    reload("hosts = ['no host']", "the configuration stays as it is").await;
    assert_eq!(http.get("/v1/users").await.unwrap().status, 429);
    assert!(directory.log_text().contains("hosts:"), "it says what is wrong");
}

#[test]
fn a_person_has_titles_and_a_pager_and_a_program_has_neither() {
    let pair = Pair::start();
    let lines: Vec<String> = (0..60).map(|n| format!("line {n}")).collect();
    pair.alice.run_with(["send", "bob", "--stdin-lines"], lines.join("\n").as_bytes()).expect_code(0);
    let shown = |args: &[&str], pager: &str, waits: &str| {
        let mut command = pair.alice.command(args).unwrap();
        command.env("PAGER", pager);
        let mut screen = Screen::start(command, 100).unwrap();
        assert!(screen.wait().success(), "{:?}", screen.shown());
        screen.wait_for(waits);
        screen.shown()
    };
    let long = &["history", "bob", "-n", "100"][..];
    assert!(shown(long, "sed 's/^/PAGED /'", "line 59").contains("PAGED "));
    assert!(
        shown(long, "no-such-pager-anywhere", "line 59").contains("line 59"),
        "without one it is shown all the same"
    );
    assert!(
        !shown(&["history", "bob", "-n", "3"], "sed 's/^/PAGED /'", "line 59").contains("PAGED "),
        "what fits needs none"
    );
    let mut command = pair.alice.command(long).unwrap();
    let piped = command.env("PAGER", "sed 's/^/PAGED /'").output().unwrap();
    let piped = String::from_utf8(piped.stdout).unwrap();
    assert!(piped.contains("line 59") && !piped.contains("PAGED "), "{piped}");
    // Colours are where they are wanted, and nowhere else.
    let escapes = |text: &str| text.contains("\u{1b}[");
    let history = ["history", "bob", "-n", "3", "--peek", "--color"];
    let colour = |when: &'static str| [&history[..], &[when]].concat();
    assert!(escapes(&pair.alice.ok(colour("always")).stdout), "always: on a pipe, too, whatever NO_COLOR says");
    for when in ["auto", "never"] {
        assert!(!escapes(&pair.alice.ok(colour(when)).stdout), "{when}");
    }
    let on_a_terminal = |when: &'static str, no_color: &str| {
        let mut command = pair.alice.command(colour(when)).unwrap();
        command.env("NO_COLOR", no_color);
        let mut screen = Screen::start(command, 100).unwrap();
        screen.wait_for("line 59");
        assert!(screen.wait().success());
        escapes(&screen.shown())
    };
    assert!(!on_a_terminal("never", "") && !on_a_terminal("auto", "1"));
    assert!(on_a_terminal("auto", ""), "an empty NO_COLOR is none");
    assert!(shown(&["contacts"], "cat", "bob").contains("WHO"));
    assert!(!pair.alice.ok(["contacts"]).stdout.contains("WHO"));
}

/// Flags of the daemons that texts name: errors, documents, units.
#[test]
fn flags_that_texts_name_are_there() {
    let root = tests::binaries::repository();
    let mut open: Vec<_> =
        ["README.md", "docs", "chatctl/src", "chatd/src", "directoryd/src"].map(|p| root.join(p)).into();
    let help = |name: &str, more: &[&str]| String::from_utf8(run(name, &[more, &["--help"]].concat()).stdout).unwrap();
    let known = [("chatd", help("chatd", &[])), ("directoryd", help("directoryd", &[]))];
    let mut seen = std::collections::BTreeSet::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        for (name, help) in &known {
            let begin = format!("{name} --");
            for (at, _) in text.match_indices(&begin).filter(|(at, _)| !text[..*at].ends_with("-p ")) {
                let rest = &text[at + begin.len()..];
                // All flags up to the end of the command.
                let command = rest.split(['`', '"', '\n', ';', ',', ')', '|']).next().unwrap();
                for flag in format!("--{command}").split_whitespace().filter(|word| word.starts_with("--")) {
                    let flag = flag.trim_end_matches(['.', ':']);
                    let listed = help.lines().any(|line| line.split_whitespace().any(|word| word == flag));
                    assert!(listed, "{}: {name} has no {flag}", path.display());
                    seen.insert(format!("{name} {flag}"));
                }
            }
        }
    }
    println!("figure: flags of daemons that texts name: {seen:?}");
    assert!(seen.len() > 5, "{seen:?}");
}
