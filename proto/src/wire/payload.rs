//! What a core carries, by kind.

use super::reader::write;
use super::{MAX_REQUEST_TEXT_BYTES, MAX_TEXT_BYTES, Reader, WireError};
use crate::ids::MessageId;

/// The kinds of core that this version knows. A peer's unknown kind inside the chain is stored unseen, so that the chain
/// goes on; an unknown kind outside of it is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A message: [`Text`]. In the chain.
    Text,
    /// The named range of seqs will never come: [`Skip`]. Takes a seq itself.
    Skip,
    /// "May I write to you": [`ContactCard`]. The only kind valid from an unpinned signer.
    ContactRequest,
    /// "You may": [`ContactCard`].
    ContactAccept,
    /// "No": empty payload.
    ContactReject,
    /// The contact ended it: empty payload.
    ContactRemove,
    /// Messages were read: [`Receipt`].
    Receipt,
    /// The sender's profile: [`Profile`].
    Profile,
}

impl Kind {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Text, "text"),
        (Self::Skip, "skip"),
        (Self::ContactRequest, "contact.request"),
        (Self::ContactAccept, "contact.accept"),
        (Self::ContactReject, "contact.reject"),
        (Self::ContactRemove, "contact.remove"),
        (Self::Receipt, "receipt"),
        (Self::Profile, "profile"),
    ];

    /// Words that later versions give a meaning, all in the chain: a message is changed, taken back, or answered with a sign.
    /// This version takes them as it takes any unknown kind there, and sends none; nothing else may ever be called so.
    pub const RESERVED: [&str; 3] = ["edit", "delete", "react"];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// The kind of a word; `None` if this version knows none.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == word).map(|(kind, _)| *kind)
    }

    /// Whether cores of this kind carry a seq (and with it are ordered, acknowledged by mark, and resent until they are).
    pub fn in_chain(self) -> bool {
        matches!(self, Self::Text | Self::Skip)
    }
}

/// A message's content: `[body, format, priority, tags, reply_to]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'a> {
    /// UTF-8, at most [`MAX_TEXT_BYTES`]; may be empty.
    pub body: &'a str,
    /// 0 plain, 1 markdown.
    pub format: u8,
    /// 0 low, 1 normal, 2 high.
    pub priority: u8,
    /// At most [`Text::MAX_TAGS`], each at most [`Text::MAX_TAG_BYTES`] long.
    pub tags: Vec<&'a str>,
    /// The message that this one answers.
    pub reply_to: Option<MessageId>,
}

impl<'a> Text<'a> {
    /// Tags on one message at most.
    pub const MAX_TAGS: usize = 16;
    /// Bytes of one tag at most.
    pub const MAX_TAG_BYTES: usize = 64;

    /// See the type.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 32);
        write::array(&mut out, 5);
        write::str(&mut out, self.body);
        write::uint(&mut out, self.format.into());
        write::uint(&mut out, self.priority.into());
        write::array(&mut out, self.tags.len());
        for tag in &self.tags {
            write::str(&mut out, tag);
        }
        match &self.reply_to {
            Some(id) => write::bin(&mut out, id.as_bytes()),
            None => write::nil(&mut out),
        }
        out
    }

    /// Reads what [`Text::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format or the limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(5, "text")?;
        let body = r.str("text body")?;
        if body.len() > MAX_TEXT_BYTES {
            return Err(WireError::TooLarge { what: "text", size: body.len(), limit: MAX_TEXT_BYTES });
        }
        let (format, priority) = (r.u8("format")?, r.u8("priority")?);
        let count = r.array("tags")?;
        if count > Self::MAX_TAGS {
            return Err(WireError::Malformed("tags"));
        }
        let tags = (0..count).map(|_| r.str("tag")).collect::<Result<Vec<_>, _>>()?;
        if tags.iter().any(|tag| tag.len() > Self::MAX_TAG_BYTES) {
            return Err(WireError::Malformed("tag"));
        }
        let reply_to = if r.nil() { None } else { Some(r.message("reply_to")?) };
        r.finish("text")?;
        Ok(Self { body, format, priority, tags, reply_to })
    }
}

/// Seqs that will never come: `[low, high, reason]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip<'a> {
    /// First skipped seq.
    pub low: u64,
    /// Last skipped seq.
    pub high: u64,
    /// Why, for display.
    pub reason: &'a str,
}

impl<'a> Skip<'a> {
    /// See the type.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write::array(&mut out, 3);
        write::uint(&mut out, self.low);
        write::uint(&mut out, self.high);
        write::str(&mut out, self.reason);
        out
    }

    /// Reads what [`Skip::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(3, "skip")?;
        let skip = Self { low: r.u64("skip")?, high: r.u64("skip")?, reason: r.str("skip reason")? };
        r.finish("skip")?;
        if skip.low == 0 || skip.high < skip.low { Err(WireError::Malformed("skip")) } else { Ok(skip) }
    }
}

/// What both sides of a contact hand each other: `[record, reach, deposit token, invite token, text, membership]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactCard<'a> {
    /// A signed record's bytes.
    pub record: &'a [u8],
    /// A signed reach's bytes; empty when none is known yet.
    pub reach: &'a [u8],
    /// Lets the holder ask the directory for reach and presence, and deposit at the mailbox.
    pub deposit_token: [u8; 32],
    /// From an invite; requests only.
    pub invite_token: Option<[u8; 32]>,
    /// At most [`MAX_REQUEST_TEXT_BYTES`]; requests only.
    pub text: &'a str,
    /// A signed statement of the sender's directory that it is a member ([`crate::directory::membership`]); empty when there
    /// is none.
    pub membership: &'a [u8],
}

impl<'a> ContactCard<'a> {
    /// See the type.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.record.len() + self.reach.len() + self.text.len() + 96);
        write::array(&mut out, 6);
        write::bin(&mut out, self.record);
        write::bin(&mut out, self.reach);
        write::bin(&mut out, &self.deposit_token);
        match &self.invite_token {
            Some(token) => write::bin(&mut out, token),
            None => write::nil(&mut out),
        }
        write::str(&mut out, self.text);
        write::bin(&mut out, self.membership);
        out
    }

    /// Reads what [`ContactCard::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format or the limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(6, "contact card")?;
        let card = Self {
            record: r.bin("card record")?,
            reach: r.bin("card reach")?,
            deposit_token: r.fixed("deposit token")?,
            invite_token: if r.nil() { None } else { Some(r.fixed("invite token")?) },
            text: r.str("request text")?,
            membership: r.bin("membership")?,
        };
        r.finish("contact card")?;
        if card.text.len() > MAX_REQUEST_TEXT_BYTES {
            return Err(WireError::TooLarge {
                what: "request text",
                size: card.text.len(),
                limit: MAX_REQUEST_TEXT_BYTES,
            });
        }
        Ok(card)
    }
}

/// Everything of the counterpart up to a message was read: `[epoch, seq, id]` of that message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The stream's epoch.
    pub epoch: [u8; 8],
    /// Read up to this seq.
    pub seq: u64,
    /// The message with it.
    pub id: MessageId,
}

impl Receipt {
    /// See the type.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write::array(&mut out, 3);
        write::bin(&mut out, &self.epoch);
        write::uint(&mut out, self.seq);
        write::bin(&mut out, self.id.as_bytes());
        out
    }

    /// Reads what [`Receipt::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(3, "receipt")?;
        let receipt =
            Self { epoch: r.fixed("receipt epoch")?, seq: r.u64("receipt seq")?, id: r.message("receipt id")? };
        r.finish("receipt")?;
        Ok(receipt)
    }
}

/// How an account presents itself to its contacts: `[version, display_name, status, bio]`. The highest version wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile<'a> {
    /// Counts the account's changes.
    pub version: u64,
    /// At most [`Profile::MAX_DISPLAY_NAME_BYTES`].
    pub display_name: &'a str,
    /// At most [`Profile::MAX_STATUS_BYTES`].
    pub status: &'a str,
    /// At most [`Profile::MAX_BIO_BYTES`].
    pub bio: &'a str,
}

impl<'a> Profile<'a> {
    /// Bytes of a display name at most.
    pub const MAX_DISPLAY_NAME_BYTES: usize = 128;
    /// Bytes of a status at most.
    pub const MAX_STATUS_BYTES: usize = 256;
    /// Bytes of a bio at most.
    pub const MAX_BIO_BYTES: usize = 1_024;

    /// See the type.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        write::array(&mut out, 4);
        write::uint(&mut out, self.version);
        write::str(&mut out, self.display_name);
        write::str(&mut out, self.status);
        write::str(&mut out, self.bio);
        out
    }

    /// Reads what [`Profile::encode`] wrote.
    ///
    /// # Errors
    /// Any departure from the format or the limits.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        r.array_of(4, "profile")?;
        let profile = Self {
            version: r.u64("profile version")?,
            display_name: r.str("display name")?,
            status: r.str("status")?,
            bio: r.str("bio")?,
        };
        r.finish("profile")?;
        let fits = profile.display_name.len() <= Self::MAX_DISPLAY_NAME_BYTES
            && profile.status.len() <= Self::MAX_STATUS_BYTES
            && profile.bio.len() <= Self::MAX_BIO_BYTES;
        if fits { Ok(profile) } else { Err(WireError::Malformed("profile")) }
    }
}
