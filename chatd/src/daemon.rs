//! The daemon as a whole: the locked data directory, the service, the RPC socket; started and stopped in order.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};
use tokio_util::sync::CancellationToken;

use crate::rpc::{self, Access, Audience, BoundSocket};
use crate::service::config::Config;
use crate::service::{Service, ServiceError};

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
    /// The socket.
    #[error(transparent)]
    Socket(#[from] rpc::SocketError),
    /// Keys, stores, transport.
    #[error(transparent)]
    Service(#[from] ServiceError),
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
        let meta = std::fs::metadata(path).map_err(io)?;
        if meta.uid() != nix::unistd::geteuid().as_raw() || meta.permissions().mode() & 0o077 != 0 {
            return Err(StartError::Permissions { path: path.to_owned() });
        }
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
    limits: rpc::Limits,
    _data: DataDir,
}

impl Daemon {
    /// Starts everything. When this returns, clients may connect: the socket's queue holds them.
    ///
    /// # Errors
    /// [`StartError`]; then nothing is left running.
    pub async fn start(config: Config, data: DataDir, socket: &Path) -> Result<Self, StartError> {
        let (audience, access) = if config.system {
            let audience = config.socket_group.clone().map_or(Audience::Everybody, Audience::Group);
            (audience, Access::system(config.socket_group.clone()))
        } else {
            (Audience::Owner, Access::owner())
        };
        let limits = rpc::Limits {
            clients: config.limits.rpc_clients.get() as usize,
            clients_per_uid: config.limits.rpc_clients_per_uid.get() as usize,
            ..rpc::Limits::default()
        };
        let service = Service::start(config, data.path().to_owned()).await?;
        let socket = match rpc::bind(socket, &audience).await {
            Ok(socket) => socket,
            Err(error) => {
                service.stop().await;
                return Err(error.into());
            }
        };
        Ok(Self { service, socket, access, limits, _data: data })
    }

    /// One line for people and scripts: where the daemon answers.
    pub fn ready_line(&self) -> String {
        let addresses: Vec<String> = self.service.addresses().iter().map(ToString::to_string).collect();
        let (socket, node) = (self.socket.path().display(), self.service.node_id());
        format!("chatd ready: socket={socket} node={node} addresses={}", addresses.join(","))
    }

    /// Serves until `stop`; then ends sessions cleanly and commits what is queued.
    pub async fn serve(self, stop: CancellationToken) {
        rpc::serve(self.socket, Arc::new(self.service.clone()), self.access, self.limits, stop).await;
        self.service.stop().await;
    }
}
