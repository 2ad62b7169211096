//! Proof of work: what a stranger pays in processor time when a lane for strangers is full.
//!
//! A stamp is about one envelope: `seed = SHA-256("chatd/work/1\0" || suite (one byte) || to_device || prekey_id || ttl as
//! u32be || window as u64be || ciphertext)`, and `SHA-256(seed || nonce as u64be)` begins with so many zero bits. All that
//! an envelope says is in it, so that one stamp is good for one envelope. The ciphertext is sealed to its recipient and
//! signed inside by its sender, so a stamp is worth nothing for anybody else; the window is a piece of time of
//! [`WORK_WINDOW_SECONDS`], so that stamps cannot be made in store; and the same envelope again takes no room.
//!
//! SHA-256 because there is no better here: equix, which needs memory, is LGPL and compiles code at run time.

use sha2::block_api::compress256;
use sha2::{Digest, Sha256};

use super::envelope::Outer;
pub use super::stamp::{Stamp, WORK_WINDOW_SECONDS};

/// The most that anybody is asked for, and that a daemon does: 2^24 hashes, some seconds of one core.
pub const MAX_WORK_BITS: u8 = 24;

/// Where SHA-256 begins (FIPS 180-4, section 5.3.3).
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The window of a moment (Unix seconds).
pub fn window_of(now: i64) -> u64 {
    now.max(0).unsigned_abs() / WORK_WINDOW_SECONDS.unsigned_abs()
}

fn seed(outer: &Outer<'_>, window: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"chatd/work/1\0");
    hash.update([outer.suite]);
    hash.update(outer.to_device.as_bytes());
    hash.update(outer.prekey_id.as_bytes());
    hash.update(outer.ttl.to_be_bytes());
    hash.update(window.to_be_bytes());
    hash.update(outer.ciphertext);
    hash.finalize().into()
}

fn zero_bits(seed: &[u8; 32], nonce: u64) -> u32 {
    // One block with its padding (FIPS 180-4, section 5.1.1): the general interface takes twice as long.
    let mut block = [0; 64];
    block[..32].copy_from_slice(seed);
    block[32..40].copy_from_slice(&nonce.to_be_bytes());
    block[40] = 0x80;
    block[62..].copy_from_slice(&(40u16 * 8).to_be_bytes());
    let mut state = INITIAL;
    compress256(&mut state, &[block]);
    (u64::from(state[0]) << 32 | u64::from(state[1])).leading_zeros()
}

/// How much work an envelope shows, in bits, if its stamp is of a window in `from..=to`; else 0.
pub fn shown(outer: &Outer<'_>, from: u64, to: u64) -> u8 {
    match outer.work {
        Some(stamp) if (from..=to).contains(&stamp.window) => {
            u8::try_from(zero_bits(&seed(outer, stamp.window), stamp.nonce)).unwrap_or(u8::MAX)
        }
        _ => 0,
    }
}

/// Looks for a stamp, on the calling thread; `None` when `go_on` says stop, which is asked every few thousand tries.
pub fn solve(outer: &Outer<'_>, bits: u8, window: u64, mut go_on: impl FnMut() -> bool) -> Option<Stamp> {
    const TRIES: u64 = 4_096;
    let seed = seed(outer, window);
    let mut nonce = 0;
    while go_on() {
        for _ in 0..TRIES {
            if zero_bits(&seed, nonce) >= u32::from(bits) {
                return Some(Stamp { window, nonce });
            }
            nonce = nonce.checked_add(1)?;
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ids::{DeviceId, PrekeyId};

    const OUTER: Outer<'static> = Outer {
        suite: 2,
        to_device: DeviceId([0xd2; 16]),
        prekey_id: PrekeyId([0x99; 8]),
        ttl: 60,
        ciphertext: b"age",
        work: None,
    };

    #[test]
    fn a_stamp_holds_for_its_envelope_and_its_time_only() {
        let stamp = solve(&OUTER, 12, 100, || true).unwrap();
        let stamped = Outer { work: Some(stamp), ..OUTER };
        assert!(shown(&stamped, 99, 100) >= 12 && shown(&stamped, 100, 101) >= 12);
        assert_eq!(shown(&stamped, 101, 102), 0, "too old");
        assert_eq!(shown(&stamped, 98, 99), 0, "made in store");
        assert_eq!(shown(&OUTER, 0, u64::MAX), 0, "none");
        // Less than 12 bits with a chance of 4095 in 4096 each; the vector is fixed.
        for other in [
            Outer { to_device: DeviceId([0xd3; 16]), ..stamped.clone() },
            Outer { prekey_id: PrekeyId([0x98; 8]), ..stamped.clone() },
            Outer { ciphertext: b"age!", ..stamped.clone() },
            Outer { ttl: 61, ..stamped.clone() },
            Outer { suite: 3, ..stamped.clone() },
            Outer { work: Some(Stamp { nonce: stamp.nonce + 1, ..stamp }), ..stamped.clone() },
            Outer { work: Some(Stamp { window: 101, ..stamp }), ..stamped.clone() },
        ] {
            assert!(shown(&other, 0, 1_000) < 12, "{other:?}");
        }
    }

    #[test]
    fn what_is_counted_is_sha_256() {
        for nonce in [0, 1, 255, 1 << 40, u64::MAX] {
            let digest = crate::ids::sha256(&[&[7; 32], &nonce.to_be_bytes()]);
            let first = u64::from_be_bytes(digest[..8].try_into().unwrap());
            assert_eq!(zero_bits(&[7; 32], nonce), first.leading_zeros());
        }
    }

    #[test]
    fn the_search_ends_when_it_is_told_to() {
        let mut asked = 0;
        let found = solve(&OUTER, 64, 1, || {
            asked += 1;
            asked < 4
        });
        assert_eq!((found, asked), (None, 4));
    }

    #[test]
    fn windows_of_moments() {
        assert_eq!([-1, 0, 599, 600, 1_760_000_000].map(window_of), [0, 0, 0, 1, 2_933_333]);
    }
}
