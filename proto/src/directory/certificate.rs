//! When a certificate ends: the one thing that programs say of it to people before it is too late.
//!
//! Not the job: whether it is to be believed, which TLS decides. The reader knows as much of DER as stands on the way to the date (RFC
//! 5280, section 4.1): no recursion, no length believed beyond what is there.

use jiff::civil::DateTime;

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
/// The version's, which stands first if it is not the first version.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// The end of a certificate in DER, in Unix seconds.
pub fn ends(der: &[u8]) -> Option<i64> {
    let (mut certificate, _) = of(SEQUENCE, der)?;
    let (mut signed, _) = of(SEQUENCE, take(&mut certificate)?)?;
    if signed.first() == Some(&VERSION) {
        take(&mut signed)?;
    }
    // Its number, how it is signed, and who signed it.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        of(tag, take(&mut signed)?)?;
    }
    let (mut validity, _) = of(SEQUENCE, take(&mut signed)?)?;
    take(&mut validity)?;
    let (tag, text) = (*validity.first()?, of(*validity.first()?, validity)?.0);
    date(tag, std::str::from_utf8(text).ok()?)
}

/// What a value of this kind holds, and what follows it.
fn of(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        // Certificates have some KB.
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    (*first == tag).then(|| rest.split_at_checked(length))?
}

/// The next value as a whole.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (_, rest) = of(*bytes.first()?, bytes)?;
    let (value, rest) = bytes.split_at_checked(bytes.len() - rest.len())?;
    *bytes = rest;
    Some(value)
}

/// `YYMMDDhhmmssZ` or `YYYYMMDDhhmmssZ`: RFC 5280 allows nothing else.
fn date(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z').filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<i16>().ok();
    let (year, at) = match (tag, digits.len()) {
        (UTC_TIME, 12) => number(0, 2).map(|year| (if year < 50 { 2000 + year } else { 1900 + year }, 2))?,
        (GENERALIZED_TIME, 14) => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |n: usize| digits.get(at + 2 * n..at + 2 * n + 2)?.parse::<i8>().ok();
    let when = DateTime::new(year, part(0)?, part(1)?, part(2)?, part(3)?, part(4)?, 0).ok()?;
    Some(when.duration_since(EPOCH).as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// `openssl req -x509 -newkey ed25519 -nodes -subj /CN=x -not_before 20260101000000Z -not_after 20491231235959Z`: the same, by hand.
    fn certificate(not_after: &[u8]) -> Vec<u8> {
        let wrap = |tag: u8, parts: &[&[u8]]| {
            let inner = parts.concat();
            [&[tag, 0x81, u8::try_from(inner.len()).unwrap()], inner.as_slice()].concat()
        };
        let before = b"\x17\x0d260101000000Z".as_slice();
        let validity = wrap(SEQUENCE, &[before, not_after]);
        let name = wrap(SEQUENCE, &[]);
        let signed = wrap(
            SEQUENCE,
            &[
                &[VERSION, 3, 2, 1, 2],
                &[INTEGER, 1, 1],
                &wrap(SEQUENCE, &[&[6, 3, 0x2b, 0x65, 0x70]]),
                &name,
                &validity,
                &name,
            ],
        );
        wrap(SEQUENCE, &[&signed, &wrap(SEQUENCE, &[])])
    }

    #[test]
    fn ends_are_read_in_both_forms() {
        assert_eq!(ends(&certificate(b"\x17\x0d491231235959Z")), Some(2_524_607_999));
        assert_eq!(ends(&certificate(b"\x18\x0f20491231235959Z")), Some(2_524_607_999));
        assert_eq!(ends(&certificate(b"\x18\x0f99991231235959Z")), Some(253_402_300_799));
        for bad in [
            "\x17\x0d491331235959Z",
            "\x17\x0d49123123595aZ",
            "\x18\x0d491231235959Z",
            "\x17\x0b4912312359Z",
            "\x17\x7f49",
        ] {
            assert_eq!(ends(&certificate(bad.as_bytes())), None, "{bad:?}");
        }
    }

    #[test]
    fn whatever_the_bytes_are_it_ends() {
        let good = certificate(b"\x17\x0d491231235959Z");
        for end in 0..good.len() {
            let _ = ends(&good[..end]);
        }
        for at in 0..good.len() {
            for value in 0..=255 {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = ends(&bad);
            }
        }
    }
}
