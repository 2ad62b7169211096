//! The daemon as a whole: the locked data directory, the service, the RPC socket; started and stopped in order.

mod background;
mod check;
mod metrics;
mod pulse;

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::rpc::{self, Access, Audience, BoundSocket};
use crate::service::config::Config;
use crate::service::{self, Service, ServiceError};
pub use background::{Background, BackgroundError, PidFile, enter};
pub use check::check;
pub use pulse::Pulse;

/// What a daemon is started with: the configuration, with flags and environment laid over it.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Every key.
    pub config: Config,
    /// The file that it came from, if there was one.
    pub file: Option<PathBuf>,
    /// Where data is, absolute.
    pub data_dir: PathBuf,
    /// Where clients connect, absolute.
    pub socket: PathBuf,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Somebody else may read or write it.
    #[error("{path} must belong to the daemon's user and be closed to others: run chown and chmod 700 {path}")]
    Permissions {
        /// The data directory.
        path: PathBuf,
    },
    /// Another daemon has it.
    #[error("another daemon uses {path}: stop it, or give this one another --data-dir")]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// A file operation.
    #[error("{path}: {source}")]
    Io {
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A value of the configuration.
    #[error("{key}: {text}")]
    Config {
        /// Which key.
        key: &'static str,
        /// What is wrong with it, and what to do.
        text: String,
    },
    /// The socket.
    #[error(transparent)]
    Socket(#[from] rpc::SocketError),
    /// Keys, stores, transport.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

/// For whom the socket is, and who is let in.
fn admission(config: &Config) -> (Audience, Access) {
    if config.system {
        let audience = config.socket_group.clone().map_or(Audience::Everybody, Audience::Group);
        (audience, Access::system(config.socket_group.clone()))
    } else {
        (Audience::Owner, Access::owner())
    }
}

/// A data directory that nobody else uses; unlocked when dropped, whatever ends the process.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl DataDir {
    /// Makes the directory if it is missing, checks who may enter it, and locks it.
    ///
    /// # Errors
    /// [`StartError::Permissions`], [`StartError::Locked`], [`StartError::Io`].
    pub fn open(path: &Path) -> Result<Self, StartError> {
        let io = |source| StartError::Io { path: path.to_owned(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        Self::permitted(path)?;
        let file_path = path.join("lock");
        let file = File::options()
            .create(true)
            .write(true)
            .truncate(false)
            .open(&file_path)
            .map_err(|source| StartError::Io { path: file_path, source })?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| StartError::Locked { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Whether the directory that is there may be used.
    fn permitted(path: &Path) -> Result<(), StartError> {
        let meta = std::fs::metadata(path).map_err(|source| StartError::Io { path: path.to_owned(), source })?;
        if meta.uid() != nix::unistd::geteuid().as_raw() || meta.permissions().mode() & 0o077 != 0 {
            return Err(StartError::Permissions { path: path.to_owned() });
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A daemon that answers.
#[derive(Debug)]
pub struct Daemon {
    service: Service,
    socket: BoundSocket,
    access: Access,
    limits: watch::Sender<rpc::Limits>,
    /// Where its figures are written.
    metrics: Option<PathBuf>,
    _data: DataDir,
}

/// Changes a running daemon.
#[derive(Debug, Clone)]
pub struct Handle {
    service: Service,
    limits: watch::Sender<rpc::Limits>,
}

impl Handle {
    /// Puts in force what of a configuration may change in a running daemon.
    ///
    /// # Errors
    /// A directory that cannot be used; then nothing has changed.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ServiceError> {
        service::reconfigure(&self.service, config)?;
        self.limits.send_replace(rpc_limits(config));
        Ok(())
    }
}

fn rpc_limits(config: &Config) -> rpc::Limits {
    rpc::Limits {
        clients: config.limits.rpc_clients.get() as usize,
        clients_per_uid: config.limits.rpc_clients_per_uid.get() as usize,
        ..rpc::Limits::default()
    }
}

impl Daemon {
    /// Starts everything. When this returns, clients may connect: the socket's queue holds them.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start(config: Config, data: DataDir, socket: &Path) -> Result<Self, StartError> {
        let (audience, access) = admission(&config);
        let limits = watch::Sender::new(rpc_limits(&config));
        let metrics = config.metrics_file.clone();
        let service = service::start(config, data.path().to_owned()).await?;
        let socket = match rpc::bind(socket, &audience).await {
            Ok(socket) => socket,
            Err(error) => {
                service::stop(&service).await;
                return Err(error.into());
            }
        };
        Ok(Self { service, socket, access, limits, metrics, _data: data })
    }

    /// For changes while it serves.
    pub fn handle(&self) -> Handle {
        Handle { service: self.service.clone(), limits: self.limits.clone() }
    }

    /// Tells whether it answers, while it serves.
    pub fn pulse(&self) -> Pulse {
        Pulse::new(self.service.clone(), self.socket.path().to_owned())
    }

    /// One line for people and scripts: where the daemon answers.
    pub fn ready_line(&self) -> String {
        let addresses: Vec<String> = self.service.addresses().iter().map(ToString::to_string).collect();
        let (socket, node) = (self.socket.path().display(), self.service.node_id());
        format!("chatd ready: socket={socket} node={node} addresses={}", addresses.join(","))
    }

    /// Serves until `stop`; then ends sessions cleanly and commits what is queued.
    pub async fn serve(self, stop: CancellationToken) {
        let api = Arc::new(self.service.clone());
        tokio::select! {
            () = rpc::serve(self.socket, api, self.access, self.limits.subscribe(), stop) => {}
            // Ends never.
            () = metrics::keep(&self.service, self.metrics) => {}
        }
        service::stop(&self.service).await;
    }
}
