//! Invites: any text, and any bytes in the form of one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::invite::{Invite, MAX_URI_CHARS};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        parse(text);
    }
    // The form around it is right, so that the content is what is read.
    parse(&format!("chat:{}", base64(data)));
});

fn parse(text: &str) {
    let Ok(invite) = text.parse::<Invite>() else { return };
    assert!(text.len() <= MAX_URI_CHARS);
    let written = invite.to_string();
    assert_eq!(written.parse::<Invite>().as_ref(), Ok(&invite));
}

/// RFC 4648, section 5, without padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..=three.len() {
            out.push(DIGITS[(word >> (18 - 6 * digit) & 63) as usize].into());
        }
    }
    out
}
