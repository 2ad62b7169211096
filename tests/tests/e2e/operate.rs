//! What operators do: checking before a start, reading manual pages, changing what runs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::binaries::program;
use tests::http::Http;
use tests::wait::wait_for;
use tests::{Directory, DirectoryOptions, Pair, Screen};

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

/// What changes at once, and what needs a restart, is told, and it is true.
#[tokio::test(flavor = "multi_thread")]
async fn sighup_changes_what_may_change_in_a_running_directory() {
    let config = "list = 'members'\nlimit_loopback = true\n";
    let directory = Directory::start_with(DirectoryOptions { config: Some(config.into()), ..Default::default() });
    let mut http = Http::connect(directory.address()).await.unwrap();
    assert_eq!(http.get("/v1/users").await.unwrap().status, 403, "members only");
    let reload = async |text: &str, says: &str| {
        std::fs::write(directory.home().join("directoryd.toml"), text).unwrap();
        kill(Pid::from_raw(i32::try_from(directory.pid().unwrap()).unwrap()), Signal::SIGHUP).unwrap();
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
    assert!(shown(&["contacts"], "cat", "bob").contains("WHO"));
    assert!(!pair.alice.ok(["contacts"]).stdout.contains("WHO"));
}
