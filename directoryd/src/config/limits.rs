//! What the operator decides of how much one may ask: the table `[limits]`.

daemonkit::settings! {
    /// Requests that one address, or one member, may make. Loopback is exempt unless [`limit_loopback`](super::Config::limit_loopback).
    pub struct Limits {
        /// Requests of any kind at once.
        request_burst: u32 = 3_000,
        /// Requests of any kind a minute, after the burst.
        request_per_minute: u32 = 3_000,
        /// New names at once.
        register_burst: u32 = 30,
        /// New names an hour, after the burst.
        register_per_hour: u32 = 10,
        /// Lookups at once.
        lookup_burst: u32 = 300,
        /// Lookups a minute, after the burst.
        lookup_per_minute: u32 = 60,
        /// Requests of a member's session a minute.
        member_per_minute: u32 = 600,
        /// Deposits with a contact's token at once.
        deposit_burst: u32 = 600,
        /// Deposits with a contact's token a minute, after the burst.
        deposit_per_minute: u32 = 600,
    }
}
