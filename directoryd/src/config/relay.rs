//! What the operator decides of the relay: the table `[relay]`.

/// The port of QUIC address discovery that clients expect.
const DISCOVERY_PORT: u16 = 7842;
/// Bytes a second below which not even the handshake between two nodes would get through in time.
const MIN_BYTES_PER_SECOND: u32 = 16 * 1024;

daemonkit::settings! {
    /// The relay: it passes packets between nodes that do not reach each other, and sees ciphertext.
    pub struct RelaySettings {
        /// Whether there is one. It serves on the port of everything else; `--no-relay` switches it off.
        enabled: bool = true,
        /// The UDP port, on the address of `listen`, where nodes learn by which address others see them, without which none gets
        /// through a NAT directly; 0 takes any free one, and so does a `listen` with port 0. It is served where the directory itself serves https.
        discovery_port: u16 = DISCOVERY_PORT,
        /// Nodes that use it at once, and connections to the discovery port at once.
        connections: usize = 4_096,
        /// Connections of one node at once; a further one ends the oldest. A node that moves to another network leaves one behind.
        connections_per_node: usize = 3,
        /// Bytes a second that are taken of one connection, and twice as many at once; what comes faster waits at its sender.
        bytes_per_second: u32 = 4 << 20,
    }
}

impl RelaySettings {
    /// Checks the values.
    ///
    /// # Errors
    /// What to change.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.connections == 0 || self.connections_per_node == 0 {
            let text = "a limit of 0 would refuse every node; relay.enabled = false switches the relay off";
            return Err(text.into());
        }
        if self.bytes_per_second < MIN_BYTES_PER_SECOND {
            let text =
                format!("relay.bytes_per_second is {MIN_BYTES_PER_SECOND} at least: less would let nobody through");
            return Err(text);
        }
        Ok(())
    }
}
