//! The directory's identity key: what members pin when they register, and what signs statements of membership.
//!
//! `identity.pem` in the data folder is PKCS#8 in PEM, as every TLS library and `openssl pkey` reads it, so that a later
//! certificate can be of the same key. The database remembers the public half: a key that is missing or another one is an
//! error and never made anew unasked, because to all members it would be another directory.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{
    DecodePrivateKey, EncodePrivateKey, spki::der::pem::LineEnding, spki::der::zeroize::Zeroizing,
};
use nix::fcntl::OFlag;
use proto::ids::hex;

const FILE: &str = "identity.pem";
/// Bytes of the file at most: one Ed25519 key takes 119.
const MAX_BYTES: u64 = 4_096;

/// Why there is no key to work with.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Members know a key that is not here.
    #[error(
        "{path} is missing, and members know this directory by the key {known}: put the file back from a backup. If it is \
         lost for good, start once with --new-identity: members have to accept the new key then"
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// In hex.
        known: String,
    },
    /// Members know another key.
    #[error(
        "{path} holds the key {found}, and members know this directory by {known}: put the right file back from a backup. \
         To go on with the new key, start once with --new-identity: members have to accept it then"
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// In hex.
        found: String,
        /// In hex.
        known: String,
    },
    /// Other users could have read or replaced it.
    #[error("{path} has mode {mode:04o}, so others can get at the key; run: chmod 600 {path}")]
    Permissions {
        /// The file.
        path: PathBuf,
        /// As it is.
        mode: u32,
    },
    /// It is somebody else's.
    #[error(
        "{path} belongs to uid {owner}, and this program runs as uid {uid}; run it as the owner, or chown the file"
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        uid: u32,
    },
    /// Not what this program writes.
    #[error(
        "cannot use {path}: it is not an Ed25519 key in PKCS#8 and PEM; put the file back from a backup. If there is none, \
         move the file away and start once with --new-identity: members have to accept the new key then"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

/// The key; [`std::fmt::Debug`] shows its public half only.
#[derive(Clone)]
pub struct Identity(SigningKey);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// The public half in hex.
impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(self.0.verifying_key().as_bytes()))
    }
}

impl Identity {
    /// What signs.
    pub fn key(&self) -> &SigningKey {
        &self.0
    }

    /// The key in a data folder that this process has locked, made if there is none, and whether it is another than is
    /// `known`: then it has to be remembered. `anew`: the operator wants to go on with another key than members know.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub(crate) fn open(folder: &Path, known: Option<&[u8]>, anew: bool) -> Result<(Self, bool), IdentityError> {
        let identity = match Self::fitting(folder, known, anew)? {
            Some(identity) if identity.is(known) => return Ok((identity, false)),
            Some(identity) => identity,
            None => Self::make(folder)?,
        };
        tracing::warn!(key = %identity, "this directory has a new identity key");
        Ok((identity, true))
    }

    /// Its public half.
    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The key in a folder that a start would use; none: it would make one. `known`: what members know, by the database.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub(crate) fn fitting(folder: &Path, known: Option<&[u8]>, anew: bool) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(FILE);
        let found = Self::read(folder)?;
        let Some(key) = known.filter(|_| !anew) else { return Ok(found) };
        match found {
            Some(identity) if identity.is(known) => Ok(Some(identity)),
            Some(other) => Err(IdentityError::Other { path, found: other.to_string(), known: hex(key) }),
            None => Err(IdentityError::Missing { path, known: hex(key) }),
        }
    }

    fn is(&self, known: Option<&[u8]>) -> bool {
        known == Some(self.0.verifying_key().as_bytes())
    }

    /// The key in a folder, if there is one.
    fn read(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(FILE);
        let io = |what| {
            let path = path.clone();
            move |source| IdentityError::Io { what, path, source }
        };
        // Not through a symbolic link: the permissions that count would be elsewhere. Not blocking: it may be a pipe.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mut file = match OpenOptions::new().read(true).custom_flags(flags.bits()).open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(io("open"))?,
        };
        let metadata = file.metadata().map_err(io("inspect"))?;
        let (mode, uid) = (metadata.mode() & 0o7777, nix::unistd::geteuid().as_raw());
        if metadata.uid() != uid {
            return Err(IdentityError::Owner { path, owner: metadata.uid(), uid });
        }
        if mode & 0o077 != 0 {
            return Err(IdentityError::Permissions { path, mode });
        }
        if !metadata.is_file() || metadata.len() > MAX_BYTES {
            return Err(IdentityError::Damaged { path });
        }
        let mut text = Zeroizing::new(String::new());
        file.read_to_string(&mut text).map_err(io("read"))?;
        SigningKey::from_pkcs8_pem(&text).map(|key| Some(Self(key))).map_err(|_| IdentityError::Damaged { path })
    }

    fn make(folder: &Path) -> Result<Self, IdentityError> {
        let path = folder.join(FILE);
        let io = |what| {
            let path = path.clone();
            move |source| IdentityError::Io { what, path, source }
        };
        let key = SigningKey::from_bytes(&rand::random());
        let text = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| io("encode")(std::io::Error::other(error)))?;
        let half = folder.join(format!(".{FILE}.new"));
        // The folder is locked: what an earlier attempt left is nobody's.
        match std::fs::remove_file(&half) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io("replace")(error)),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits());
        let mut file = options.open(&half).map_err(io("create"))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(io("write"))?;
        std::fs::rename(&half, &path).map_err(io("create"))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(io("sync"))?;
        Ok(Self(key))
    }
}
