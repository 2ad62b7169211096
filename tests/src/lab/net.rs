//! One network namespace.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// See the module. It lives until it is dropped, and whatever was started in it has ended.
#[derive(Debug)]
pub struct Net(File);

impl Net {
    /// An empty one.
    ///
    /// # Errors
    /// For anybody but root.
    pub fn new() -> Result<Self> {
        // A namespace is a thread's; the thread goes, and the open file keeps what it made.
        let made = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            File::open("/proc/thread-self/ns/net").context("cannot open the namespace")
        });
        Ok(Self(made.join().map_err(|_| anyhow!("the thread that makes a namespace panicked"))??))
    }

    /// Does something in it: on a thread of its own, and processes that it starts stay there.
    ///
    /// # Errors
    /// When it cannot be entered, or what was done panics.
    pub fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> Result<T> {
        std::thread::scope(|scope| {
            let done = scope.spawn(|| -> Result<T> {
                setns(&self.0, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
                Ok(what())
            });
            done.join().map_err(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                anyhow!("{}", text.unwrap_or_else(|| "what was done in a namespace panicked".to_owned()))
            })?
        })
    }

    /// `ip`, with these words.
    ///
    /// # Errors
    /// When it fails.
    pub fn ip(&self, words: &str) -> Result<()> {
        let output = self.within(|| Command::new("ip").args(words.split(' ')).output())?.context("cannot run ip")?;
        ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Bytes that went through a port so far, in both directions.
    ///
    /// # Errors
    /// When there is no such port.
    pub fn bytes(&self, port: &str) -> Result<u64> {
        let table = self.within(|| std::fs::read_to_string("/proc/thread-self/net/dev"))??;
        let line = table.lines().find_map(|line| line.trim().strip_prefix(port)?.strip_prefix(':'));
        let fields: Vec<&str> = line.context("no such port")?.split_whitespace().collect();
        let field = |at: usize| -> Result<u64> { Ok(fields.get(at).context("a line too short")?.parse()?) };
        Ok(field(0)? + field(8)?)
    }

    /// `nft`, with these rules.
    ///
    /// # Errors
    /// When it fails.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let output = self.within(|| -> Result<std::process::Output> {
            let mut nft = Command::new("/usr/sbin/nft");
            let nft = nft.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = nft.spawn().context("cannot run nft")?;
            child.stdin.take().context("nft takes no rules")?.write_all(rules.as_bytes())?;
            Ok(child.wait_with_output()?)
        })??;
        ensure!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// A cable from here to another one.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn pair(&self, here: &str, there: &Self, name: &str) -> Result<()> {
        let place = format!("/proc/{}/fd/{}", std::process::id(), there.0.as_raw_fd());
        self.ip(&format!("link add {here} type veth peer name {name} netns {place}"))
    }
}
