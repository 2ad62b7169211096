//! Ctrl-C wherever something is asked for: the terminal is as it was, and nothing is left behind.

use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;
use tests::{Ctl, Pair, Screen};

/// Runs a verb on a terminal, answers its prompts but the last, and presses Ctrl-C at that.
fn interrupted(ctl: &Ctl, args: &[&str], answers: &[(&str, &str)], last: &str) {
    let mut screen = Screen::start(ctl.command(args).unwrap(), 80).unwrap();
    let before = screen.mode_before().local_flags;
    assert!(before.contains(LocalFlags::ECHO));
    for (prompt, answer) in answers {
        screen.wait_for(prompt);
        screen.press(&format!("{answer}\n"));
    }
    screen.wait_for(last);
    // What Ctrl-C does, where the terminal is the program's own: that it still does so, the mode tells.
    assert!(screen.mode().unwrap().local_flags.contains(LocalFlags::ISIG));
    screen.signal(Signal::SIGINT);
    let status = screen.wait();
    assert!(!status.success(), "{args:?}: {:?}", screen.shown());
    assert_eq!(screen.mode().unwrap().local_flags, before, "{args:?}: {:?}", screen.shown());
    for (prompt, answer) in answers {
        let hidden = prompt.starts_with("passphrase") || prompt.starts_with("once");
        assert!(!hidden || !screen.shown().contains(answer), "{args:?} shows what was typed: {:?}", screen.shown());
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into()).collect();
    names.sort();
    names
}

#[test]
fn ctrl_c_at_a_prompt_leaves_the_terminal_and_the_folder_as_they_were() {
    let pair = Pair::start();
    let folder = pair.alice_daemon.home().join("files");
    std::fs::create_dir(&folder).unwrap();
    let (new, whole) = (folder.join("new.age"), folder.join("whole.age"));
    let (new, whole) = (new.to_str().unwrap(), whole.to_str().unwrap());
    let word = folder.join("word");
    std::fs::write(&word, "correct horse battery staple\n").unwrap();
    std::fs::set_permissions(&word, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    pair.alice.ok(["backup", whole, "--passphrase-file", word.to_str().unwrap()]);
    let before = names(&folder);
    let secret = "correct horse battery staple";
    interrupted(&pair.alice, &["backup", new], &[], "passphrase: ");
    interrupted(&pair.alice, &["backup", new], &[("passphrase: ", secret)], "once more: ");
    interrupted(&pair.bob, &["restore", whole], &[], "passphrase: ");
    interrupted(&pair.alice, &["unregister"], &[], "alice");
    assert_eq!(names(&folder), before, "nothing is left behind");
    // And nothing was done.
    assert_eq!(pair.alice.json(["whoami"])["name"], "alice");
    pair.alice.ok(["backup", new, "--passphrase-file", word.to_str().unwrap()]);
}

#[test]
fn a_recovery_file_of_a_registration_that_failed_is_not_left_empty() {
    let pair = Pair::start();
    let file = pair.alice_daemon.home().join("bob.recovery");
    let taken = pair.alice.run(["register", "bob", "--recovery-file", file.to_str().unwrap()]).expect_code(1);
    assert!(!file.exists(), "{taken:?}");
}
