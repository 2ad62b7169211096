//! Frames of the session between a member and its directory: JSON text frames on the WebSocket `GET /v1/session`.

use serde::{Deserialize, Serialize};

use super::api::{Base64, ErrorCode};
use crate::ids::{AccountId, DeviceId, Hex32, LogId, NodeId};

/// The first frame on `GET /v1/session`, from the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionHello {
    /// Whose session.
    pub account: AccountId,
    /// Of which device.
    pub device: DeviceId,
    /// From `GET /v1/nonce`.
    pub nonce: Base64,
    /// By the device key over [`super::api::session_message`].
    pub signature: Base64,
    /// The token of this process's session before, if there was one: tells a reconnect from a clone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The number of this session, 1 to [`MAX_SESSION_NUMBER`], by the device's own count: it keeps the number before it says it, so
    /// that a device that is killed meanwhile has skipped one, and never has one twice. Without it the directory counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

/// The highest number of a session: 2^53 - 1, the highest integer that is exact in JSON everywhere (RFC 8259, section 6).
pub const MAX_SESSION_NUMBER: u64 = (1 << 53) - 1;

/// The relay of a directory. It is at the directory's own URL and with its own certificate: whoever believes the directory believes it,
/// and nobody can name another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayOffer {
    /// The UDP port of QUIC address discovery on the same machine; none where no TLS is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery_port: Option<u16>,
}

/// The first frame of somebody who is no member here, and wants to be told who of its contacts is: `{"guest": true}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestHello {
    /// True.
    pub guest: bool,
    /// The node that it may want to use the relay with, to reach those contacts: 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

/// What a client says in a session, after the hello. A guest says `watch` and `unwatch`, `follow`, `unfollow` and `read`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// Deposit tokens of contacts that hold from now on, and that no longer do; hex of [`super::api::token_hash`].
    Tokens {
        /// New ones.
        #[serde(default)]
        add: Vec<String>,
        /// Revoked ones.
        #[serde(default)]
        remove: Vec<String>,
    },
    /// Tell me of these accounts' presence: at once, and at each change.
    Watch {
        /// Each with the deposit token that proves that it may be told.
        accounts: Vec<Watch>,
    },
    /// No longer.
    Unwatch {
        /// Which.
        accounts: Vec<AccountId>,
    },
    /// Push what lies in the mailbox for this device, and from now on what comes: first all that lies there and was
    /// not pushed or was released in this session.
    Mailbox,
    /// These are committed here, and may go.
    Delete {
        /// At most [`super::api::MAX_DELETE_NUMBERS`].
        numbers: Vec<u64>,
        /// By the device key over [`super::api::delete_message`].
        signature: Base64,
    },
    /// These could not be stored now: they stay, no longer count as under way, and are pushed again in the next session
    /// or after another `mailbox`.
    Release {
        /// At most [`super::api::MAX_DELETE_NUMBERS`].
        numbers: Vec<u64>,
    },
    /// Push the entries of this log, and from now on what comes. Said again, it begins from there again.
    Follow {
        /// Which.
        log: LogId,
        /// The token that reads.
        token: Base64,
        /// Numbers above this one.
        after: u64,
    },
    /// No longer.
    Unfollow {
        /// Which.
        logs: Vec<LogId>,
    },
    /// Everything of this log that was pushed up to this number is committed here.
    Read {
        /// Which.
        log: LogId,
        /// The number.
        upto: u64,
    },
}

/// See [`ClientFrame::Watch`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// Who.
    pub account: AccountId,
    /// The 32 bytes that they gave to this contact.
    pub token: Base64,
}

/// What the directory says in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The session stands.
    Ready {
        /// The bearer token for REST requests; lives as long as the session.
        token: String,
        /// The number of this session: the hello's, if that is higher than all that the directory knows of this device; else one more
        /// than it knows. Then the device went back in time.
        session_counter: u64,
        /// The highest number that the directory knew before. If it is lower than one that it told before, the directory went back.
        counted: u64,
        /// The seq of the account's stored record.
        record_seq: u64,
        /// The directory's relay, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<RelayOffer>,
        /// The directory's clock in Unix seconds.
        time: i64,
    },
    /// The session of a guest stands. It ends unless the guest may soon watch somebody.
    Welcome {
        /// The directory's relay, if it has one; it lets the guest's node in while the guest may watch somebody.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        relay: Option<RelayOffer>,
        /// The directory's clock in Unix seconds.
        time: i64,
    },
    /// The answer to a `tokens` frame, once it is durable.
    TokensStored {
        /// How many tokens the account has now.
        count: u64,
    },
    /// Presence of a watched account. One that may not be told looks offline.
    Presence {
        /// Who.
        account: AccountId,
        /// Whether a device is connected.
        online: bool,
        /// Since when, in Unix seconds, if known.
        since: Option<i64>,
    },
    /// All that lay in the mailbox when the client asked for it was pushed.
    Drained {
        /// The highest number of it; 0 if nothing lay there.
        upto: u64,
    },
    /// The answer to a `delete` frame, once it is durable. Numbers that do not lie there are named as well.
    Deleted {
        /// Those of the frame.
        numbers: Vec<u64>,
    },
    /// The answer to a `follow`, before anything is pushed; and again when the token that it showed is no longer in force.
    Head {
        /// Of which log.
        log: LogId,
        /// Entries so far; null for an old token, which is pushed events and keys only.
        number: Option<u64>,
        /// The running hash there.
        hash: Option<Hex32>,
        /// The number of the newest event, or 0.
        event: u64,
    },
    /// This log cannot be followed: it is not there, or not for this token.
    Gone {
        /// Which.
        log: LogId,
    },
    /// Two live sessions have one device key: a copy of the data is running. The older session is closed.
    Cloned,
    /// The session ends, or the last frame was refused.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// A frame that is newer than this program.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_documented_json() {
        let watch =
            ClientFrame::Watch { accounts: vec![Watch { account: AccountId([1; 16]), token: Base64(vec![255; 2]) }] };
        assert_eq!(
            serde_json::to_string(&watch).unwrap(),
            r#"{"type":"watch","accounts":[{"account":"01010101010101010101010101010101","token":"__8"}]}"#
        );
        assert_eq!(serde_json::to_string(&ServerFrame::Cloned).unwrap(), r#"{"type":"cloned"}"#);
        assert_eq!(serde_json::to_string(&GuestHello { guest: true, node: None }).unwrap(), r#"{"guest":true}"#);
        let member = r#"{"account":"01010101010101010101010101010101","guest":true}"#;
        assert!(serde_json::from_str::<GuestHello>(member).is_err(), "who is a member is no guest");
        assert_eq!(serde_json::from_str::<ServerFrame>(r#"{"type":"new","x":1}"#).unwrap(), ServerFrame::Unknown);
        assert_eq!(
            serde_json::from_str::<ClientFrame>(r#"{"type":"tokens","add":["aa"]}"#).unwrap(),
            ClientFrame::Tokens { add: vec!["aa".into()], remove: vec![] }
        );
        assert_eq!(serde_json::to_string(&ClientFrame::Mailbox).unwrap(), r#"{"type":"mailbox"}"#);
        let delete = ClientFrame::Delete { numbers: vec![1, u64::MAX], signature: Base64(vec![255; 2]) };
        assert_eq!(
            serde_json::to_string(&delete).unwrap(),
            r#"{"type":"delete","numbers":[1,18446744073709551615],"signature":"__8"}"#
        );
        assert_eq!(serde_json::to_string(&ServerFrame::Drained { upto: 7 }).unwrap(), r#"{"type":"drained","upto":7}"#);
    }
}
