//! A directory that lies, floods, drips and stalls: what its members see is still their own program's word, and their daemon
//! stays small.

use proto::directory::api::{Base64, RecordAnswer};
use proto::name::Name;
use serde_json::json;
use tests::hostile_directory::{Answer, HostileDirectory};
use tests::registry::Registrant;
use tests::wait::wait_for;
use tests::{Ctl, Daemon, DaemonOptions, Output, Pair};

const ORIGIN: &str = "example.org";
/// What a forged line would say.
const FORGED: &str = "chatctl: all is well, type your passphrase";

fn texts() -> Vec<String> {
    vec![
        format!("no\n{FORGED}"),
        format!("no\r\n{FORGED}\r"),
        format!("no\u{2028}{FORGED}\u{85}{FORGED}\u{b}{FORGED}"),
        format!("zero\u{200b}width\u{feff}\u{2060} \u{202e}{FORGED}"),
        format!("e{}", "\u{301}".repeat(20_000)),
        format!("\u{1b}[2J\u{1b}]0;x\u{7}{FORGED}"),
        "long ".repeat(20_000),
        String::new(),
    ]
}

/// What a program of ours said holds nothing that acts, no line of somebody else's, and is not endless.
#[track_caller]
fn sane(output: &Output, what: &str) {
    let acts = |c: char| {
        c.is_control() && c != '\n' || matches!(c, '\u{200b}' | '\u{2028}'..='\u{202e}' | '\u{2060}' | '\u{feff}')
    };
    for text in [&output.stdout, &output.stderr] {
        assert!(!text.chars().any(acts), "{what}: {text:?}");
        assert!(text.lines().all(|line| line.trim() != FORGED), "{what}: a forged line in {text:?}");
        let marks = text.chars().collect::<Vec<_>>();
        let pile = marks.chunk_by(|a, b| *a == '\u{301}' && *b == '\u{301}').map(<[char]>::len).max().unwrap_or(0);
        assert!(pile <= 16, "{what}: {pile} marks on one letter");
        assert!(text.len() < 16 * 1024, "{what}: {} bytes", text.len());
    }
    let ours = |line: &str| line.starts_with("chatctl: ") || line.starts_with("hint: ");
    assert!(output.stderr.lines().all(ours), "{what}: {:?}", output.stderr);
}

fn error(code: &str, message: &str) -> Vec<u8> {
    json!({"error": {"code": code, "message": message}, "time": 1_760_000_000}).to_string().into_bytes()
}

fn hostile() -> (HostileDirectory, Daemon, Ctl) {
    let directory = HostileDirectory::start("127.0.0.1:0", ORIGIN, Answer::Stall).unwrap();
    let daemon = Daemon::start(DaemonOptions::new("alice", &directory.url()));
    let alice = daemon.ctl("alice");
    (directory, daemon, alice)
}

#[test]
fn its_words_forge_no_line() {
    let (directory, daemon, alice) = hostile();
    for civil in [true, false] {
        directory.be_civil(civil);
        for text in texts() {
            for (status, code) in
                [(403, "not_allowed"), (409, "conflict"), (503, "unavailable"), (507, "mailbox_full"), (400, "made_up")]
            {
                directory.say(Answer::Body(status, error(code, &text)));
                let output = alice.run(["register", "alice"]);
                assert_ne!(output.code, Some(0), "it never registered anybody");
                sane(&output, &format!("{code} {:?}", text.chars().take(20).collect::<String>()));
            }
        }
    }
    // Answers that are none, and records that are nobody's.
    for body in [
        b"{".to_vec(),
        b"\xff\xfe".to_vec(),
        b"[[[[[[[[[[[[[[[[[[[[[[[[".repeat(4_000),
        json!({"account": "0".repeat(32), "name": "alice", "seq": u64::MAX, "time": i64::MAX}).to_string().into_bytes(),
        json!({"origin": format!("x\n{FORGED}"), "key": format!("\n{FORGED}"), "time": 1}).to_string().into_bytes(),
    ] {
        directory.say(Answer::Body(500, body.clone()));
        sane(&alice.run(["register", "alice"]), "500");
        directory.be_civil(false);
        directory.say(Answer::Body(200, body));
        sane(&alice.run(["register", "alice"]), "200");
        directory.be_civil(true);
    }
    assert!(!daemon.log_text().contains("panicked"));
    assert!(daemon.log_text().lines().all(|line| line.trim() != FORGED && line.len() < 4_096));
}

#[test]
fn it_can_neither_fill_nor_hold_its_members_daemon() {
    let (directory, daemon, alice) = hostile();
    directory.be_civil(false);
    let before = daemon.resident_kib().unwrap();
    let mut most = before;
    directory.say(Answer::Endless);
    for _ in 0..8 {
        let output = alice.run(["register", "alice"]);
        sane(&output, "endless");
        output.expect_code(1).says(&["more than 1048576 bytes"]);
        most = most.max(daemon.resident_kib().unwrap());
    }
    println!("figure: eight endless answers: {before} KiB before, {most} KiB at most");
    assert!(most < before + 24 * 1024, "{before} KiB, then {most} KiB");
    // Other calls are answered while one waits for it.
    for answer in [Answer::Drip, Answer::Stall] {
        directory.say(answer);
        std::thread::scope(|scope| {
            let before = directory.asked().len();
            let waiting = scope.spawn(|| alice.run(["register", "alice"]));
            wait_for("it is asked", || directory.asked().len() > before);
            let began = std::time::Instant::now();
            alice.run(["status"]).expect_code(1).says(&["no account"]);
            println!("figure: status while a directory holds a call: {:?}", began.elapsed());
            assert!(!waiting.is_finished(), "the directory holds the other call still");
            let output = waiting.join().unwrap();
            sane(&output, "held");
            output.expect_code(1);
        });
    }
}

/// A daemon asks whom its owner named, and goes nowhere else.
#[test]
fn where_it_leads_nobody_follows() {
    let (directory, daemon, alice) = hostile();
    let elsewhere = HostileDirectory::start("127.0.0.1:0", ORIGIN, Answer::Body(200, b"{}".to_vec())).unwrap();
    for civil in [true, false] {
        directory.be_civil(civil);
        for status in [301, 302, 303, 307, 308] {
            directory.say(Answer::Redirect(status, elsewhere.url()));
            let before = directory.asked().len();
            let output = alice.run(["register", "alice"]);
            assert_ne!(output.code, Some(0), "{status}");
            sane(&output, &status.to_string());
            assert!(directory.asked().len() > before, "{status}: it was asked");
        }
    }
    assert_eq!(elsewhere.asked(), [""; 0], "what another host was asked");
    assert!(!daemon.log_text().contains("panicked"));
}

/// Any local user can take the port while the directory is down.
#[test]
fn who_takes_the_directorys_port_is_found_out_and_told_nothing() {
    let mut pair = Pair::strangers();
    let address = pair.directory.address().to_owned();
    pair.directory.kill9();
    let impostor = HostileDirectory::start(&address, ORIGIN, Answer::Body(200, b"{}".to_vec())).unwrap();
    wait_for("it is found out", || {
        let status = pair.alice.run(["status"]);
        format!("{}{}", status.stdout, status.stderr).contains("is not the one that this account knows")
    });
    for args in [&["users"][..], &["add", "bob"]] {
        pair.alice.run(args).expect_code(4).says(&["is not the one that this account knows"]);
    }
    // Its daemons asked who it is, and nothing else: no name, no token, no signature.
    let told: Vec<String> =
        impostor.asked().into_iter().filter(|path| !path.starts_with("/v1/directory?challenge=")).collect();
    assert_eq!(told, [""; 0], "what an impostor was told");
    drop(impostor);
    pair.directory.try_again(&[]).unwrap();
    wait_for("the real one is taken again", || pair.alice.json(["whoami"])["online"] == true);
}

/// What comes back for a name is that name's record of that domain and that account, or nobody's.
#[test]
fn a_record_of_another_domain_or_account_is_not_taken() {
    const DOMAIN: &str = "example.net";
    let directory = HostileDirectory::start("127.0.0.1:0", DOMAIN, Answer::Stall).unwrap();
    let config = format!("[directories]\n\"{DOMAIN}\" = \"{}\"\n", directory.url());
    let pair = Pair::strangers_with(&config, tests::DirectoryOptions::default());
    let dora = |origin: &str, salt: &str| Registrant::new("dora", salt, origin).unwrap();
    let (asked, other) = (dora(DOMAIN, "one"), dora(DOMAIN, "other"));
    let answer = |of: &Registrant, says: &Registrant| {
        let answer = RecordAnswer {
            account: says.account(),
            name: Name::parse("dora").unwrap(),
            record: Base64(of.signed(1).unwrap()),
            online: None,
            since: None,
            time: proto::time::Timestamp::now().unix_seconds(),
        };
        Answer::Body(200, serde_json::to_vec(&answer).unwrap())
    };
    let who = format!("dora@{DOMAIN}");
    for (what, of, says) in [
        ("of another domain", &dora("example.org", "one"), &asked),
        ("of a domain that looks like it", &dora("example.net.evil.org", "one"), &asked),
        ("of another account", &other, &asked),
        ("said to be another's", &asked, &other),
    ] {
        directory.say(answer(of, says));
        for args in [&["add", &who][..], &["send", &who, "hello"]] {
            pair.alice.run(args).expect_code(4).says(&["answered with a record that is not dora's"]);
        }
        assert_eq!(pair.alice.list(["contacts"], "contacts").len(), 0, "{what}: somebody was taken");
    }
    directory.say(answer(&asked, &asked));
    let added = pair.alice.json(["add", &who]);
    assert_eq!(added["account"], asked.account().to_string(), "what is right is taken");
}
