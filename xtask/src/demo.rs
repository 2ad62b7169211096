//! `cargo xtask demo`: the system in action on this machine, in a temporary folder.

use std::ffi::OsStr;
use std::io::IsTerminal;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use tests::{Ctl, Output, Stream, Swarm};
use tokio::sync::mpsc;

use crate::step::cargo;

/// Daemons of a crowd: enough that most neighbours are on different ones.
const CROWD_DAEMONS: usize = 4;
/// Lines of bob's feed that may wait to be printed.
const FEED_CAPACITY: usize = 256;

/// What to show.
#[derive(Debug, Args)]
pub struct Options {
    /// End after the conversation instead of opening a shell in which you are alice
    #[arg(long)]
    once: bool,
    /// How many people to start; each gets to know the next one and sends a message
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(2..=2_000))]
    peers: u16,
}

/// Runs it.
pub fn run(options: &Options) -> Result<()> {
    println!("Building chatd, chatctl and directoryd (the first time takes up to ten minutes) ...");
    let build = cargo(["build", "--locked", "--workspace", "--bins"]).status();
    ensure!(build.context("cannot run cargo")?.success(), "the build failed");
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(show(options))
}

async fn show(options: &Options) -> Result<()> {
    let peers = usize::from(options.peers);
    let daemons = if peers == 2 { 2 } else { CROWD_DAEMONS.min(peers) };
    let mut swarm = Swarm::try_start(peers, daemons)?;
    println!("directoryd  {}", swarm.directory.url());
    for (index, daemon) in swarm.daemons.iter().enumerate() {
        let listens = daemon.ready_value("addresses").unwrap_or("?");
        println!("chatd {:<5} {}  peers at {listens}", index + 1, daemon.socket().display());
    }
    println!();
    let (alice, bob) = (swarm.daemon_of(0).ctl("alice"), swarm.daemon_of(1).ctl("bob"));
    if peers == 2 {
        introduce(&alice, &bob)?;
    } else {
        crowd(&swarm, peers).await?;
    }
    let mut feed = watch(&bob)?;
    for text in ["Hello bob!", "How are you?"] {
        say(&alice, &["send", "bob", text, "--wait", "delivered"])?;
        let shown = print_feed(&mut feed, Duration::from_secs(10), |line| line.contains(text)).await;
        ensure!(shown, "bob's feed did not show {text:?}");
    }
    say(&bob, &["send", "alice", "Hello alice, I can read you.", "--wait", "delivered"])?;
    say(&alice, &["history", "bob"])?;

    drop(feed);
    if !options.once && std::io::stdin().is_terminal() {
        try_it(&alice, &bob, &swarm).await?;
    }
    for daemon in &mut swarm.daemons {
        daemon.try_stop()?;
    }
    swarm.directory.try_stop()?;
    println!("Done: everything stopped cleanly.");
    Ok(())
}

/// Shows a command, runs it, shows what it says.
fn say(who: &Ctl, args: &[&str]) -> Result<Output> {
    println!("{} $ chatctl {}", who.name(), shown(args));
    let output = who.try_run(args, b"")?;
    for line in output.stderr.lines().chain(output.stdout.lines()) {
        println!("  {line}");
    }
    ensure!(output.code == Some(0), "chatctl {} ended with {:?}", args.join(" "), output.code);
    Ok(output)
}

fn shown(args: &[&str]) -> String {
    let quote = |word: &&str| if word.contains(' ') { format!("{word:?}") } else { (*word).to_owned() };
    args.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn introduce(alice: &Ctl, bob: &Ctl) -> Result<()> {
    say(alice, &["register", "alice"])?;
    say(bob, &["register", "bob"])?;
    say(alice, &["add", "bob", "--message", "Hi bob, it is alice."])?;
    let asked = (0..300).any(|_| {
        let requests = bob.try_run(["requests", "--json"], b"");
        // With its name confirmed, a moment after it came.
        let asks = requests.ok().and_then(|output| serde_json::from_str::<serde_json::Value>(&output.stdout).ok());
        let came = asks.is_some_and(|asks| asks["contacts"][0]["confirmed"] == true);
        if !came {
            std::thread::sleep(Duration::from_millis(20));
        }
        came
    });
    ensure!(asked, "alice's request did not reach bob");
    say(bob, &["requests"])?;
    say(bob, &["accept", "alice"])?;
    Ok(())
}

async fn crowd(swarm: &Swarm, peers: usize) -> Result<()> {
    let tell = |what: &'static str| {
        move |done: usize| {
            if done == peers || done.is_multiple_of(100) {
                println!("{what}: {done} of {peers}");
            }
        }
    };
    swarm.register_all(tell("registered")).await?;
    swarm.ring(tell("asked, accepted, message delivered")).await
}

/// Lines of a `chatctl` that does not end by itself. Dropping it ends that program, whichever way the demo ends.
struct Feed {
    lines: mpsc::Receiver<String>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Feed {
    fn start(command: Command) -> Result<Self> {
        let mut stream = Stream::start(command)?;
        let (tell, lines) = mpsc::channel(FEED_CAPACITY);
        let reader = std::thread::spawn(move || {
            while !tell.is_closed() {
                if let Some(line) = stream.next_line_within(Duration::from_millis(200))
                    && tell.blocking_send(line).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { lines, reader: Some(reader) })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.lines.close();
        // The thread has the program: it is gone when that is.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Bob's live feed, line by line.
fn watch(bob: &Ctl) -> Result<Feed> {
    println!("bob $ chatctl watch");
    Feed::start(bob.command(["watch"])?)
}

/// Prints the feed up to a line that pleases; tells whether it came in time.
async fn print_feed(feed: &mut Feed, within: Duration, pleases: impl Fn(&str) -> bool) -> bool {
    let print = async {
        while let Some(line) = feed.lines.recv().await {
            println!("  bob sees  {line}");
            if pleases(&line) {
                return true;
            }
        }
        false
    };
    tokio::time::timeout(within, print).await.unwrap_or(false)
}

/// A shell of the user's, in which `chatctl` is alice's and `bob` is bob's; ends with it.
async fn try_it(alice: &Ctl, bob: &Ctl, swarm: &Swarm) -> Result<()> {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let names = swarm.names();
    println!(
        "\nThis is a shell in which you are {alice}. `{bob}` before a verb makes you {bob}. Try:\n
  chatctl send {bob} 'hello from the shell'
  {bob} history {alice}
  {bob} send {alice} 'and back'
  chatctl watch              (Ctrl-C ends it)
  chatctl chat {bob}
  chatctl search hello
  chatctl --help\n\nPeople: {}{}\n`exit` or Ctrl-D ends the shell and the demo.\n",
        names[..names.len().min(8)].join(", "),
        if names.len() > 8 { " ..." } else { "" },
        alice = alice.name(),
        bob = bob.name(),
    );
    let mut command = shell_of(alice, bob, &swarm.directory.place().folder("commands")?, &shell)?;
    command.arg("-i");
    // Ctrl-C belongs to what runs in the shell: from here on this process does not end by it.
    let interrupts = tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let ended = tokio::task::spawn_blocking(move || command.status()).await?;
    interrupts.abort();
    ended.with_context(|| format!("cannot run {}", shell.display()))?;
    println!("Stopping.");
    Ok(())
}

/// Writes both commands to `folder`; a shell that finds them, and `chatctl`, before all others of these names.
fn shell_of(alice: &Ctl, bob: &Ctl, folder: &Path, shell: &OsStr) -> Result<Command> {
    let chatctl = tests::binaries::program("chatctl")?;
    for who in [alice, bob] {
        let script = format!(
            "#!/bin/sh\nCHATD_SOCKET='{}' CHATD_ACCOUNT='{}' exec '{}' \"$@\"\n",
            who.socket().display(),
            who.name(),
            chatctl.display()
        );
        let path = folder.join(who.name());
        std::fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    }
    let programs = chatctl.parent().context("chatctl is in no folder")?.to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([folder.to_path_buf(), programs].into_iter().chain(std::env::split_paths(&path)))?;
    let mut command = Command::new(shell);
    command.env("PATH", path).env("CHATD_SOCKET", alice.socket()).env("CHATD_ACCOUNT", alice.name());
    Ok(command)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests_of_demo {
    use super::*;

    #[test]
    fn what_it_started_ends_with_it() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$; exec sleep 1000"]);
        let mut feed = Feed::start(command).unwrap();
        let pid = feed.lines.blocking_recv().unwrap();
        let running = || std::path::Path::new("/proc").join(&pid).exists();
        assert!(running());
        drop(feed);
        assert!(!running());
    }
    /// What the demo tells one to try is what the shell understands, whatever its user has in the environment.
    #[test]
    fn in_the_shell_one_is_alice_and_bob_is_bob() {
        let pair = tests::Pair::start();
        let folder = pair.directory.place().folder("commands").unwrap();
        let mut command = shell_of(&pair.alice, &pair.bob, &folder, OsStr::new("/bin/sh")).unwrap();
        let script = "set -e; chatctl send bob 'hello from the shell' --wait delivered; bob history alice; \
                      bob send alice 'and back' --wait delivered; chatctl history bob; chatctl search hello; alice whoami";
        let ran = command.args(["-c", script]).output().unwrap();
        let said = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
        for line in ["alice: hello from the shell", "bob: and back", "alice@example.org"] {
            assert!(said.contains(line), "{line}: {said}");
        }
        assert_eq!(said.matches("hello from the shell").count(), 3, "bob's, alice's, found: {said}");
    }
}
