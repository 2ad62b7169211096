//! Records, reaches and statements of membership. A signature would stop every change at the door, so that bodies are signed here: what is fuzzed
//! is what comes behind the door. The first byte chooses which.
#![no_main]

use ed25519_dalek::Signer;
use fuzz::{key, record};
use libfuzzer_sys::fuzz_target;
use proto::directory::membership::MEMBERSHIP_SECONDS;
use proto::directory::{Membership, SignedMembership, SignedReach, SignedRecord, supersedes};

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 6 {
        0 => {
            if let Ok(signed) = SignedRecord::decode(data) {
                assert_eq!(signed.encode(), data, "a record has one encoding");
                look_at(&signed);
            }
        }
        1 => look_at(&SignedRecord { body: data.to_vec(), signature: key(1).sign(data).to_bytes() }),
        2 => {
            if let Ok(signed) = SignedReach::decode(data) {
                let _ = signed.peek();
                let _ = signed.verify(&record(1));
            }
        }
        3 => {
            let [device, node] = [10, 20].map(|seed| key(seed).sign(data).to_bytes());
            let signed = SignedReach { body: data.to_vec(), device_signature: device, node_signature: node };
            let seen = signed.peek();
            if let Ok(reach) = signed.verify(&record(1)) {
                assert_eq!(seen.as_ref(), Ok(&reach));
                let again = SignedReach::sign(&reach, &key(10), &key(20)).expect("what was taken can be signed");
                assert_eq!(again.verify(&record(1)), Ok(reach));
            }
        }
        4 => {
            if let Ok(signed) = SignedMembership::decode(data) {
                assert_eq!(signed.encode(), data, "a statement has one encoding");
                if let Some(said) = signed.peek().ok().and_then(|said| taken(&signed, &said)) {
                    assert_eq!(SignedMembership::sign(&said, &key(1)), signed, "nobody else has signed it");
                }
            }
        }
        _ => {
            let signed = SignedMembership { body: data.to_vec(), signature: key(1).sign(data).to_bytes() };
            let Ok(said) = signed.peek() else { return };
            if let Some(said) = taken(&signed, &said) {
                assert!(said.expires - said.issued <= MEMBERSHIP_SECONDS && !said.origin.is_empty());
                let again = SignedMembership::sign(&said, &key(1));
                assert_eq!(taken(&again, &said), Some(said));
            }
        }
    }
});

/// What a statement proves to whoever knows directory 1 for the domain that it names, when it was made.
fn taken(signed: &SignedMembership, said: &Membership) -> Option<Membership> {
    signed.verify(&fuzz::public(1), &said.origin, said.account, said.issued).ok()
}

fn look_at(signed: &SignedRecord) {
    let seen = signed.peek();
    let Ok(taken) = signed.verify() else { return };
    assert_eq!(seen.as_ref(), Ok(&taken));
    if taken.identity_key == fuzz::public(1) {
        let again = SignedRecord::sign(&taken, &key(1)).expect("what was taken can be signed");
        assert_eq!(again.verify().as_ref(), Ok(&taken));
    }
    assert!(supersedes(&taken, &taken).is_err(), "a record takes its own place");
    let _ = supersedes(&record(1), &taken);
}
