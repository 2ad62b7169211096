//! The pin of a directory's TLS key: the fragment of a URL such as `https://192.0.2.1:7470#sha256-...`, by which a
//! certificate that no authority signed is known.
//!
//! The pin is the SHA-256 of the certificate's SubjectPublicKeyInfo, as in RFC 7469. Names and dates in the certificate do not
//! count: whoever has the key is the directory.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::api::Base64;

/// What stands before the hash.
const PREFIX: &str = "sha256-";
/// The DER of an Ed25519 key's SubjectPublicKeyInfo up to the key itself (RFC 8410, section 4).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// SHA-256 of a SubjectPublicKeyInfo in DER. As text `sha256-` and base64url without padding, 50 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpkiPin(pub [u8; 32]);

impl SpkiPin {
    /// Of a certificate's SubjectPublicKeyInfo, in DER.
    pub fn of(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// Of a certificate whose key is this Ed25519 key.
    pub fn of_ed25519(key: &[u8; 32]) -> Self {
        Self::of(&[ED25519.as_slice(), key].concat())
    }
}

impl fmt::Display for SpkiPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", Base64::text(&self.0))
    }
}

/// Not a pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pin of a key: it is sha256- and 43 characters, as `directoryd --init` prints it")]
pub struct NoPin(String);

impl FromStr for SpkiPin {
    type Err = NoPin;

    /// From its text; the hash may also be in ordinary base64, as other programs print it.
    fn from_str(text: &str) -> Result<Self, NoPin> {
        let hash = text.strip_prefix(PREFIX).map(|hash| hash.trim_end_matches('=').replace('+', "-").replace('/', "_"));
        let bytes = hash.and_then(|hash| Base64::parse(&hash)).and_then(|bytes| bytes.0.try_into().ok());
        bytes.map(Self).ok_or_else(|| NoPin(text.chars().take(100).collect()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn pins_as_text() {
        let pin = SpkiPin([0xfb; 32]);
        let text = pin.to_string();
        assert_eq!(text, "sha256--_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s");
        assert_eq!(text.parse(), Ok(pin));
        assert_eq!("sha256-+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=".parse(), Ok(pin));
        for bad in ["", "sha256-", "sha256-AAAA", "sha1-AAAA", &text[7..], &format!("{text}A"), "sha256-\u{1f600}"] {
            assert!(bad.parse::<SpkiPin>().is_err(), "{bad}");
        }
    }

    /// `openssl pkey -in key.pem -pubout -outform DER | openssl dgst -sha256` for RFC 8032's first test key.
    #[test]
    fn of_a_key_as_openssl_says() {
        let key = crate::ids::unhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        assert_eq!(
            crate::ids::hex(&SpkiPin::of_ed25519(&key).0),
            "06e3fd8fda29bb60ab59557de61edb0aecdb231134be30e75b455f8e1b792fa9"
        );
    }
}
