//! What is inside of an envelope: wrap, body, cores and every payload. Whatever is taken says the same when it is
//! written and read again. The first byte chooses which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::wire::envelope::{Core, Wrap, decode_body, encode_body};
use proto::wire::payload::{ContactCard, Kind, Profile, Receipt, Skip, Text};

macro_rules! round_trip {
    ($type:ty, $data:expr) => {
        if let Ok(value) = <$type>::decode($data) {
            let written = value.encode();
            assert_eq!(<$type>::decode(&written).as_ref(), Ok(&value));
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    match which % 9 {
        0 => core(data),
        1 => round_trip!(Wrap, data),
        2 => {
            if let Ok(cores) = decode_body(data) {
                let written = encode_body(cores.iter().copied());
                assert_eq!(decode_body(&written).as_ref(), Ok(&cores));
                cores.into_iter().for_each(core);
            }
        }
        3 => round_trip!(Text<'_>, data),
        4 => round_trip!(Skip<'_>, data),
        5 => round_trip!(ContactCard<'_>, data),
        6 => round_trip!(Receipt, data),
        7 => round_trip!(Profile<'_>, data),
        _ => {
            if let Some(kind) = std::str::from_utf8(data).ok().and_then(Kind::parse) {
                assert_eq!(kind.as_str().as_bytes(), data);
            }
        }
    }
});

fn core(data: &[u8]) {
    let Ok(core) = Core::decode(data) else { return };
    let written = core.encode();
    assert_eq!(Core::decode(&written).as_ref(), Ok(&core));
    let payload = core.payload;
    match Kind::parse(core.kind) {
        Some(Kind::Text) => round_trip!(Text<'_>, payload),
        Some(Kind::Skip) => round_trip!(Skip<'_>, payload),
        Some(Kind::ContactRequest | Kind::ContactAccept) => round_trip!(ContactCard<'_>, payload),
        Some(Kind::Receipt) => round_trip!(Receipt, payload),
        Some(Kind::Profile) => round_trip!(Profile<'_>, payload),
        _ => {}
    }
}
