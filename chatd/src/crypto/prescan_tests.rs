#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::iter;

use hybrid::{Identity, Recipient};
use proptest::prelude::*;

use super::*;
use crate::crypto::random_bytes;

fn made_by_age(recipients: &[Recipient], plaintext: &[u8]) -> Vec<u8> {
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let mut out = Vec::new();
    let mut writer = age::Encryptor::with_recipients(recipients).unwrap().wrap_output(&mut out).unwrap();
    writer.write_all(plaintext).unwrap();
    writer.finish().unwrap();
    out
}

fn recipient() -> Recipient {
    Identity::from_seed(&random_bytes().unwrap()).public().clone()
}

const KEY: &str = "C3ZAeY64NXS4QFrksLm3EGz+uPRyI0eQsWw7LWbbYig";
const MAC: &str = "fgMiVLJHMlg9fW7CVG/hPS5EAU4Zeg19LyCP7SoH5nA";

fn file(stanzas: &str) -> Vec<u8> {
    let mut bytes = format!("age-encryption.org/v1\n{stanzas}--- {MAC}\n").into_bytes();
    bytes.extend([0; 48]);
    bytes
}

/// 1,120 bytes in base64: the last character has four bits that must be zero.
fn enc() -> String {
    format!("{}Q", "CJM36AHmTb7".repeat(136).split_at(1_493).0)
}

fn stanza() -> String {
    format!("-> mlkem768x25519 {}\n{KEY}\n", enc())
}

/// Processor time of the calling thread, in nanoseconds.
fn spent() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    (time.tv_sec() * 1_000_000_000 + time.tv_nsec()).try_into().unwrap()
}

#[test]
fn ten_thousand_envelopes_of_age_pass() {
    // Two threads, because the curve is all of the cost; the grease differs each time and is what is being tried.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let to = [recipient()];
                for _ in 0..5_000 {
                    let made = made_by_age(&to, b"");
                    assert_eq!(prescan(&made).map(|at| made.len() - at), Ok(32), "{}", made.escape_ascii());
                }
            });
        }
    });
}

#[test]
fn well_formed_by_hand() {
    let grease = "-> x-grease 1 2 3 4\n";
    let full = "A".repeat(64);
    for stanzas in [
        stanza(),
        format!("{}{grease}\n", stanza()),
        format!("{grease}\n{}", stanza()),
        format!("{}-> -grease\n{full}\n\n", stanza()),
        format!("{}{grease}{full}\n{full}\nAAAA\n", stanza()),
    ] {
        let file = file(&stanzas);
        assert_eq!(prescan(&file), Ok(file.len() - 48), "{stanzas}");
    }
}

#[test]
fn hostile_headers_are_refused() {
    use PrescanError::{HeaderTooLong, Mac, NotAge, Payload, Stanza, Truncated};
    let (x, enc) = (stanza(), enc());
    let full = "A".repeat(64);
    let share = "CJM36AHmTbdHSuOQL+NESqyVQE75f2e610iRdLPEN20";
    let scrypt = format!("-> scrypt bBjlhJVYZeE4aqUdmtRHfw 30\n{KEY}\n");
    let table = [
        ("scrypt alone", file(&scrypt), Stanza("an unknown type")),
        ("scrypt after", file(&format!("{x}{scrypt}")), Stanza("an unknown type")),
        ("two recipients", file(&format!("{x}{x}")), Stanza("a second recipient")),
        ("ssh", file(&format!("{x}-> ssh-ed25519 BjH7FA {share}\n{KEY}\n")), Stanza("an unknown type")),
        ("two greases", file(&format!("{x}-> a-grease\n\n-> b-grease\n\n")), Stanza("a second grease stanza")),
        ("only grease", file("-> a-grease\n\n"), Stanza("no recipient")),
        ("no stanza", file(""), Stanza("no recipient")),
        ("five arguments", file(&format!("{x}-> a-grease 1 2 3 4 5\n\n")), Stanza("too many arguments")),
        ("double space", file(&format!("{x}-> a-grease  1\n\n")), Stanza("an argument that is not printable")),
        ("bell in tag", file(&format!("{x}-> \u{7}-grease\n\n")), Stanza("a tag that is not printable")),
        (
            "grease of 101 bytes",
            file(&format!("{x}-> a-grease\n{full}\n{full}\nAAAAAAA\n")),
            Stanza("a body that is not canonical, or too long"),
        ),
        ("X25519 alone", file(&format!("-> X25519 {share}\n{KEY}\n")), Stanza("an unknown type")),
        ("X25519 after", file(&format!("{x}-> X25519 {share}\n{KEY}\n")), Stanza("an unknown type")),
        ("X25519 before", file(&format!("-> X25519 {share}\n{KEY}\n{x}")), Stanza("an unknown type")),
        ("trailing bits", file(&x.replace("Q\n", "R\n")), Stanza("not one encapsulated key")),
        ("short enc", file(&x.replace("Q\n", "\n")), Stanza("not one encapsulated key")),
        ("long enc", file(&x.replace("Q\n", "Qw\n")), Stanza("not one encapsulated key")),
        ("padded enc", file(&x.replace("Q\n", "Q==\n")), Stanza("not one encapsulated key")),
        ("share of X25519", file(&x.replace(&enc, share)), Stanza("not one encapsulated key")),
        ("no enc", file(&format!("-> mlkem768x25519\n{KEY}\n")), Stanza("no encapsulated key")),
        ("two encs", file(&x.replace(&enc, &format!("{enc} {enc}"))), Stanza("not one encapsulated key")),
        ("long key", file(&x.replace(KEY, &format!("{KEY}AAAA"))), Stanza("not a wrapped file key")),
        ("key on two lines", file(&x.replace(KEY, &format!("{KEY}\n{KEY}"))), Stanza("a line that starts none")),
        ("no key", file(&x.replace(KEY, "")), Stanza("not a wrapped file key")),
        ("padding", file(&x.replace(KEY, &format!("{KEY}="))), Stanza("not a wrapped file key")),
        ("upper case tag", file(&x.replace("mlkem768", "MLKEM768")), Stanza("an unknown type")),
        ("keys in hardware", file(&x.replace("x25519", "p256tag")), Stanza("an unknown type")),
        ("arrow without space", file(&x.replace("-> ", "->")), Stanza("a line that starts none")),
        ("carriage returns", file(&x.replace('\n', "\r\n")), Stanza("not one encapsulated key")),
        ("version 2", b"age-encryption.org/v2\n".repeat(20), NotAge),
        ("carriage return in version", b"age-encryption.org/v1\r\n-> X25519".to_vec(), NotAge),
        ("armour", b"-----BEGIN AGE ENCRYPTED FILE-----\n".to_vec(), NotAge),
        ("empty", Vec::new(), Truncated),
        ("64 KiB of one line", vec![b'a'; 65_536], HeaderTooLong),
        ("64 KiB of grease", file(&format!("{x}-> {}-grease\n\n", "a".repeat(65_536))), HeaderTooLong),
        ("64 KiB of empty lines", vec![b'\n'; 65_536], NotAge),
        ("64 KiB of stanzas", file(&"-> a-grease\n\n".repeat(5_000)), Stanza("a second grease stanza")),
        ("no MAC", [b"age-encryption.org/v1\n", x.as_bytes()].concat(), Truncated),
        ("short MAC", String::from_utf8(file(&x)).unwrap().replace(MAC, &MAC[1..]).into_bytes(), Mac),
        ("no payload", file(&x)[..file(&x).len() - 48].to_vec(), Payload),
        ("payload without tag", file(&x)[..file(&x).len() - 17].to_vec(), Payload),
    ];
    for (what, file, error) in table {
        assert_eq!(prescan(&file), Err(error), "{what}");
    }
}

#[test]
fn no_byte_of_a_header_costs_much() {
    let x = stanza();
    let empty = "-> mlkem768x25519\n".repeat(3_700);
    let full = "A".repeat(64);
    let long = format!("{x}-> {} 1 2 3 4\n{full}\n", "a".repeat(2_200) + "-grease");
    let cases = [
        ("64 KiB of stanzas", file(&empty)),
        ("64 KiB of grease bodies", file(&format!("{x}-> a-grease\n{}\n", format!("{full}\n").repeat(1_000)))),
        ("64 KiB of grease stanzas", file(&format!("{x}{}", "-> a-grease\n\n".repeat(5_000)))),
        ("64 KiB of arguments", file(&format!("{x}-> a-grease {}\n\n", "1 ".repeat(32_000)))),
        ("64 KiB without a line", vec![b'-'; 65_536]),
        ("16 MiB of lines", b"age-encryption.org/v1\n".repeat(760_000)),
        ("a tag of 2.2 KB, taken", file(&format!("{long}\n"))),
    ];
    let mut worst = (0, "");
    for (what, file) in &cases {
        // What is taken goes on to age, which must be as quick. The best of some, for other programs run as well.
        let once = || {
            let before = spent();
            if prescan(file).is_ok() {
                let _ = age::Decryptor::new_buffered(file.as_slice());
            }
            spent() - before
        };
        let best = (0..10).map(|_| once()).min().unwrap();
        // No more of it is looked at than a header may have; age takes half a millisecond for whatever is taken.
        let most = 2_000_000 + 80 * file.len().min(65_536) as u64;
        worst = worst.max((best, what));
        assert!(best < most, "{what}: {best} ns of processor for {} bytes", file.len());
    }
    println!(
        "figure: the dearest of {} hostile headers costs {} us of processor ({})",
        cases.len(),
        worst.0 / 1_000,
        worst.1
    );
    assert!(prescan(&cases.last().unwrap().1).is_ok(), "one of them is taken");
}

#[test]
fn cut_at_every_byte() {
    let made = made_by_age(&[recipient()], b"");
    for length in 0..made.len() {
        assert!(prescan(&made[..length]).is_err(), "cut to {length} of {}", made.len());
    }
    assert!(prescan(&made).is_ok());
}

#[test]
fn many_recipients_of_age_itself_are_refused() {
    let to: Vec<_> = iter::repeat_with(recipient).take(2).collect();
    assert_eq!(prescan(&made_by_age(&to, b"hello")), Err(PrescanError::Stanza("a second recipient")));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..6_000)) {
        prop_assert!(prescan(&bytes).is_err());
    }

    #[test]
    fn changed_files_never_panic(at in 0usize..1_800, byte: u8, extra in "[ -~\n]{0,80}") {
        let mut bytes = file(&format!("{}-> a-grease 1\nAAAA\n", stanza()));
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = prescan(&bytes);
        bytes.splice(at..at, extra.bytes());
        // Whatever passes holds exactly one recipient and no passphrase.
        if let Ok(payload) = prescan(&bytes) {
            let header = String::from_utf8_lossy(&bytes[..payload]).into_owned();
            prop_assert_eq!(header.matches("\n-> mlkem768x25519 ").count(), 1);
            prop_assert!(!header.contains("-> scrypt "));
            prop_assert!(payload <= MAX_HEADER_BYTES);
        }
    }
}
