//! The `chatd` program: flags, log, signals.

mod manual;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chatd::daemon::{self, Background, Daemon, DataDir, PidFile, Setup};
use chatd::service::config::{Config, LogFormat};
use clap::{CommandFactory, Parser};
use daemonkit::chain::chain;
use daemonkit::log::{Format, Log, last_words};
use daemonkit::notify::{State, notify};
use proto::places::{self, Places};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Private messaging as a system service: owns peer connections, encryption and storage for the users of a machine.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Clients talk to it by its socket: see docs/rpc.md for what they say, docs/configuration.md for the config file."
)]
struct Args {
    /// The config file (TOML) [default: the system's or the user's, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where accounts, keys and messages live
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where clients connect
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where to accept peers (repeat for IPv6); port 0 takes any free port
    #[arg(long, value_name = "ADDR")]
    listen: Vec<SocketAddr>,
    /// Default directory for new accounts
    #[arg(long, value_name = "URL-or-DOMAIN")]
    directory: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Check everything that a start would meet, say what would be used, and exit
    #[arg(long)]
    check: bool,
    /// Print the configuration in force, with all keys and what they do, and exit
    #[arg(long)]
    print_config: bool,
    /// Print the manual page in roff (man -l -), and exit
    #[arg(long)]
    print_man: bool,
    /// Go to the background when ready, with the log in DATA-DIR/chatd.log (systemd needs no such thing)
    #[arg(long)]
    daemonize: bool,
    /// Write the background process's id here
    #[arg(long, value_name = "FILE", requires = "daemonize")]
    pid_file: Option<PathBuf>,
}

impl Args {
    /// The file, with flags and environment laid over it.
    fn setup(&self) -> anyhow::Result<Setup> {
        let places = Places::own();
        let (mut config, file) = match (&self.config, &places) {
            (Some(path), _) => (Config::load(path)?, Some(path.clone())),
            (None, Ok(places)) if places.config.exists() => {
                (Config::load(&places.config)?, Some(places.config.clone()))
            }
            _ => (Config::default(), None),
        };
        if !self.listen.is_empty() {
            config.listen.clone_from(&self.listen);
        }
        config.directory = self.directory.clone().or(config.directory);
        config.log_format = self.log_format.unwrap_or(config.log_format);
        let absolute = |path: PathBuf| std::path::absolute(&path).with_context(|| format!("{}", path.display()));
        let data_dir = match self.data_dir.clone().or(config.data_dir.take()) {
            Some(path) => absolute(path)?,
            None => places.as_ref().map(|places| places.data_dir.clone()).map_err(Clone::clone)?,
        };
        let named = match &self.socket {
            Some(path) => Some(path.clone()),
            None => places::variable(places::SOCKET_VARIABLE)?.or(config.socket.take()),
        };
        let socket = match named {
            Some(path) => absolute(path)?,
            None => places.map(|places| places.socket)?,
        };
        config.data_dir = Some(data_dir.clone());
        config.socket = Some(socket.clone());
        if let Some(filter) = std::env::var("CHATD_LOG").ok().filter(|filter| !filter.is_empty()) {
            config.log = filter;
        }
        Ok(Setup { config, file, data_dir, socket })
    }
}

fn main() -> ExitCode {
    let mut background = None;
    match start(&Args::parse(), &mut background) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = chain(error.as_ref());
            if let Some(background) = &mut background {
                background.failed(&text);
            }
            last_words(&format!("chatd: {text}"));
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args, background: &mut Option<Background>) -> anyhow::Result<()> {
    if args.print_man {
        return print(&daemonkit::man::page(Args::command(), &manual::SECTIONS)?);
    }
    let setup = args.setup()?;
    if args.print_config {
        let text = daemonkit::settings::file(&Config::SECTIONS, &setup.config.table());
        return print(&text);
    }
    if args.check {
        let data = &setup.data_dir;
        daemonkit::folder::become_owner(data)
            .with_context(|| format!("cannot become the owner of {}", data.display()))?;
        let found = daemon::check(&setup)?;
        return print(&found);
    }
    // Whatever is created is nobody else's business; the socket's mode is set after it is bound.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    daemonkit::dumps::forbid().context("cannot switch core dumps off (they would hold keys)")?;
    raise_file_limit();
    daemonkit::log::parse(&setup.config.log)?;
    // Locked before the fork, so that whoever starts a second daemon is told so; the lock goes along with the child.
    let data = DataDir::open(&setup.data_dir)?;
    let mut log_path = None;
    if args.daemonize {
        let path = setup.data_dir.join("chatd.log");
        let log = daemonkit::log::open_file(&path);
        let log = log.with_context(|| format!("cannot write the log {}", path.display()))?;
        let pid_file = match &args.pid_file {
            Some(path) => Some(PidFile::open(&std::path::absolute(path)?)?),
            None => None,
        };
        *background = Some(daemon::enter(log, &path, pid_file)?);
        log_path = Some(path);
    }
    let format = match setup.config.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let log = Log::start(&setup.config.log, format, PRIVATE)?;
    // One worker, which only passes things on: commits, reads of any length, batches to seal and the search index have threads of
    // their own. With more, each hop of a message from task to task wakes one (docs/decisions/0047-one-worker.md).
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .thread_name("chatd")
        // Each blocking thread keeps a stack; what blocks here is short.
        .max_blocking_threads(16)
        .build()
        .context("cannot start the runtime")?;
    let log = Logging { log, path: log_path };
    let result = runtime.block_on(serve(args, setup, data, &log, background));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

/// Fields of lines of the log that name people, accounts and keys.
const PRIVATE: daemonkit::log::Private = &[
    "name",
    "account",
    "contact",
    "from",
    "peer",
    "origin",
    "user",
    "domain",
    "recipient",
    "node",
    "device",
    "who",
    "fingerprint",
    "holder",
    "to",
];

/// To standard output; a full disk is an error and no panic.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).context("cannot write to standard output")
}

/// The log, and its file if it is not just stderr.
struct Logging {
    log: Log,
    path: Option<PathBuf>,
}

async fn serve(
    args: &Args,
    mut setup: Setup,
    data: DataDir,
    log: &Logging,
    background: &mut Option<Background>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let data_dir = setup.data_dir.clone();
    let daemon = Daemon::start(setup.config.clone(), data, &setup.socket).await?;
    let (handle, ready_line, pulse) = (daemon.handle(), daemon.ready_line(), daemon.pulse());
    let stop = CancellationToken::new();
    let mut served = std::pin::pin!(daemon.serve(stop.clone()));
    let mut watched = std::pin::pin!(pulse.watch(|| {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), data_dir = %data_dir.display(), "ready");
        log.log.line(&ready_line);
        if let Some(background) = background {
            background.ready();
        }
        notify(State::Ready);
    }));
    loop {
        tokio::select! {
            () = &mut served => break,
            // Ends never.
            () = &mut watched => {}
            _ = terminate.recv() => end(&stop),
            _ = interrupt.recv() => end(&stop),
            _ = hangup.recv() => match reload(args, &mut setup, log, &handle) {
                Ok(told) => tracing::info!(told, "configuration read again"),
                Err(error) => tracing::warn!(error = chain(error.as_ref()), "the configuration stays as it is"),
            },
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn end(stop: &CancellationToken) {
    notify(State::Stopping);
    stop.cancel();
}

/// What SIGHUP asks for; says what changed.
fn reload(args: &Args, setup: &mut Setup, log: &Logging, daemon: &daemon::Handle) -> anyhow::Result<String> {
    if let Some(path) = &log.path {
        log.log.reopen(path)?;
    }
    let new = args.setup()?;
    let (live, restart) = setup.config.changed(&new.config);
    log.log.reload(&new.config.log)?;
    daemon.reconfigure(&new.config)?;
    // What needs a restart is named again each time, until it has had one.
    setup.config.adopt(&new.config);
    let listed = |keys: &[String]| if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
    let mut told = format!("changed: {}", listed(&live));
    if !restart.is_empty() {
        told.push_str(&format!("; a restart is needed for {}", listed(&restart)));
    }
    Ok(told)
}

/// Every account takes a few descriptors, every link and client one.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(1 << 20), hard);
    }
}
