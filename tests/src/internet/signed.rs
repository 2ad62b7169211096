//! A real name server with a signed zone: knot, as Debian has it. What it says of its zone is proved, and a test can change that on the way.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;

/// For it to start and to sign.
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module. It ends with its handle.
#[derive(Debug)]
pub struct SignedZone {
    child: Child,
    address: SocketAddr,
    anchor: PathBuf,
}

/// Whether there is such a server on this machine.
pub fn is_there() -> bool {
    program("knotd").is_some()
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/sbin", "/usr/bin"].iter().map(|folder| PathBuf::from(folder).join(name)).find(|path| path.exists())
}

impl SignedZone {
    /// Serves a zone with these lines, and one without signatures, on any port.
    ///
    /// # Errors
    /// When it is not there, or does not start.
    pub fn start(place: &Arc<Place>, zone: &str, lines: &str, unsigned: &str, unsigned_lines: &str) -> Result<Self> {
        let folder = place.folder("knot")?;
        // Free when it was asked for; nobody else is given it meanwhile, but by chance.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let text = |name: &str, lines: &str| {
            format!(
                "$ORIGIN {name}.\n$TTL 60\n@ SOA ns.{name}. root.{name}. 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\n{lines}\n"
            )
        };
        std::fs::write(folder.join("signed.zone"), text(zone, lines))?;
        std::fs::write(folder.join("unsigned.zone"), text(unsigned, unsigned_lines))?;
        let at = folder.display();
        let config = format!(
            "server:\n  rundir: \"{at}\"\n  listen: 127.0.0.1@{port}\n\
             database:\n  storage: \"{at}\"\n\
             policy:\n  - id: here\n    algorithm: ed25519\n    single-type-signing: on\n    nsec3: off\n\
             template:\n  - id: default\n    storage: \"{at}\"\n    zonefile-sync: -1\n    journal-content: all\n\
             zone:\n  - domain: {zone}\n    file: signed.zone\n    dnssec-signing: on\n    dnssec-policy: here\n\
             {ind}- domain: {unsigned}\n    file: unsigned.zone\n",
            port = address.port(),
            ind = "  ",
        );
        let file = folder.join("knot.conf");
        std::fs::write(&file, config)?;
        let log = std::fs::File::create(folder.join("knot.log"))?;
        let mut command = Command::new(program("knotd").context("knotd is not there")?);
        command.arg("-c").arg(&file).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("cannot start knotd")?;
        let mut server = Self { child, address, anchor: folder.join("anchor") };
        server.keep_keys(zone)?;
        Ok(server)
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the keys that its zone is signed with.
    pub fn anchor(&self) -> &PathBuf {
        &self.anchor
    }

    /// Asks for the keys until it has signed.
    fn keep_keys(&mut self, zone: &str) -> Result<()> {
        let kdig = program("kdig").context("kdig is not there: install knot-dnsutils")?;
        let begun = std::time::Instant::now();
        loop {
            let mut ask = Command::new(&kdig);
            let server = format!("@{}", self.address.ip());
            ask.args([
                &server,
                "-p",
                &self.address.port().to_string(),
                "+noall",
                "+answer",
                "+timeout=1",
                "+retry=0",
                zone,
                "DNSKEY",
            ]);
            let said = String::from_utf8_lossy(&ask.output()?.stdout).into_owned();
            let keys: Vec<&str> =
                said.lines().filter(|line| line.contains("DNSKEY") && !line.contains("RRSIG")).collect();
            if !keys.is_empty() {
                std::fs::write(&self.anchor, keys.join("\n") + "\n")?;
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("knotd ended with {status}; its log is beside {}", self.anchor.display());
            }
            ensure!(begun.elapsed() < PATIENCE, "knotd signs nothing");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for SignedZone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
