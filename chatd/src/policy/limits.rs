//! The figures of every limit that the daemon enforces, as the tables `[limits]` and `[space]` of its configuration.
//!
//! The defaults are those of docs/security.md. A limit of zero is a typing error, not a wish, and is refused.

use std::num::NonZeroU32;

const fn n(value: u32) -> NonZeroU32 {
    match NonZeroU32::new(value) {
        Some(value) => value,
        None => NonZeroU32::MIN,
    }
}

daemonkit::settings! {
    /// What a daemon grants. Every field may be left out.
    pub struct Limits {
        /// Links accepted from other nodes at one time.
        connections: NonZeroU32 = n(256),
        /// Of these, links over which nobody has made a claim yet.
        connections_unauthenticated: NonZeroU32 = n(64),
        /// Of these, links from one IP address.
        connections_per_address: NonZeroU32 = n(4),
        /// Seconds for a TLS handshake.
        handshake_seconds: NonZeroU32 = n(5),
        /// Seconds from the handshake to the first whole frame.
        first_frame_seconds: NonZeroU32 = n(10),
        /// Bytes a second below which a frame that has begun is given up.
        frame_bytes_per_second: NonZeroU32 = n(1_024),
        /// Inbound bytes a second from a node with a contact on it. Far above what honest bulk needs: 50,000 messages of 100
        /// bytes a second are about 16 MB.
        known_node_bytes_per_second: NonZeroU32 = n(64 << 20),
        /// Inbound bytes a second from any other node.
        stranger_node_bytes_per_second: NonZeroU32 = n(2 << 20),
        /// Envelopes a minute from a node with no contact on it, counted before they are decrypted.
        stranger_envelopes_per_minute: NonZeroU32 = n(60),
        /// Malformed or undecryptable envelopes a minute after which a node is dropped.
        failures_per_minute: NonZeroU32 = n(10),
        /// Seconds for which it stays dropped.
        failure_ban_seconds: NonZeroU32 = n(600),
        /// Contact requests an hour from one identity to one account. Requests with a valid invite are not counted in any
        /// of the three.
        requests_per_identity_per_hour: NonZeroU32 = n(3),
        /// Contact requests an hour from one domain to one account. Only a domain that its directory's word proves is one; all
        /// others share one allowance.
        requests_per_domain_per_hour: NonZeroU32 = n(10),
        /// Contact requests an hour to one account.
        requests_per_hour: NonZeroU32 = n(30),
        /// Proof of work, in bits, by which 64 requests an hour pass that one of these limits refuses; 20 are a million hashes.
        /// It doubles with every 16; 24 is the most that anybody does.
        request_work_bits: NonZeroU32 = n(20),
        /// Contact requests of one account that wait for an answer; as many again with proof of work.
        pending_requests: NonZeroU32 = n(64),
        /// Clients on the local socket, of all users together.
        rpc_clients: NonZeroU32 = n(1_024),
        /// Clients that each local user has for certain. Who is alone may have more, up to three quarters of all.
        rpc_clients_per_uid: NonZeroU32 = n(16),
        /// Accounts of one local user.
        accounts_per_uid: NonZeroU32 = n(8),
        /// Keys (nodes, identities, domains) that each limiter remembers; what is more shares one allowance.
        limiter_keys: NonZeroU32 = n(16_384),
    }
}

daemonkit::settings! {
    /// Who may take how much of the disk. Every field may be left out.
    pub struct SpaceLimits {
        /// MiB that all accounts of one local user store at most: messages, contacts, events. Of a user who has it all nothing more
        /// is taken, and what others send stays with them; the index for searches comes on top, and can be deleted.
        user_mib: NonZeroU32 = n(64 << 10),
        /// Messages of one contact that are stored in a day. What is beyond stays with its sender, who is told.
        contact_messages_per_day: NonZeroU32 = n(1_000_000),
        /// KiB of one contact that are stored in a day.
        contact_kib_per_day: NonZeroU32 = n(1 << 20),
        /// Messages of one contact that are stored in all, less what was forgotten.
        contact_messages: NonZeroU32 = n(10_000_000),
        /// KiB of one contact that are stored in all.
        contact_kib: NonZeroU32 = n(8 << 20),
        /// Events that are kept for whoever asks; older ones go when the account is pruned, once a day. Messages never do.
        events: NonZeroU32 = n(200_000),
        /// Events that are kept for durable consumers which have not handled them, or have them among their dead letters.
        consumer_events: NonZeroU32 = n(1_000_000),
        /// Days after which a durable consumer is forgotten that handled nothing, if it lies more than `events` behind.
        consumer_days: NonZeroU32 = n(365),
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

/// What is kept of what is not kept for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Events, the newest.
    pub events: i64,
    /// Events that somebody still wants.
    pub consumer_events: i64,
    /// Of a consumer that handled nothing, in milliseconds.
    pub consumer_ms: i64,
}

impl SpaceLimits {
    /// Bytes of one local user.
    pub fn user_bytes(&self) -> u64 {
        u64::from(self.user_mib.get()) << 20
    }

    /// What is kept of what is not kept for ever.
    pub fn retention(&self) -> Retention {
        let count = |value: NonZeroU32| i64::from(value.get());
        Retention {
            events: count(self.events),
            consumer_events: count(self.consumer_events),
            consumer_ms: count(self.consumer_days) * 86_400_000,
        }
    }

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

impl Default for Retention {
    fn default() -> Self {
        SpaceLimits::default().retention()
    }
}

impl Default for Quotas {
    fn default() -> Self {
        SpaceLimits::default().quotas()
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
