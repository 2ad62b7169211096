//! A small internet on loopback: names, an authority that certifies them, directories of domains, and daemons that believe both.

pub mod dns;
pub mod forward;
pub mod signed;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};

use self::dns::Dns;
use crate::tls::{Authority, Certificate, Holds};
use crate::{Daemon, DaemonOptions, Directory, DirectoryOptions, Place};

/// See the module.
#[derive(Debug)]
pub struct Internet {
    /// Where all of it is.
    pub place: Arc<Place>,
    /// Who knows the names.
    pub dns: Dns,
    /// Whom the daemons believe.
    pub authority: Authority,
    authorities: PathBuf,
}

impl Internet {
    /// A new one, with nobody in it.
    ///
    /// # Errors
    /// When the machine has no room for it.
    pub fn new() -> Result<Self> {
        let (place, authority) = (Arc::new(Place::new()?), Authority::new()?);
        let authorities = authority.write(place.path())?;
        Ok(Self { place, dns: Dns::start()?, authority, authorities })
    }

    /// A directory for a domain, with a certificate for it, which the DNS names.
    ///
    /// # Errors
    /// When it does not start.
    pub fn directory(&self, origin: &str) -> Result<Directory> {
        let certificate = self.authority.certify(&[origin], Holds::Now)?;
        let directory = self.certified(origin, &certificate)?;
        self.name(origin, &[port(directory.address())?]);
        Ok(directory)
    }

    /// A directory for a domain with any certificate. The DNS does not know of it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn certified(&self, origin: &str, certificate: &Certificate) -> Result<Directory> {
        let (chain, key) = certificate.write(&self.place.folder(&format!("cert-{origin}"))?)?;
        let mut options = DirectoryOptions::default().args(&["--origin", origin]);
        options.args.extend(["--tls-cert".into(), chain.into(), "--tls-key".into(), key.into()]);
        Directory::try_start(options)
    }

    /// Lets the DNS say that the directory of a domain is behind these ports of this machine, in this order.
    pub fn name(&self, origin: &str, ports: &[u16]) {
        let host = format!("dir.{origin}");
        self.dns.a(&host, &[Ipv4Addr::LOCALHOST]);
        let records: Vec<(u16, u16, u16, &str)> =
            ports.iter().zip(1_u16..).map(|(port, priority)| (priority, 0, *port, host.as_str())).collect();
        self.dns.srv(origin, &records);
    }

    /// The beginning of a daemon's config: which DNS it asks, and that this machine is an internet.
    pub fn config(&self) -> String {
        format!("name_servers = [\"{}\"]\nallow_private_addresses = true\n", self.dns.address())
    }

    /// A daemon in this internet that knows no directory yet; `config` is more of its config.
    pub fn options(&self, name: &str, config: &str) -> DaemonOptions {
        let authorities = ("SSL_CERT_FILE".to_owned(), self.authorities.display().to_string());
        DaemonOptions {
            name: name.to_owned(),
            config: Some(format!("{}{config}", self.config())),
            env: vec![authorities],
            ..DaemonOptions::default()
        }
        .place(&self.place)
    }

    /// It runs.
    ///
    /// # Errors
    /// When it does not start.
    pub fn daemon(&self, name: &str) -> Result<Daemon> {
        Daemon::try_start(self.options(name, ""))
    }
}

/// The port of `127.0.0.1:PORT`.
///
/// # Errors
/// When there is none.
pub fn port(address: &str) -> Result<u16> {
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    port.with_context(|| format!("no port in {address}"))
}
