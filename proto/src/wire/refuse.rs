//! Why something is refused on a link.

/// Why a link, a claim or an envelope is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefuseCode {
    /// No such device here for you: unknown, logged out, or no contact of yours. One code for all, so that it tells nothing.
    Offline,
    /// The prekey was destroyed: seal to a newer one. Not a failure of the sender.
    PrekeyGone,
    /// Slow down: over a rate limit.
    RateLimited,
    /// Over a cap on connections or work.
    Busy,
    /// No version in common.
    Version,
    /// The frame or envelope breaks the format.
    Malformed,
    /// The message may be asked again later: the receiver could not store it (disk full, shutting down).
    Unavailable,
    /// The receiver stores no more of this sender today, or at all: its owner may forget some, or allow more.
    Quota,
    /// The envelope names a record of its sender under a number under which another is known here: two have the identity key.
    /// A newer record settles it.
    Record,
}

impl RefuseCode {
    pub(super) const ALL: [(Self, u8); 9] = [
        (Self::Offline, 1),
        (Self::PrekeyGone, 2),
        (Self::RateLimited, 3),
        (Self::Busy, 4),
        (Self::Version, 5),
        (Self::Malformed, 6),
        (Self::Unavailable, 7),
        (Self::Quota, 8),
        (Self::Record, 9),
    ];

    pub(super) fn to_wire(self) -> u8 {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or(0, |(_, n)| *n)
    }

    /// The word for logs and `trace`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::PrekeyGone => "prekey_gone",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Version => "version",
            Self::Malformed => "malformed",
            Self::Unavailable => "unavailable",
            Self::Quota => "quota",
            Self::Record => "record",
        }
    }
}
