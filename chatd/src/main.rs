//! The `chatd` program: flags, log, signals.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use chatd::daemon::{Daemon, DataDir};
use chatd::service::config::{Config, LogFormat};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Private messaging as a system service: owns peer connections, encryption and storage for the users of a machine.
#[derive(Debug, Parser)]
#[command(version, after_help = "chatctl talks to it; see docs/rpc.md for other clients.")]
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
    /// Default directory for `chatctl register`
    #[arg(long, value_name = "URL-or-DOMAIN")]
    directory: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Check the configuration and exit
    #[arg(long)]
    check: bool,
    /// Go to the background, with the log in DATA-DIR/chatd.log (systemd needs no such thing)
    #[arg(long)]
    daemonize: bool,
    /// Write the background process's id here
    #[arg(long, value_name = "FILE", requires = "daemonize")]
    pid_file: Option<PathBuf>,
}

/// Where files are by default: of the system's service for root, of the user otherwise.
struct Places {
    config: PathBuf,
    data_dir: PathBuf,
    socket: PathBuf,
}

impl Places {
    fn find() -> anyhow::Result<Self> {
        if nix::unistd::geteuid().is_root() {
            return Ok(Self {
                config: "/etc/chatd/chatd.toml".into(),
                data_dir: "/var/lib/chatd".into(),
                socket: "/run/chatd/chatd.sock".into(),
            });
        }
        let home =
            std::env::var_os("HOME").map(PathBuf::from).context("HOME is not set: name --data-dir and --socket")?;
        let xdg = |name: &str, rest: &str| std::env::var_os(name).map_or_else(|| home.join(rest), PathBuf::from);
        let state = xdg("XDG_STATE_HOME", ".local/state").join("chatd");
        let runtime =
            std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| state.clone(), |dir| PathBuf::from(dir).join("chatd"));
        Ok(Self {
            config: xdg("XDG_CONFIG_HOME", ".config").join("chatd/chatd.toml"),
            socket: runtime.join("chatd.sock"),
            data_dir: state,
        })
    }
}

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chatd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    let places = Places::find();
    let mut config = match (&args.config, &places) {
        (Some(path), _) => Config::load(path)?,
        (None, Ok(places)) if places.config.exists() => Config::load(&places.config)?,
        _ => Config::default(),
    };
    if !args.listen.is_empty() {
        config.listen = args.listen;
    }
    config.directory = args.directory.or(config.directory);
    config.log_format = args.log_format.unwrap_or(config.log_format);
    let chosen = |flag: Option<PathBuf>, file: Option<PathBuf>, default: fn(&Places) -> &PathBuf| match flag.or(file) {
        Some(path) => Ok(path),
        None => places.as_ref().map(|places| default(places).clone()).map_err(|error| anyhow::anyhow!("{error}")),
    };
    let data_dir = chosen(args.data_dir, config.data_dir.clone(), |p| &p.data_dir)?;
    let socket = chosen(args.socket, config.socket.clone(), |p| &p.socket)?;
    if args.check {
        println!("the configuration is valid: data in {}, socket {}", data_dir.display(), socket.display());
        return Ok(());
    }
    // Whatever is created is nobody else's business; the socket's mode is set after it is bound.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0)
        .context("cannot switch core dumps off (they would hold keys)")?;
    raise_file_limit();
    let (data_dir, socket) = (std::path::absolute(&data_dir)?, std::path::absolute(&socket)?);
    // Locked before the fork, so that whoever starts a second daemon is told so; the lock goes along with the child.
    let data = DataDir::open(&data_dir)?;
    if args.daemonize {
        let log_path = data_dir.join("chatd.log");
        let log = std::fs::File::options().create(true).append(true).open(&log_path);
        let log = log.with_context(|| format!("cannot write the log {}", log_path.display()))?;
        let mut daemonize = daemonize::Daemonize::new().umask(0o077).working_directory("/").stderr(log);
        if let Some(path) = &args.pid_file {
            daemonize = daemonize.pid_file(std::path::absolute(path)?);
        }
        daemonize.start().context("cannot go to the background")?;
    }
    run(config, data, &socket)
}

fn run(config: Config, data: DataDir, socket: &Path) -> anyhow::Result<()> {
    let filter = log(config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("chatd")
        // Each blocking thread keeps a stack; what blocks here is short.
        .max_blocking_threads(16)
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(serve(config, data, socket, &filter));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    result
}

async fn serve(
    config: Config,
    data: DataDir,
    socket: &Path,
    filter: &reload::Handle<EnvFilter, Registry>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let data_dir = data.path().to_owned();
    let daemon = Daemon::start(config, data, socket).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), data_dir = %data_dir.display(), "ready");
    eprintln!("{}", daemon.ready_line());
    if let Err(error) = notify("READY=1") {
        tracing::warn!(%error, "cannot tell systemd that the daemon is ready");
    }
    let stop = CancellationToken::new();
    let mut served = std::pin::pin!(daemon.serve(stop.clone()));
    loop {
        tokio::select! {
            () = &mut served => break,
            _ = terminate.recv() => stop.cancel(),
            _ = interrupt.recv() => stop.cancel(),
            _ = hangup.recv() => reload_filter(filter),
        }
    }
    tracing::info!("stopped");
    Ok(())
}

fn log_filter() -> EnvFilter {
    // What iroh says below warnings is for its developers.
    let default = "info,iroh=warn,noq=warn,noq_proto=error,noq_udp=error,iroh_relay=warn,swarm_discovery=warn";
    EnvFilter::try_from_env("CHATD_LOG").unwrap_or_else(|_| EnvFilter::new(default))
}

fn log(format: LogFormat) -> anyhow::Result<reload::Handle<EnvFilter, Registry>> {
    let (filter, handle) = reload::Layer::new(log_filter());
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => registry.with(layer.with_ansi(false)).try_init()?,
        LogFormat::Json => registry.with(layer.json()).try_init()?,
    }
    Ok(handle)
}

fn reload_filter(filter: &reload::Handle<EnvFilter, Registry>) {
    match filter.reload(log_filter()) {
        Ok(()) => tracing::info!("log filter reloaded"),
        Err(error) => tracing::warn!(%error, "log filter not reloaded"),
    }
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

/// sd_notify(3); does nothing without systemd.
fn notify(state: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(&path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}
