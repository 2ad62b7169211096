//! The `directoryd` program: flags, log, signals.

mod manual;
mod pulse;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser};
use daemonkit::chain::chain;
use daemonkit::log::{Format, Log, last_words};
use daemonkit::notify::{State, notify};
use directoryd::config::{ListPolicy, LogFormat, Tls};
use directoryd::http::gate::Gate;
use directoryd::store::Store;
use directoryd::tls::certificate::Source;
use directoryd::{Config, Handle, Opened, setup};
use proto::time::Timestamp;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::pulse::Pulse;

/// Serves a domain's directory: names, keys, addresses and presence.
#[derive(Debug, Parser)]
#[command(version, after_help = "Everything else is set in the config file; see docs/configuration.md.")]
struct Args {
    /// The config file (TOML)
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where the database is kept
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:7470]; port 0 takes any free port
    #[arg(long, value_name = "ADDR", global = true)]
    listen: Option<SocketAddr>,
    /// The domain that this directory serves [default: localhost]
    #[arg(long, value_name = "DOMAIN", global = true)]
    origin: Option<String>,
    /// The certificate for https and those that lead to a known authority (PEM); read again when it changes
    #[arg(long, value_name = "FILE", global = true)]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", global = true)]
    tls_key: Option<PathBuf>,
    /// Who may list and search [default: members]
    #[arg(long, value_name = "WHO")]
    list: Option<List>,
    /// Go on although the identity key is lost or another one, with a new one if there is none: members must accept it
    #[arg(long)]
    new_identity: bool,
    /// Run no relay: nodes that do not reach each other directly use the mailbox alone
    #[arg(long)]
    no_relay: bool,
    /// Make the directory's key if there is none, print its URL and the line by which people register, and exit
    #[arg(long)]
    init: bool,
    /// Check everything that a start would meet, say what would be used, and exit
    #[arg(long)]
    check: bool,
    /// Ask the directory that runs with this configuration whether all is well with it, and exit
    #[arg(long)]
    healthy: bool,
    /// Print the configuration in force, with all keys and what they do, and exit
    #[arg(long)]
    print_config: bool,
    /// Print the manual page in roff (man -l -), and exit
    #[arg(long)]
    print_man: bool,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Command {
    /// Print the records by which clients find this directory, for the zone of its domain
    DnsRecords,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum List {
    Members,
    Public,
    Off,
}

impl Args {
    /// What a start would use, tried without changing anything.
    fn check(&self, config: &Config) -> anyhow::Result<String> {
        use std::fmt::Write as _;

        daemonkit::log::parse(&config.log)?;
        Gate::new(config)?;
        let identity = Store::check(&config.data_dir, config.new_identity)?;
        let tls = match config.tls() {
            Tls::Off => "none: plain HTTP, on loopback or to a proxy".to_owned(),
            Tls::Own => "a certificate of its own key".to_owned(),
            Tls::Files { certificate, key } => {
                let text = certificate.display().to_string();
                let source = Source::Files { certificate, key };
                let named = if source.names(&config.origin)? { "" } else { ", which does not name the origin" };
                let ends = directoryd::tls::Tls::open(source)?
                    .ends()
                    .map(|ends| format!(", until {}", Timestamp(ends.saturating_mul(1_000))));
                text + named + &ends.unwrap_or_default()
            }
        };
        let address = config.listen;
        std::net::TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let key = identity.map_or_else(|| "a new one".to_owned(), |identity| identity.to_string());
        let listed = |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(", ") };
        let list = match config.list {
            ListPolicy::Members => "its members",
            ListPolicy::Public => "everybody",
            ListPolicy::Off => "nobody",
        };
        let file = self.config.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        let fresh = if config.data_dir.join("directory.db").exists() { "" } else { " (new)" };
        let mut text = String::from("the configuration is valid; a start would use\n");
        for (what, value) in [
            ("config", file),
            ("origin", config.origin.clone()),
            ("key", key),
            ("listen", address.to_string()),
            ("tls", tls),
            ("relay", relay(config)),
            ("data", format!("{}{fresh}", config.data_dir.display())),
            ("lists to", list.to_owned()),
            ("proxies", listed(&config.proxies)),
            ("log", config.log.clone()),
        ] {
            let _ = writeln!(text, "  {what:<10}{value}");
        }
        Ok(text)
    }

    /// The file, with the flags laid over it.
    fn config(&self) -> Result<Config, directoryd::config::ConfigError> {
        let mut config = self.config.as_deref().map_or_else(|| Ok(Config::default()), Config::read)?;
        if let Some(dir) = &self.data_dir {
            config.data_dir.clone_from(dir);
        }
        if let Some(origin) = &self.origin {
            config.origin.clone_from(origin);
        }
        config.listen = self.listen.unwrap_or(config.listen);
        if self.tls_cert.is_some() || self.tls_key.is_some() {
            (config.tls_cert, config.tls_key) = (self.tls_cert.clone(), self.tls_key.clone());
        }
        config.log_format = self.log_format.unwrap_or(config.log_format);
        config.list = match self.list {
            Some(List::Members) => ListPolicy::Members,
            Some(List::Public) => ListPolicy::Public,
            Some(List::Off) => ListPolicy::Off,
            None => config.list,
        };
        config.relay.enabled &= !self.no_relay;
        config.new_identity = self.new_identity;
        config.validated()
    }
}

/// What a start would relay.
fn relay(config: &Config) -> String {
    match (config.relay.enabled, config.tls()) {
        (false, _) => "none".to_owned(),
        (true, Tls::Off) => "on the same port; no address discovery, which needs TLS".to_owned(),
        (true, _) => format!("on the same port; address discovery at UDP {}", config.relay.discovery_port),
    }
}

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            last_words(&format!("directoryd: {}", chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> anyhow::Result<()> {
    if args.print_man {
        return print(&daemonkit::man::page(Args::command(), &manual::SECTIONS)?);
    }
    let config = args.config()?;
    if args.check {
        let data = &config.data_dir;
        daemonkit::folder::become_owner(data)
            .with_context(|| format!("cannot become the owner of {}", data.display()))?;
        return print(&args.check(&config)?);
    }
    if args.healthy {
        return pulse::healthy(config.listen, config.tls() != Tls::Off, &config.origin);
    }
    if args.print_config {
        return print(&daemonkit::settings::file(&Config::SECTIONS, &config.table()));
    }
    if let Some(Command::DnsRecords) = args.command {
        return print(&setup::dns_records(&config));
    }
    // The database and its lock are nobody else's business.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    if args.init {
        // The port of the relay may be in use by a directory that runs.
        let mut config = config;
        config.relay.enabled = false;
        let opened = Opened::open(config, CancellationToken::new())?;
        return print(&opened.init());
    }
    daemonkit::dumps::forbid().context("cannot switch core dumps off (they would hold the identity key)")?;
    raise_file_limit();
    let format = match config.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let private: daemonkit::log::Private = if config.log_names { &[] } else { &["name"] };
    let log = Log::start(&config.log, format, private)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let result = runtime.block_on(serve(args, config, &log));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// To standard output; a full disk is an error and no panic.
fn print(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).context("cannot write to standard output")
}

async fn serve(args: &Args, config: Config, log: &Log) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let address = config.listen;
    let mut current = config.clone();
    let opened = Opened::open(config, shutdown.clone())?;
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr().context("cannot tell the address in use")?;
    let url = opened.url(&address.to_string());
    let (origin, accounts) = (opened.config().origin.clone(), opened.accounts());
    let key = opened.identity().to_string();
    let handle = opened.handle();
    let mut served = std::pin::pin!(opened.serve(listener));
    let pulse = Pulse::new(handle.clone(), address, url.starts_with("https:"));
    let mut watched = std::pin::pin!(pulse.watch(|| {
        tracing::info!(%address, origin, key, accounts, "ready");
        log.line(&format!("directoryd ready: {url} origin={origin} key={key}"));
        notify(State::Ready);
    }));
    loop {
        tokio::select! {
            result = served.as_mut() => return Ok(result?),
            // Ends never.
            () = &mut watched => {}
            _ = terminate.recv() => stop(&shutdown, "SIGTERM"),
            _ = interrupt.recv() => stop(&shutdown, "SIGINT"),
            _ = hangup.recv() => match reload(args, &mut current, log, &handle) {
                Ok(told) => tracing::info!(told, "configuration read again"),
                Err(error) => tracing::warn!(error = chain(error.as_ref()), "the configuration stays as it is"),
            },
        }
    }
}

/// What SIGHUP asks for; says what changed.
fn reload(args: &Args, current: &mut Config, log: &Log, directory: &Handle) -> anyhow::Result<String> {
    let new = args.config()?;
    daemonkit::log::parse(&new.log)?;
    let (live, restart) = current.changed(&new);
    let adopted = current.adopting(new);
    directory.reconfigure(&adopted)?;
    log.reload(&adopted.log)?;
    // What needs a restart is named again each time, until it has had one.
    *current = adopted;
    let listed = |keys: &[String]| if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
    let mut told = format!("changed: {}", listed(&live));
    if !restart.is_empty() {
        told.push_str(&format!("; a restart is needed for {}", listed(&restart)));
    }
    Ok(told)
}

fn stop(shutdown: &CancellationToken, signal: &str) {
    tracing::info!(signal, "stopping");
    notify(State::Stopping);
    shutdown.cancel();
}

/// Each connection is a file: as many as the system lets this process have.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // A lower limit than hoped for shows as refused connections, with a line in the log.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}
