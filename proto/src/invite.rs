//! Invites: everything that somebody needs to ask for a contact without any directory, in one `chat:` URI that fits a QR
//! code. An invite carries the key, so it fails hard instead of trusting on first use.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::ids::AccountId;
use crate::wire::reader::write;
use crate::wire::{Reader, WireError};

/// The URI's scheme, with its colon.
pub const SCHEME: &str = "chat:";
/// Characters of an invite at most: more than a QR code of version 40 holds is no invite.
pub const MAX_URI_CHARS: usize = 2_953;
const VERSION: u8 = 1;

/// What an invite says. Single use: the token is spent by the first request that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Who invites.
    pub account: AccountId,
    /// Their identity key; what is later seen must be vouched for by it.
    pub identity_key: [u8; 32],
    /// SHA-256 of their signed record.
    pub record_hash: [u8; 32],
    /// Their signed reach, as bytes; empty when there is none.
    pub reach: Vec<u8>,
    /// URL of their mailbox, if they have one.
    pub mailbox: Option<String>,
    /// 32 random bytes.
    pub token: [u8; 32],
}

/// Text that is no invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// Another scheme.
    #[error("an invite begins with {SCHEME}")]
    Scheme,
    /// Longer than any invite.
    #[error("an invite has {MAX_URI_CHARS} characters at most")]
    TooLong,
    /// Not base64.
    #[error("the invite is damaged: copy it again, whole")]
    Encoding,
    /// Not what an invite holds.
    #[error("the invite is damaged ({0}): copy it again, whole")]
    Content(#[from] WireError),
}

impl Invite {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.reach.len() + 160);
        write::array(&mut out, 7);
        write::uint(&mut out, VERSION.into());
        write::bin(&mut out, self.account.as_bytes());
        write::bin(&mut out, &self.identity_key);
        write::bin(&mut out, &self.record_hash);
        write::bin(&mut out, &self.reach);
        match &self.mailbox {
            Some(url) => write::str(&mut out, url),
            None => write::nil(&mut out),
        }
        write::bin(&mut out, &self.token);
        out
    }
}

impl fmt::Display for Invite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", URL_SAFE_NO_PAD.encode(self.encode()))
    }
}

impl FromStr for Invite {
    type Err = InviteError;
    fn from_str(text: &str) -> Result<Self, InviteError> {
        if text.len() > MAX_URI_CHARS {
            return Err(InviteError::TooLong);
        }
        let body = text.strip_prefix(SCHEME).ok_or(InviteError::Scheme)?;
        let bytes = URL_SAFE_NO_PAD.decode(body).map_err(|_| InviteError::Encoding)?;
        let mut r = Reader::new(&bytes);
        r.array_of(7, "invite")?;
        match r.u8("version")? {
            VERSION => {}
            other => return Err(WireError::Version(other).into()),
        }
        let invite = Self {
            account: r.account("account")?,
            identity_key: r.fixed("identity key")?,
            record_hash: r.fixed("record hash")?,
            reach: r.bin("reach")?.to_vec(),
            mailbox: if r.nil() { None } else { Some(r.str("mailbox")?.to_owned()) },
            token: r.fixed("token")?,
        };
        r.finish("invite")?;
        Ok(invite)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn invite() -> Invite {
        Invite {
            account: AccountId([1; 16]),
            identity_key: [2; 32],
            record_hash: [3; 32],
            reach: vec![4; 300],
            mailbox: Some("https://example.org/".into()),
            token: [5; 32],
        }
    }

    #[test]
    fn an_invite_is_one_word_that_can_be_read_back() {
        let text = invite().to_string();
        assert!(text.starts_with("chat:") && !text.contains(char::is_whitespace) && text.len() < MAX_URI_CHARS);
        assert_eq!(text.parse(), Ok(invite()));
        let bare = Invite { mailbox: None, reach: Vec::new(), ..invite() };
        assert_eq!(bare.to_string().parse(), Ok(bare));
    }

    #[test]
    fn what_is_damaged_is_said() {
        let text = invite().to_string();
        assert_eq!("bob".parse::<Invite>(), Err(InviteError::Scheme));
        assert_eq!("chat:***".parse::<Invite>(), Err(InviteError::Encoding));
        assert!(matches!(text[..text.len() - 8].parse::<Invite>(), Err(InviteError::Content(_))));
        assert_eq!(format!("{text}{}", "A".repeat(MAX_URI_CHARS)).parse::<Invite>(), Err(InviteError::TooLong));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = text.parse::<Invite>();
            let _ = format!("chat:{}", URL_SAFE_NO_PAD.encode(bytes)).parse::<Invite>();
        }
    }
}
