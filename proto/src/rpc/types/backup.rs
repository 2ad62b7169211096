//! Backups and restores, in pieces.

use serde::{Deserialize, Serialize};

use super::super::secret::Secret;
use super::AccountInfo;
use crate::time::Timestamp;

/// `backup.begin`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupBeginParams {
    /// See [`AccountParams::account`](super::AccountParams::account).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whom the file is encrypted to, as `age1pq1...` or `age1...`, not both; 16 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recipients: Vec<String>,
    /// Or a passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// `backup.begin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupBeginResult {
    /// Names the backup in `backup.read` and `backup.end`. It is dropped after two minutes without a call.
    pub transfer: String,
    /// Bytes of the file.
    pub size: u64,
    /// A later quantum computer cannot open it: it is for a passphrase, or for `age1pq1...` recipients.
    pub post_quantum: bool,
    /// The account that is in it.
    pub account: AccountInfo,
}

/// `backup.read`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupReadParams {
    /// From `backup.begin`.
    pub transfer: String,
    /// From this byte of the file.
    pub offset: u64,
}

/// `backup.read`.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct BackupReadResult {
    /// At most 524,288 bytes; empty at the end.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// `backup.end`, and `restore.end`, which drops what was uploaded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferParams {
    /// From `backup.begin` or `restore.begin`.
    pub transfer: String,
}

/// `restore.begin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreBeginResult {
    /// Names the upload in `restore.write` and `restore.finish`. It is dropped after two minutes without a call.
    pub transfer: String,
}

/// `restore.write`.
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreWriteParams {
    /// From `restore.begin`.
    pub transfer: String,
    /// The next part of the file, at most 524,288 bytes.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// `restore.finish`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreFinishParams {
    /// From `restore.begin`.
    pub transfer: String,
    /// Keys of age that may open the file, as `AGE-SECRET-KEY-PQ-1...` or `AGE-SECRET-KEY-1...`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Secret>,
    /// Or its passphrase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passphrase: Option<Secret>,
}

/// `restore.finish`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RestoreResult {
    /// The account, online.
    pub account: AccountInfo,
    /// When the backup was made.
    pub made: Timestamp,
    /// Whether the directory knows the new device; if not, the daemon tells it as soon as it can.
    pub published: bool,
}
