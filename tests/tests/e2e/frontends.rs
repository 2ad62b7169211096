//! Clients that are not ours, each with nothing but what its platform has: they send, receive events, and meet an error.
//! (Python: `python`, `scripting`.)

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tests::binaries::{node_folder, repository};
use tests::daemon::isolate;
use tests::{Pair, Stream};

use crate::util::{text, wait_for_body};

fn example(name: &str) -> PathBuf {
    repository().join("docs/examples").join(name)
}

fn has(mut probe: Command) -> bool {
    probe.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A command that finds alice's daemon.
fn command(program: &str, pair: &Pair) -> Command {
    let mut command = Command::new(program);
    isolate(&mut command, pair.alice_daemon.home());
    command.env("CHATD_SOCKET", pair.alice.socket());
    command
}

#[test]
fn neovim_sends_receives_and_meets_an_error() {
    let mut probe = Command::new("nvim");
    probe.arg("--version");
    if !has(probe) {
        tests::skip!("Neovim is missing: apt-get install neovim");
    }
    let mut pair = Pair::start();
    let token = pair.alice.json(["token", "create", "--name", "editor", "--allow", "read,send"]);
    let start = |token: Option<&str>, lines: &[&str]| {
        let mut nvim = command("nvim", &pair);
        nvim.envs(token.map(|token| ("CHATD_TOKEN", token)));
        nvim.args(["--headless", "--clean", "-c"])
            .arg(format!("lua chat = dofile('{}')", example("chat.lua").display()));
        nvim.args([
            "-c",
            "lua say = function(...) io.stdout:write(table.concat({...}, ' '), '\\n') io.stdout:flush() end",
        ]);
        for line in lines {
            nvim.args(["-c", &format!("lua {line}")]);
        }
        Stream::start(nvim).unwrap()
    };
    let follow = "chat.follow({ types = { 'message.received' } }, function(event) say('came', event.message.body) end, \
                  function(why) say('ended', why) end)";
    let mut nvim = start(
        None,
        &[
            follow,
            "say('sent', chat.call('message.send', { to = 'bob', body = 'hello from neovim' }).state)",
            "local ok, why = pcall(chat.call, 'message.send', { to = 'nobody', body = 'x' }) say('refused', tostring(ok), why)",
            // Its own channel.
            "own = vim.fn.sockconnect('pipe', vim.env.CHATD_SOCKET, { rpc = true })",
            "say('by its own', vim.fn.rpcrequest(own, 'message.send', { to = 'bob', body = 'by its own channel' }).state)",
            "say('refused there', tostring(pcall(vim.fn.rpcrequest, own, 'message.send', { to = 'nobody', body = 'x' })))",
        ],
    );
    nvim.until("it sends", |line| line == "sent queued");
    nvim.until("an error in words", |line| line.starts_with("refused false not_found: ") && line.contains("nobody"));
    nvim.until("it sends by its own channel", |line| line == "by its own queued");
    nvim.until("and meets an error there", |line| line == "refused there false");
    wait_for_body(&pair.bob, "alice", "by its own channel");
    pair.bob.ok(["send", "alice", "hello, 'editor' 🎉", "--wait", "delivered"]);
    nvim.until("an event", |line| line == "came hello, 'editor' 🎉");
    drop(nvim);
    // With a token, until that is revoked.
    let mut nvim = start(
        Some(text(&token["token"])),
        &[follow, "say('sent', chat.call('message.send', { to = 'bob', body = 'by token' }).state)"],
    );
    nvim.until("it sends", |line| line == "sent queued");
    wait_for_body(&pair.bob, "alice", "by token");
    pair.alice.ok(["token", "revoke", "editor"]);
    nvim.until("it is told", |line| line.starts_with("ended") && line.contains("closed the connection"));
    pair.alice_daemon.stop();
}

#[test]
fn node_sends_receives_and_meets_an_error() {
    let folder = node_folder().unwrap().join("node_modules");
    if !folder.join("@msgpack/msgpack").exists() {
        tests::skip_without_failing!("{} is missing: cargo xtask test installs it", folder.display());
    }
    let mut pair = Pair::start();
    let start = |args: [&str; 2]| {
        let mut node = command("node", &pair);
        node.env("NODE_PATH", &folder).arg(example("client.js")).args(args);
        Stream::start(node).unwrap()
    };
    let mut node = start(["bob", "hello from node"]);
    node.until("the delivery", |line| line.contains("message.state") && line.contains("delivered"));
    wait_for_body(&pair.bob, "alice", "hello from node");
    pair.bob.ok(["send", "alice", &"a long answer, ".repeat(4_000), "--wait", "delivered"]);
    node.until("an event in many pieces", |line| line.contains("message.received") && line.len() > 60_000);
    let mut refused = start(["nobody", "x"]);
    assert_eq!(refused.wait().code(), Some(1));
    assert!(refused.stderr_now().iter().any(|line| line.contains("nobody")), "{:?}", refused.stderr_now());
    pair.alice_daemon.stop();
    assert_eq!(node.wait().code(), Some(1));
    assert!(node.stderr_now().iter().any(|line| line.contains("closed the connection")), "{:?}", node.stderr_now());
}
