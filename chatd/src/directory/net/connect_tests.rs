//! Machines have their turn.

use super::*;

#[test]
fn the_error_that_says_most_is_told() {
    let address = "192.0.2.1:7470".parse().unwrap();
    let refused = ConnectError::Refused { address, reason: "refused".into() };
    let untrusted = ConnectError::from(TrustError::Expired);
    let told = most_telling(vec![ConnectError::Slow(MACHINE_TIMEOUT), refused, untrusted], "x");
    assert!(matches!(told, ConnectError::NotTrusted(_)));
}
