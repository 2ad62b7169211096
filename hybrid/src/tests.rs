#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::iter;

use age::{Identity as _, Recipient as _};
use proptest::prelude::*;
use zeroize::ZeroizeOnDrop;

use super::*;

/// A key of C2SP's vectors, all of whose hybrid files tests/tests/age opens.
const KNOWN: &str = "AGE-SECRET-KEY-PQ-1HZLGZUPT4ETPKDEV8HSGFDCYZ4E522W0A7PU2LHT8EH9W6YLNC3SW78XKG";

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn sealed(to: &Recipient, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let encryptor = age::Encryptor::with_recipients(iter::once(to as &dyn age::Recipient)).unwrap();
    let mut writer = encryptor.wrap_output(&mut out).unwrap();
    writer.write_all(text).unwrap();
    writer.finish().unwrap();
    out
}

fn opened(file: &[u8], key: &Identity) -> Result<Vec<u8>, DecryptError> {
    let decryptor = age::Decryptor::new_buffered(file)?;
    let mut out = Vec::new();
    decryptor.decrypt(iter::once(key as &dyn age::Identity))?.read_to_end(&mut out)?;
    Ok(out)
}

fn file_key(byte: u8) -> FileKey {
    FileKey::new(Box::new([byte; FILE_KEY_BYTES]))
}

fn stanza(to: &Recipient) -> Stanza {
    to.wrap_file_key(&file_key(7)).unwrap().0.remove(0)
}

/// The stanza with its argument's bytes changed.
fn with_enc(stanza: &Stanza, change: impl FnOnce(&mut Vec<u8>)) -> Stanza {
    let mut enc = BASE64_STANDARD_NO_PAD.decode(&stanza.args[0]).unwrap();
    change(&mut enc);
    Stanza { tag: TAG.to_owned(), args: vec![BASE64_STANDARD_NO_PAD.encode(enc)], body: stanza.body.clone() }
}

fn is_bad(result: Option<Result<FileKey, DecryptError>>) -> bool {
    matches!(result, Some(Err(DecryptError::InvalidHeader)))
}

#[test]
fn sealed_by_age_and_opened_with_the_one_key() {
    let (bob, carol) = (identity(2), identity(3));
    let file = sealed(bob.public(), b"hello");
    assert_eq!(opened(&file, &bob).unwrap(), b"hello");
    assert!(matches!(opened(&file, &carol), Err(DecryptError::NoMatchingKeys)));
    assert_ne!(sealed(bob.public(), b"hello"), file);
    let (stanzas, labels) = bob.public().wrap_file_key(&file_key(1)).unwrap();
    assert_eq!(labels, HashSet::from(["postquantum".to_owned()]));
    assert_eq!((stanzas.len(), stanzas[0].tag.as_str(), stanzas[0].args[0].len()), (1, "mlkem768x25519", 1_494));
    assert_eq!(stanzas[0].body.len(), 32);
}

#[test]
fn a_file_that_a_curve_alone_could_open_is_not_made() {
    let classic = age::x25519::Identity::generate().to_public();
    let hybrid = identity(2);
    let both: [&dyn age::Recipient; 2] = [&classic, hybrid.public()];
    let made = age::Encryptor::with_recipients(both.into_iter());
    assert!(matches!(made.err(), Some(EncryptError::IncompatibleRecipients { .. })));
}

#[test]
fn bytes_and_texts_are_those_of_age() {
    let known = Identity::parse(KNOWN).unwrap();
    assert_eq!(Identity::from_seed(known.seed()).public().to_bytes(), known.public().to_bytes());
    let prefix = Hrp::parse(RECIPIENT_PREFIX).unwrap();
    let text = age_core::primitives::bech32_encode(prefix, &known.public().to_bytes());
    assert!(text.starts_with("age1pq1"), "{text}");
    assert_eq!(text.len(), 1_959);
    for text in [text.clone(), text.to_uppercase()] {
        assert_eq!(Recipient::parse(&text).unwrap().to_bytes(), known.public().to_bytes());
    }
    for bad in ["", "age1pq1", KNOWN, &text[..text.len() - 1], &text.replace("age1pq1", "age1tagpq1")] {
        assert!(matches!(Recipient::parse(bad), Err(BadKey(_))), "{bad}");
    }
    let long = age_core::primitives::bech32_encode(prefix, &[0; 100_000]);
    assert!(matches!(Recipient::parse(&long), Err(BadKey(_))));
    for bad in [
        "",
        &KNOWN[..KNOWN.len() - 1],
        &text,
        "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33",
    ] {
        assert!(matches!(Identity::parse(bad), Err(BadKey(_))), "{bad}");
    }
}

#[test]
fn recipients_to_which_everybody_knows_the_key_are_refused() {
    let good = identity(2).public().to_bytes();
    for low in SMALL_ORDER {
        // Any scalar tells: clamping makes it a multiple of the cofactor.
        assert_eq!(x25519_dalek::x25519([1; 32], low), [0; 32]);
        for ignored_bit in [0, 0x80] {
            let mut bytes = good;
            bytes[ML_KEM_KEY_BYTES..].copy_from_slice(&low);
            bytes[RECIPIENT_BYTES - 1] |= ignored_bit;
            assert!(matches!(Recipient::from_bytes(&bytes), Err(BadKey(_))), "{low:?}");
        }
        // One that got in all the same is not sealed to.
        let unchecked = Recipient { x25519: low.into(), ..identity(2).public().clone() };
        assert!(unchecked.wrap_file_key(&file_key(1)).is_err());
    }
    for length in [0, 32, RECIPIENT_BYTES - 1, RECIPIENT_BYTES + 1] {
        assert!(matches!(Recipient::from_bytes(&vec![9; length]), Err(BadKey(_))), "{length}");
    }
}

#[test]
fn keys_that_are_not_reduced_are_refused() {
    let good = identity(2).public().to_bytes();
    assert!(Recipient::from_bytes(&good).is_ok());
    // Numbers of 12 bits: 3,329 and 4,095 are not below the modulus, at the first and the last place; 3,328 is.
    for (number, sound) in [(3_328_u16, true), (3_329, false), (4_095, false)] {
        let mut first = good;
        (first[0], first[1]) = (number as u8, first[1] & 0xf0 | (number >> 8) as u8);
        let mut last = good;
        (last[1_151], last[1_150]) = ((number >> 4) as u8, last[1_150] & 0x0f | ((number & 0xf) << 4) as u8);
        for bytes in [first, last] {
            assert_eq!(Recipient::from_bytes(&bytes).is_ok(), sound, "{number}");
        }
    }
}

#[test]
fn shares_of_small_order_are_no_stanza() {
    let bob = identity(2);
    let good = stanza(bob.public());
    assert!(bob.unwrap_stanza(&good).unwrap().is_ok());
    for low in SMALL_ORDER {
        let bad = with_enc(&good, |enc| enc[ML_KEM_CIPHERTEXT_BYTES..].copy_from_slice(&low));
        assert!(is_bad(bob.unwrap_stanza(&bad)), "{low:?}");
    }
}

#[test]
fn only_the_exact_shape_is_a_stanza() {
    let bob = identity(2);
    let good = stanza(bob.public());
    let arg = good.args[0].clone();
    let stanza = |args: &[&str], body: usize| Stanza {
        tag: TAG.to_owned(),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        body: good.body.iter().copied().cycle().take(body).collect(),
    };
    for bad in [
        stanza(&[], 32),
        stanza(&[&arg, &arg], 32),
        stanza(&[&arg[..1_490]], 32),
        stanza(&[&format!("{arg}AA")], 32),
        stanza(&[&format!("{arg}==")], 32),
        stanza(&[&"A".repeat(100_000)], 32),
        stanza(&["?"], 32),
        stanza(&[&arg], 0),
        stanza(&[&arg], 31),
        stanza(&[&arg], 40),
    ] {
        assert!(is_bad(bob.unwrap_stanza(&bad)), "{bad:?}");
    }
    // Those of other kinds are not ours to judge.
    for tag in ["X25519", "MLKEM768X25519", "mlkem768p256tag", ""] {
        assert!(bob.unwrap_stanza(&Stanza { tag: tag.to_owned(), ..stanza(&[], 0) }).is_none());
    }
}

#[test]
fn any_changed_byte_is_for_nobody() {
    let bob = identity(2);
    let good = stanza(bob.public());
    for at in (0..ENC_BYTES).step_by(37).chain([ML_KEM_CIPHERTEXT_BYTES - 1, ML_KEM_CIPHERTEXT_BYTES, ENC_BYTES - 1]) {
        let changed = with_enc(&good, |enc| enc[at] ^= 1);
        assert!(bob.unwrap_stanza(&changed).is_none(), "byte {at}");
    }
    for at in 0..BODY_BYTES {
        let mut body = good.body.clone();
        body[at] ^= 1;
        assert!(
            bob.unwrap_stanza(&Stanza { tag: TAG.to_owned(), args: good.args.clone(), body }).is_none(),
            "byte {at}"
        );
    }
}

#[test]
fn both_halves_are_needed() {
    // Who breaks one of the two, here by having its secret key, still cannot open.
    let (bob, eve) = (identity(2), identity(9));
    let good = stanza(bob.public());
    let curve_broken = Identity { x25519: bob.x25519.clone(), public: bob.public.clone(), ..identity(9) };
    let lattice_broken = Identity { x25519: eve.x25519.clone(), public: bob.public.clone(), ..identity(2) };
    assert!(curve_broken.unwrap_stanza(&good).is_none());
    assert!(lattice_broken.unwrap_stanza(&good).is_none());
    let both = Identity { x25519: bob.x25519.clone(), public: bob.public.clone(), ..identity(2) };
    assert!(both.unwrap_stanza(&good).unwrap().is_ok());
}

#[test]
fn every_part_of_a_secret_is_zeroized() {
    fn zeroized<T: ZeroizeOnDrop>(_: &T) {}
    // It is zeroized by its own Drop, and only then has one.
    fn dropped(_: &StaticSecret) -> bool {
        std::mem::needs_drop::<StaticSecret>()
    }
    // Without a dot-dot: who adds a part decides here.
    let Identity { seed, ml_kem, x25519, public: _ } = identity(1);
    zeroized(&seed);
    zeroized(&ml_kem);
    assert!(dropped(&x25519));
    zeroized(&combine(&[1; 32], &[2; 32], &[3; 32].into(), &[4; 32].into()));
    zeroized(&schedule(&[1; 32]).0);
    zeroized(&decode_text(KNOWN, IDENTITY_PREFIX).unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn bytes_of_others_never_panic(
        key in prop::collection::vec(any::<u8>(), RECIPIENT_BYTES),
        enc in prop::collection::vec(any::<u8>(), ENC_BYTES),
        body in prop::collection::vec(any::<u8>(), BODY_BYTES),
    ) {
        if let Ok(recipient) = Recipient::from_bytes(&key) {
            prop_assert_eq!(recipient.to_bytes().to_vec(), key);
            prop_assert!(recipient.wrap_file_key(&file_key(1)).is_ok());
        }
        let forged = Stanza { tag: TAG.to_owned(), args: vec![BASE64_STANDARD_NO_PAD.encode(enc)], body };
        prop_assert!(identity(2).unwrap_stanza(&forged).is_none_or(|result| result.is_err()));
    }
}
