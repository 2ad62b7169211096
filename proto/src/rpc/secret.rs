//! Texts that must not stay in memory, nor stand in a log.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// A passphrase, a key of age, a recovery key: overwritten when dropped, and never printed by `Debug`. On the wire it is a
/// string.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Secret {
    fn as_ref(&self) -> &str {
        self
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::codec::{decode_value, encode_request};
    use crate::rpc::types::{BackupBeginParams, KeyRecoverParams, RestoreFinishParams};

    #[test]
    fn it_is_a_string_on_the_wire_and_nothing_when_printed() {
        let secret = Secret::from("correct horse");
        assert_eq!(rmp_serde::to_vec(&secret).ok(), rmp_serde::to_vec("correct horse").ok());
        let back: Option<Secret> = rmp_serde::to_vec("correct horse").ok().and_then(|bytes| decode_value(&bytes).ok());
        assert_eq!(back.as_deref(), Some("correct horse"));
        assert_eq!(serde_json::to_string(&secret).ok().as_deref(), Some("\"correct horse\""));
        let finish = RestoreFinishParams {
            identities: vec![secret.clone()],
            passphrase: Some(secret.clone()),
            ..RestoreFinishParams::default()
        };
        let begin = BackupBeginParams { passphrase: Some(secret.clone()), ..BackupBeginParams::default() };
        let recover = KeyRecoverParams { recovery_key: secret, ..KeyRecoverParams::default() };
        let printed = format!("{finish:?} {begin:?} {recover:?}");
        assert!(printed.contains("(secret)") && !printed.contains("horse"), "{printed}");
        let mut out = Vec::new();
        assert!(encode_request(&mut out, 1, "restore.finish", &finish).is_ok());
        assert_eq!(out.windows(13).filter(|part| part == b"correct horse").count(), 2);
    }
}
