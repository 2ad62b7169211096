//! Why a link was not made, or is over.

use std::fmt;
use std::net::SocketAddr;

use iroh::endpoint::{ConnectionError, TransportErrorCode};
use proto::ids::NodeId;
use proto::wire::WireError;
use proto::wire::frame::RefuseCode;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What can fail here.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The configuration cannot be used.
    #[error("link configuration: {0}")]
    Config(String),
    /// No socket.
    #[error("cannot listen on {}; is the port taken by another program?", show(.listen))]
    Bind {
        /// What was asked for.
        listen: Vec<SocketAddr>,
        /// Why not.
        #[source]
        source: Source,
    },
    /// The id is no Ed25519 key.
    #[error("{0} is not the id of any node")]
    NoSuchNode(NodeId),
    /// Accounts of one node meet through [`in_process_pair`](super::in_process_pair).
    #[error("a node does not dial itself")]
    OwnNode,
    /// Nowhere to dial.
    #[error("no address of node {0} is known")]
    NoAddress(NodeId),
    /// The dial failed below the link protocol.
    #[error("cannot connect to node {peer}")]
    Dial {
        /// Whom.
        peer: NodeId,
        /// Why not.
        #[source]
        source: Source,
    },
    /// No answer in time.
    #[error("node {0} does not answer")]
    DialTimeout(NodeId),
    /// The peer answered, and refused.
    #[error("the peer refused the link: {}", .0.as_str())]
    Refused(RefuseCode),
    /// No link version in common.
    #[error("the peer speaks link versions {theirs:?}, none of which is spoken here")]
    Version {
        /// What the peer offered.
        theirs: Vec<u8>,
    },
    /// A frame larger than the format allows, ours or the peer's.
    #[error("a frame of {size} bytes is larger than {limit}", limit = proto::wire::MAX_FRAME_BYTES)]
    FrameTooLarge {
        /// Bytes, without the length prefix.
        size: usize,
    },
    /// The peer's bytes are no frame.
    #[error("the peer sent no valid frame")]
    Malformed(#[source] WireError),
    /// The peer broke the order of frames.
    #[error("the peer broke the link protocol: {0}")]
    Protocol(&'static str),
    /// The peer was too slow at something that it had begun.
    #[error("the peer was too slow: {0}")]
    TooSlow(&'static str),
    /// The send queue is full ([`LinkSender::try_send`](super::LinkSender::try_send) only).
    #[error("the send queue of the link is full")]
    Full,
    /// A dial failed that several had asked for.
    #[error("{0}")]
    Unreached(String),
    /// The link is over.
    #[error("the link is closed: {0}")]
    Closed(CloseReason),
}

fn show(listen: &[SocketAddr]) -> String {
    listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl LinkError {
    /// The code that tells the peer about an error of its making.
    pub(super) fn close_code(&self) -> CloseCode {
        match self {
            Self::FrameTooLarge { .. } | Self::Malformed(_) | Self::Protocol(_) => CloseCode::Malformed,
            Self::Version { .. } => CloseCode::Version,
            Self::TooSlow(_) => CloseCode::TooSlow,
            _ => CloseCode::Normal,
        }
    }

    /// An end during the dial: a refusal when the peer gave one.
    pub(super) fn from_end(reason: CloseReason) -> Self {
        match (reason.origin, reason.code.refusal()) {
            (CloseOrigin::Peer, Some(code)) => Self::Refused(code),
            _ => Self::Closed(reason),
        }
    }
}

/// Which side ended a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseOrigin {
    /// This side.
    Local,
    /// The peer, on purpose.
    Peer,
    /// Neither: the path or the peer's machine is gone.
    Transport,
}

/// Why a link is closed: the application error code of the QUIC close. docs/wire.md lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// Nothing more to say.
    Normal,
    /// Not used for a while; dial again on need.
    Idle,
    /// The node stops.
    ShuttingDown,
    /// Another link between the two took over.
    Replaced,
    /// Over a cap.
    Busy,
    /// Over a rate limit.
    RateLimited,
    /// No version in common.
    Version,
    /// The bytes break the format.
    Malformed,
    /// A limit in time was missed.
    TooSlow,
    /// Cannot work now: disk full, for instance.
    Unavailable,
    /// The path was lost; never on the wire.
    Lost,
    /// A code that this version does not know.
    Other,
}

impl CloseCode {
    const WIRE: [(Self, u32); 10] = [
        (Self::Normal, 0),
        (Self::Idle, 1),
        (Self::ShuttingDown, 2),
        (Self::Replaced, 3),
        (Self::Busy, 16),
        (Self::RateLimited, 17),
        (Self::Version, 18),
        (Self::Malformed, 19),
        (Self::TooSlow, 20),
        (Self::Unavailable, 21),
    ];

    pub(super) fn to_wire(self) -> u32 {
        Self::WIRE.iter().find(|(code, _)| *code == self).map_or(0, |(_, n)| *n)
    }

    fn from_wire(wire: u64) -> Self {
        Self::WIRE.iter().find(|(_, n)| u64::from(*n) == wire).map_or(Self::Other, |(code, _)| *code)
    }

    /// Whether the link ended in good order: what was received is all that was sent.
    pub fn is_orderly(self) -> bool {
        matches!(self, Self::Normal | Self::Idle | Self::ShuttingDown | Self::Replaced)
    }

    /// The refusal that goes ahead of a close with this code, if any.
    pub(super) fn refusal(self) -> Option<RefuseCode> {
        match self {
            Self::Busy => Some(RefuseCode::Busy),
            Self::RateLimited => Some(RefuseCode::RateLimited),
            Self::Version => Some(RefuseCode::Version),
            Self::Malformed => Some(RefuseCode::Malformed),
            Self::Unavailable => Some(RefuseCode::Unavailable),
            _ => None,
        }
    }

    /// The word for logs and `trace`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Idle => "idle",
            Self::ShuttingDown => "shutting_down",
            Self::Replaced => "replaced",
            Self::Busy => "busy",
            Self::RateLimited => "rate_limited",
            Self::Version => "version",
            Self::Malformed => "malformed",
            Self::TooSlow => "too_slow",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
            Self::Other => "other",
        }
    }
}

/// How a link ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseReason {
    /// Who ended it.
    pub origin: CloseOrigin,
    /// Why.
    pub code: CloseCode,
    /// Why, in words; a peer's words are cut and stripped of control characters, and still nothing to trust.
    pub text: String,
}

/// Characters of a peer's reason that are kept.
const MAX_REASON_CHARS: usize = 200;

impl CloseReason {
    pub(super) fn local(code: CloseCode, text: impl Into<String>) -> Self {
        Self { origin: CloseOrigin::Local, code, text: text.into() }
    }

    pub(super) fn peer(code: CloseCode, text: &str) -> Self {
        let text = text.chars().filter(|c| !c.is_control()).take(MAX_REASON_CHARS).collect();
        Self { origin: CloseOrigin::Peer, code, text }
    }

    fn lost(text: impl Into<String>) -> Self {
        Self { origin: CloseOrigin::Transport, code: CloseCode::Lost, text: text.into() }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who = match self.origin {
            CloseOrigin::Local => "by this side",
            CloseOrigin::Peer => "by the peer",
            CloseOrigin::Transport => "path lost",
        };
        write!(f, "{who}, {}", self.code.as_str())?;
        if self.text.is_empty() { Ok(()) } else { write!(f, ": {}", self.text) }
    }
}

impl From<ConnectionError> for CloseReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::peer(CloseCode::from_wire(close.error_code.into_inner()), &String::from_utf8_lossy(&close.reason))
            }
            // What `Incoming::refuse` sends: the peer is over a cap and made no state for us.
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Self::peer(CloseCode::Busy, "refused before the handshake")
            }
            ConnectionError::LocallyClosed => Self::local(CloseCode::Normal, ""),
            other => Self::lost(other.to_string()),
        }
    }
}
