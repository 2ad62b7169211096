//! The figures of every limit that the daemon enforces, as the `[limits]` table of its configuration.
//!
//! The defaults are those of docs/security.md. A limit of zero is a typing error, not a wish, and is refused.

use std::num::NonZeroU32;

use serde::Deserialize;

const fn n(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}

/// What a daemon grants. Every field may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Links accepted from other nodes at one time.
    pub connections: NonZeroU32,
    /// Of these, links over which nobody has made a claim yet.
    pub connections_unauthenticated: NonZeroU32,
    /// Of these, links from one IP address.
    pub connections_per_address: NonZeroU32,
    /// Seconds for a TLS handshake.
    pub handshake_seconds: NonZeroU32,
    /// Seconds from the handshake to the first whole frame.
    pub first_frame_seconds: NonZeroU32,
    /// Bytes a second below which a frame that has begun is given up.
    pub frame_bytes_per_second: NonZeroU32,
    /// Inbound bytes a second from a node with a contact on it. Far above what honest bulk needs: 50,000 messages of 100
    /// bytes a second are about 16 MB.
    pub known_node_bytes_per_second: NonZeroU32,
    /// Inbound bytes a second from any other node.
    pub stranger_node_bytes_per_second: NonZeroU32,
    /// Envelopes a minute from a node with no contact on it, counted before they are decrypted.
    pub stranger_envelopes_per_minute: NonZeroU32,
    /// Malformed or undecryptable envelopes a minute after which a node is dropped.
    pub failures_per_minute: NonZeroU32,
    /// Seconds for which it stays dropped.
    pub failure_ban_seconds: NonZeroU32,
    /// Contact requests an hour from one identity to one account. Requests with a valid invite are not counted in any
    /// of the three.
    pub requests_per_identity_per_hour: NonZeroU32,
    /// Contact requests an hour from one domain to one account.
    pub requests_per_domain_per_hour: NonZeroU32,
    /// Contact requests an hour to one account.
    pub requests_per_hour: NonZeroU32,
    /// Contact requests of one account that wait for an answer.
    pub pending_requests: NonZeroU32,
    /// Messages of one contact that are stored in a day, and KiB of them. What is beyond stays with its sender, who is told.
    pub contact_messages_per_day: NonZeroU32,
    /// See there.
    pub contact_kib_per_day: NonZeroU32,
    /// Messages of one contact that are stored in all, less what was forgotten, and KiB of them.
    pub contact_messages: NonZeroU32,
    /// See there.
    pub contact_kib: NonZeroU32,
    /// Clients on the local socket.
    pub rpc_clients: NonZeroU32,
    /// Of these, clients of one local user.
    pub rpc_clients_per_uid: NonZeroU32,
    /// Accounts of one local user.
    pub accounts_per_uid: NonZeroU32,
    /// Keys (nodes, identities, domains) that each limiter remembers; what is more shares one allowance.
    pub limiter_keys: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: n(256),
            connections_unauthenticated: n(64),
            connections_per_address: n(4),
            handshake_seconds: n(5),
            first_frame_seconds: n(10),
            frame_bytes_per_second: n(1_024),
            known_node_bytes_per_second: n(64 << 20),
            stranger_node_bytes_per_second: n(2 << 20),
            stranger_envelopes_per_minute: n(60),
            failures_per_minute: n(10),
            failure_ban_seconds: n(600),
            requests_per_identity_per_hour: n(3),
            requests_per_domain_per_hour: n(10),
            requests_per_hour: n(30),
            pending_requests: n(64),
            contact_messages_per_day: n(1_000_000),
            contact_kib_per_day: n(1 << 20),
            contact_messages: n(10_000_000),
            contact_kib: n(8 << 20),
            rpc_clients: n(32),
            rpc_clients_per_uid: n(8),
            accounts_per_uid: n(8),
            limiter_keys: n(16_384),
        }
    }
}

/// What may be stored of one contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Messages a day.
    pub messages_a_day: i64,
    /// Bytes a day.
    pub bytes_a_day: i64,
    /// Messages in all.
    pub messages: i64,
    /// Bytes in all.
    pub bytes: i64,
}

impl Limits {
    /// What may be stored of one contact.
    pub fn quotas(&self) -> Quotas {
        let count = |value: NonZeroU32| i64::from(value.get());
        Quotas {
            messages_a_day: count(self.contact_messages_per_day),
            bytes_a_day: count(self.contact_kib_per_day) << 10,
            messages: count(self.contact_messages),
            bytes: count(self.contact_kib) << 10,
        }
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Limits::default().quotas()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_table_is_the_default_and_fields_stand_alone() {
        assert_eq!(toml::from_str::<Limits>("").unwrap(), Limits::default());
        let limits: Limits = toml::from_str("connections = 2000\nconnections_unauthenticated = 1000").unwrap();
        assert_eq!(
            limits,
            Limits { connections: n(2_000), connections_unauthenticated: n(1_000), ..Limits::default() }
        );
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = toml::from_str::<Limits>("conections = 5").unwrap_err().to_string();
        assert!(unknown.contains("conections") && unknown.contains("`connections`"), "{unknown}");
        let zero = toml::from_str::<Limits>("connections = 0").unwrap_err().to_string();
        assert!(zero.contains("nonzero"), "{zero}");
        assert!(toml::from_str::<Limits>("connections = -1").is_err());
    }
}
