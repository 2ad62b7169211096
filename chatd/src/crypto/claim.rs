//! The claim that opens a link for one pair of devices: a signature bound to this very TLS session.
//!
//! The exporter binds it to the session, so that it cannot be carried to another; the node ids stand in
//! dialler-acceptor order, so that it cannot be played back to the one who made it.

use proto::ids::{DeviceId, NodeId};

use super::CryptoError;
use super::keys::{SigningKey, verify};

const DOMAIN: &[u8] = b"chatd/claim/1\0";

/// A link as both of its ends see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session<'a> {
    /// 32 bytes of TLS keying material (RFC 5705), the same on both ends.
    pub exporter: &'a [u8; 32],
    /// The node that dialled.
    pub dialer: NodeId,
    /// The node that accepted.
    pub acceptor: NodeId,
}

/// `"chatd/claim/1\0" || exporter || dialler's node id || acceptor's node id || from device || to device`.
pub fn claim_message(exporter: &[u8; 32], dialer: NodeId, acceptor: NodeId, from: DeviceId, to: DeviceId) -> Vec<u8> {
    [DOMAIN, exporter, dialer.as_bytes(), acceptor.as_bytes(), from.as_bytes(), to.as_bytes()].concat()
}

/// "On this link I speak for the device of `key`, towards `to`."
pub fn sign_claim(key: &SigningKey, session: &Session<'_>, to: DeviceId) -> [u8; 64] {
    let from = DeviceId::of_key(&key.public());
    key.sign(&[&claim_message(session.exporter, session.dialer, session.acceptor, from, to)])
}

/// Checks a claim against the pinned key of the device that it names.
///
/// # Errors
/// [`CryptoError::WrongSigner`] when `device_key` is not the key of `from`, else as [`verify`].
pub fn verify_claim(
    device_key: &[u8; 32],
    session: &Session<'_>,
    from: DeviceId,
    to: DeviceId,
    signature: &[u8; 64],
) -> Result<(), CryptoError> {
    if DeviceId::of_key(device_key) != from {
        return Err(CryptoError::WrongSigner);
    }
    let message = claim_message(session.exporter, session.dialer, session.acceptor, from, to);
    verify(device_key, &[&message], signature)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_for_its_session_direction_and_devices_only() {
        let (alice, bob) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
        let (from, to) = (DeviceId::of_key(&alice.public()), DeviceId::of_key(&bob.public()));
        let session = Session { exporter: &[9; 32], dialer: NodeId([3; 32]), acceptor: NodeId([4; 32]) };
        let signature = sign_claim(&alice, &session, to);
        assert!(verify_claim(&alice.public(), &session, from, to, &signature).is_ok());

        let other_session = Session { exporter: &[8; 32], ..session };
        let reflected = Session { dialer: session.acceptor, acceptor: session.dialer, ..session };
        for (what, session, from, to) in [
            ("another session", &other_session, from, to),
            ("reflected", &reflected, from, to),
            ("another recipient", &session, from, from),
        ] {
            let result = verify_claim(&alice.public(), session, from, to, &signature);
            assert!(matches!(result, Err(CryptoError::BadSignature)), "{what}");
        }
        let stolen = verify_claim(&alice.public(), &session, to, to, &signature);
        assert!(matches!(stolen, Err(CryptoError::WrongSigner)));
        assert!(verify_claim(&bob.public(), &session, to, from, &signature).is_err());
    }

    #[test]
    fn the_message_is_the_documented_one() {
        let message = claim_message(&[1; 32], NodeId([2; 32]), NodeId([3; 32]), DeviceId([4; 16]), DeviceId([5; 16]));
        let expected = [&b"chatd/claim/1\0"[..], &[1; 32], &[2; 32], &[3; 32], &[4; 16], &[5; 16]].concat();
        assert_eq!(message, expected);
    }
}
