//! The session that README.md prints, played on real daemons and compared: what a reader sees there is what they get.
//! `UPDATE_README=1` writes what it really printed in place of what stands there.

use std::path::Path;

use nix::sys::signal::Signal;
use tests::binaries::repository;
use tests::wait::wait_for;
use tests::{Ctl, Pair, Screen};

use crate::util::{state_of, wait_for_body};

/// Wide enough that no line wraps.
const COLUMNS: u16 = 400;

/// A command of the session and what was printed after it.
struct Step {
    who: String,
    line: String,
    printed: Vec<String>,
}

/// The README in pieces: text between the blocks, and the blocks.
fn parse(readme: &str) -> Vec<(String, Vec<Step>)> {
    let mut pieces = Vec::new();
    let mut rest = readme;
    while let Some((before, after)) = rest.split_once("```console\n") {
        let (block, after) = after.split_once("```\n").unwrap();
        let mut steps: Vec<Step> = Vec::new();
        for line in block.lines() {
            match line.split_once("$ ") {
                Some((who, command)) if who == "alice" || who == "bob" => {
                    steps.push(Step { who: who.into(), line: command.into(), printed: Vec::new() });
                }
                _ => steps.last_mut().unwrap().printed.push(line.to_owned()),
            }
        }
        pieces.push((before.to_owned(), steps));
        rest = after;
    }
    pieces.push((rest.to_owned(), Vec::new()));
    pieces
}

/// Words as a shell cuts them, as far as the session needs it.
fn words(line: &str) -> Vec<String> {
    line.split('"')
        .enumerate()
        .flat_map(|(i, part)| match i % 2 {
            1 => vec![part.to_owned()],
            _ => part.split_whitespace().map(str::to_owned).collect(),
        })
        .skip(1)
        .collect()
}

/// A line without what differs each time: times, ids, keys, and how far columns are apart.
fn plain(line: &str) -> String {
    let token = |word: &str| {
        let core = word.trim_matches(|c: char| "(),;:\"".contains(c));
        let hex = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let clock = |text: &str| text.contains(':') && text.chars().all(|c| c.is_ascii_digit() || ".:".contains(c));
        let is_id = hex(core) && matches!(core.len(), 4 | 8 | 36);
        if is_id || clock(core) { word.replace(core, "_") } else { word.to_owned() }
    };
    line.split_whitespace().map(token).collect::<Vec<_>>().join(" ")
}

fn on_terminal(ctl: &Ctl, home: &Path, args: &[String]) -> Screen {
    let mut command = ctl.command(args).unwrap();
    // Like a session of this moment, in a folder of one's own.
    command.current_dir(home);
    Screen::start(command, COLUMNS).unwrap()
}

fn lines(screen: &Screen) -> Vec<String> {
    let text = screen.shown().replace("example.org", "localhost").replace('\r', "");
    text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
}

#[test]
fn the_session_of_the_readme_is_what_one_gets() {
    let path = repository().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let mut pieces = parse(&readme);
    assert!(pieces.iter().map(|(_, steps)| steps.len()).sum::<usize>() >= 9, "the session is there");
    let mut pair = Pair::unregistered();
    pair.bob.ok(["register", "bob"]);
    let (alice, bob) = (pair.alice.clone(), pair.bob.clone());
    let mut watching: Option<(usize, usize, Screen)> = None;
    let mut id = String::new();
    let mut differ = Vec::new();
    for at in 0..pieces.len() {
        let before = pieces[at].0.clone();
        let last = before.rsplit("\n\n").find(|part| !part.trim().is_empty()).unwrap_or_default().to_owned();
        if last.contains("goes down") {
            pair.bob_daemon().stop();
        } else if last.contains("comes back") {
            pair.bob_daemon().restart();
            wait_for("the last message came", || state_of(&alice, &id) == "delivered");
        }
        for number in 0..pieces[at].1.len() {
            let step = &pieces[at].1[number];
            let (ctl, home) = match step.who.as_str() {
                "alice" => (&alice, pair.alice_daemon.home().to_owned()),
                _ => (&bob, pair.bob_daemon().home().to_owned()),
            };
            let mut args = words(&step.line);
            match args[0].as_str() {
                "requests" => wait_for("the request came, and its name is confirmed", || {
                    ctl.list(["requests"], "contacts").first().is_some_and(|asks| asks["confirmed"] == true)
                }),
                "trace" => args[1].clone_from(&id),
                "search" => {
                    wait_for_body(&alice, "bob", "Noon it is.");
                    let own =
                        bob.list(["history", "alice", "-n", "1"], "messages")[0]["id"].as_str().unwrap().to_owned();
                    wait_for("its delivery is known", || {
                        state_of(&bob, &own) != "queued" && state_of(&bob, &own) != "sent"
                    });
                }
                _ => {}
            }
            let mut screen = on_terminal(ctl, &home, &args);
            if args[0] == "watch" {
                watching = Some((at, number, screen));
                continue;
            }
            screen.wait();
            let got = lines(&screen);
            if args[0] == "send" {
                let newest = ctl.list(["history", &args[1], "-n", "1"], "messages");
                id = newest[0]["id"].as_str().unwrap().to_owned();
            }
            // How often and by which way it was tried depends on the moment; where it began and ended does not.
            let judged = |lines: &[String]| -> Vec<String> {
                let lines: Vec<String> = lines.iter().map(|line| plain(line)).collect();
                match (args[0].as_str(), lines.first(), lines.last()) {
                    // Within its second it may have come to the mailbox, or not yet.
                    ("send", Some(only), _)
                        if only.starts_with("queued: bob") || only.starts_with("in bob's mailbox") =>
                    {
                        vec!["it waits".to_owned()]
                    }
                    // Where bob watches he reads at once: before the answer is printed, or just after.
                    ("send", Some(only), _) if watching.is_some() => vec![only.replace("read by", "delivered to")],
                    ("trace", Some(first), Some(last)) => vec![first.clone(), last.clone()],
                    _ => lines,
                }
            };
            if judged(&got) != judged(&step.printed) {
                differ.push(format!("{}$ {}\n  README: {:#?}\n  really: {got:#?}", step.who, step.line, step.printed));
            }
            pieces[at].1[number].printed = got;
            if let Some((block, step, mut screen)) = watching.take_if(|(block, ..)| *block < at) {
                let wanted = pieces[block].1[step].printed.len();
                // Who comes online just then depends on the moment.
                let shown = |screen: &Screen| -> Vec<String> {
                    lines(screen).into_iter().filter(|line| !line.ends_with(" is online")).take(wanted).collect()
                };
                wait_for("the watch showed it", || shown(&screen).len() >= wanted);
                screen.signal(Signal::SIGKILL);
                screen.wait();
                let got = shown(&screen);
                let same = got.iter().map(|l| plain(l)).eq(pieces[block].1[step].printed.iter().map(|l| plain(l)));
                if !same {
                    differ.push(format!("watch\n  README: {:#?}\n  really: {got:#?}", pieces[block].1[step].printed));
                }
                pieces[block].1[step].printed = got;
            }
        }
    }
    if std::env::var_os("UPDATE_README").is_some() {
        let mut text = String::new();
        for (before, steps) in &pieces {
            text.push_str(before);
            if steps.is_empty() {
                continue;
            }
            text.push_str("```console\n");
            for step in steps {
                let line = match step.line.starts_with("chatctl trace") {
                    true => format!("chatctl trace {id}"),
                    false => step.line.clone(),
                };
                text.push_str(&format!("{}$ {line}\n", step.who));
                step.printed.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            }
            text.push_str("```\n");
        }
        std::fs::write(path, text).unwrap();
        return;
    }
    assert!(differ.is_empty(), "UPDATE_README=1 writes what is printed:\n{}", differ.join("\n"));
}
