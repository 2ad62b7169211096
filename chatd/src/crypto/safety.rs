//! What two people compare to know that nobody sits between them.
//!
//! The safety number is Signal's construction (numeric fingerprints, 5,200 iterated hashes) with this system's own domain
//! string: 30 digits for each account, about 100 bits each, of which the iteration makes near-collisions dear.

use proto::ids::{AccountId, hex, sha256};
use sha2::{Digest, Sha512};

const DOMAIN: &[u8] = b"chatd/safety/1\0";
const FINGERPRINT_DOMAIN: &[u8] = b"chatd/fingerprint/1\0";
/// Hash rounds of one half: a fraction of a second for a phone, years for a search over partial matches.
const ROUNDS: usize = 5_200;
/// Groups of five digits in one half.
const GROUPS: usize = 6;

/// One account's half: 30 digits.
pub fn half(account: AccountId, identity_key: &[u8; 32]) -> String {
    let mut hash = Sha512::new();
    hash.update(DOMAIN);
    hash.update(account.as_bytes());
    hash.update(identity_key);
    // h0 itself is the concatenation; the first round hashes it together with the key.
    hash.update(identity_key);
    let mut digest = hash.finalize();
    for _ in 1..ROUNDS {
        let mut hash = Sha512::new();
        hash.update(digest);
        hash.update(identity_key);
        digest = hash.finalize();
    }
    digest
        .chunks_exact(5)
        .take(GROUPS)
        .map(|chunk| {
            let number = chunk.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
            format!("{:05}", number % 100_000)
        })
        .collect()
}

/// The safety number of two accounts and their current identity keys, the same on both sides: 60 digits in twelve groups
/// of five, separated by spaces.
pub fn safety_number(a: (AccountId, &[u8; 32]), b: (AccountId, &[u8; 32])) -> String {
    let mut halves = [half(a.0, a.1), half(b.0, b.1)];
    halves.sort_unstable();
    grouped(&halves.concat(), 5)
}

/// Whether a number that someone typed or pasted is this one; anything but digits is ignored in it.
pub fn same_number(typed: &str, number: &str) -> bool {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let typed = digits(typed);
    typed.len() == 2 * GROUPS * 5 && typed == digits(number)
}

/// A short name of an identity key for lists and logs: `1a2b 3c4d 5e6f 7081`. 64 bits tell keys apart; they prove
/// nothing against someone who can search for a match. Compare safety numbers for that.
pub fn fingerprint(identity_key: &[u8; 32]) -> String {
    grouped(&hex(&sha256(&[FINGERPRINT_DOMAIN, identity_key])[..8]), 4)
}

fn grouped(text: &str, size: usize) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / size);
    for (index, c) in text.chars().enumerate() {
        if index > 0 && index % size == 0 {
            out.push(' ');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(key: &[u8; 32]) -> AccountId {
        AccountId::of_first_key(key)
    }

    #[test]
    fn both_sides_see_one_number() {
        let (alice, bob, mallory) = ([1; 32], [2; 32], [3; 32]);
        let number = safety_number((account(&alice), &alice), (account(&bob), &bob));
        assert_eq!(number, safety_number((account(&bob), &bob), (account(&alice), &alice)));
        assert_ne!(number, safety_number((account(&alice), &alice), (account(&mallory), &mallory)));
        // A rotated key keeps the account id and changes the number.
        assert_ne!(number, safety_number((account(&alice), &mallory), (account(&bob), &bob)));
        assert_eq!(number.len(), 12 * 5 + 11);
        assert!(number.split(' ').all(|group| group.len() == 5 && group.bytes().all(|b| b.is_ascii_digit())));
        assert!(same_number(&number.replace(' ', "-"), &number));
        assert!(!same_number(&number[..number.len() - 1], &number));
        assert!(!same_number("", &number));
    }

    #[test]
    fn fixed_vectors() {
        // Computed independently with Python's hashlib; see docs/wire.md, "Safety number".
        let (alice, bob) = ([1; 32], [2; 32]);
        assert_eq!(half(account(&alice), &alice), "992071815500539820692683772231");
        assert_eq!(half(account(&bob), &bob), "412134611702662628488709702121");
        assert_eq!(fingerprint(&alice), "686e 88a8 e0b5 25ef");
    }
}
