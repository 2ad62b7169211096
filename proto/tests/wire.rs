//! The peers' wire format: every type goes there and back, and no bytes make a decoder panic or reserve more than
//! it was given. The bytes themselves are held in wire_snapshots.rs; docs/wire.md is the prose.

#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, PrekeyId, hex};
use proto::wire::envelope::{AckEntry, Core, Outer, Wrap, body_cost, decode_body, encode_body};
use proto::wire::frame::{Frame, MAX_ACK_IDS, MAX_VERSIONS, RefuseCode};
use proto::wire::payload::{ContactCard, Kind, Profile, Receipt, Skip, Text};
use proto::wire::work::Stamp;
use proto::wire::{
    MAX_ACK_ENTRIES, MAX_ACK_RANGES, MAX_CORE_BYTES, MAX_FRAME_BYTES, MAX_REQUEST_TEXT_BYTES, MAX_TEXT_BYTES,
    MAX_TTL_SECONDS, WireError,
};

/// Feeds bytes to every decoder and says which took them.
fn decode_all(bytes: &[u8]) -> Vec<&'static str> {
    let mut took = vec![];
    let mut note = |name, ok: bool| {
        if ok {
            took.push(name);
        }
    };
    note("outer", Outer::decode(bytes).is_ok());
    note("wrap", Wrap::decode(bytes).is_ok());
    note("body", decode_body(bytes).is_ok());
    note("core", Core::decode(bytes).is_ok());
    note("frame", Frame::decode(bytes).is_ok());
    note("text", Text::decode(bytes).is_ok());
    note("skip", Skip::decode(bytes).is_ok());
    note("card", ContactCard::decode(bytes).is_ok());
    note("receipt", Receipt::decode(bytes).is_ok());
    note("profile", Profile::decode(bytes).is_ok());
    took
}

fn device() -> impl Strategy<Value = DeviceId> {
    any::<[u8; 16]>().prop_map(DeviceId)
}

fn account() -> impl Strategy<Value = AccountId> {
    any::<[u8; 16]>().prop_map(AccountId)
}

fn ack_entry() -> impl Strategy<Value = AckEntry> {
    let ranges = vec((2u64..1 << 40, 0u64..1 << 40), 0..=MAX_ACK_RANGES);
    (device(), any::<[u8; 16]>(), any::<[u8; 8]>(), 0u64..1 << 40, ranges, any::<Option<[u8; 8]>>()).prop_map(
        |(from_device, conversation, epoch, contiguous, steps, head)| {
            let mut above = contiguous;
            let mut ranges = vec![];
            for (gap, length) in steps {
                ranges.push((above + gap, above + gap + length));
                above += gap + length;
            }
            let (conversation, epoch) = (ConversationId(conversation), Epoch(epoch));
            AckEntry { from_device, conversation, epoch, contiguous, ranges, head }
        },
    )
}

fn wrap() -> impl Strategy<Value = Wrap> {
    let ids = (account(), device(), device(), any::<[u8; 8]>().prop_map(PrekeyId));
    let record = (any::<u64>(), any::<[u8; 32]>());
    (any::<[u8; 32]>(), ids, any::<[u8; 32]>(), any::<u8>(), record, vec(ack_entry(), 0..20)).prop_map(
        |(
            body_hash,
            (from, from_device, to_device, prekey_id),
            recipient_hash,
            suite,
            (record_seq, record_hash),
            acks,
        )| {
            Wrap {
                body_hash,
                from,
                from_device,
                to_device,
                prekey_id,
                recipient_hash,
                suite,
                record_seq,
                record_hash,
                acks,
            }
        },
    )
}

fn frame() -> impl Strategy<Value = Frame> {
    let codes = [
        RefuseCode::Offline,
        RefuseCode::PrekeyGone,
        RefuseCode::RateLimited,
        RefuseCode::Busy,
        RefuseCode::Version,
        RefuseCode::Malformed,
        RefuseCode::Unavailable,
        RefuseCode::Quota,
        RefuseCode::Record,
    ];
    let bytes = || vec(any::<u8>(), 0..3_000);
    let pair = || (device(), device());
    prop_oneof![
        (vec(any::<u8>(), 0..=MAX_VERSIONS), any::<i64>())
            .prop_map(|(versions, unix_time)| Frame::Hello { versions, unix_time }),
        (pair(), any::<[u8; 64]>()).prop_map(|((from_device, to_device), signature)| Frame::Claim {
            from_device,
            to_device,
            signature
        }),
        (pair(), bytes()).prop_map(|((from_device, to_device), record)| Frame::Record {
            from_device,
            to_device,
            record
        }),
        (pair(), bytes()).prop_map(|((from_device, to_device), reach)| Frame::Reach { from_device, to_device, reach }),
        (any::<u64>(), bytes()).prop_map(|(number, outer)| Frame::Envelope { number, outer }),
        (pair(), vec(ack_entry(), 0..9), vec(any::<[u8; 16]>().prop_map(MessageId), 0..9))
            .prop_map(|((from_device, to_device), entries, ids)| Frame::Ack { from_device, to_device, entries, ids }),
        (pair(), vec(ack_entry(), 0..9)).prop_map(|((from_device, to_device), entries)| Frame::Resume {
            from_device,
            to_device,
            entries
        }),
        (prop::sample::select(codes.to_vec()), any::<Option<u64>>(), prop::option::of(device()))
            .prop_map(|(code, envelope, device)| Frame::Refuse { code, envelope, device }),
        (any::<u64>(), any::<bool>()).prop_map(|(nonce, reply)| Frame::Ping { nonce, reply }),
        (any::<u64>(), device(), any::<u8>(), any::<u64>()).prop_map(|(envelope, device, bits, window)| Frame::Work {
            envelope,
            device,
            bits,
            window
        }),
    ]
}

proptest! {
    #[test]
    fn frames(frame in frame()) {
        let bytes = frame.encode();
        let (length, rest) = bytes.split_first_chunk().unwrap();
        prop_assert_eq!(u32::from_be_bytes(*length) as usize, rest.len());
        prop_assert_eq!(Frame::decode(rest), Ok(frame));
        // Nothing shorter is a frame, and nothing longer.
        for cut in 0..rest.len().min(200) {
            prop_assert!(Frame::decode(&rest[..cut]).is_err());
        }
        prop_assert!(Frame::decode(&[rest, &[0xc0]].concat()).is_err());
    }

    #[test]
    fn wraps(wrap in wrap()) {
        prop_assert_eq!(Wrap::decode(&wrap.encode()), Ok(wrap));
    }

    #[test]
    fn outers(
        suite: u8, to in device(), prekey: [u8; 8], ttl in 1..=MAX_TTL_SECONDS, ciphertext in vec(any::<u8>(), 0..2_000),
        work: Option<(u64, u64)>,
    ) {
        let work = work.map(|(window, nonce)| Stamp { window, nonce });
        let outer = Outer { suite, to_device: to, prekey_id: PrekeyId(prekey), ttl, ciphertext: &ciphertext, work };
        let bytes = outer.encode();
        prop_assert_eq!(Outer::decode(&bytes), Ok(outer.clone()));
        for ttl in [0, MAX_TTL_SECONDS + 1] {
            let result = Outer { ttl, ..outer.clone() }.encode();
            prop_assert!(Outer::decode(&result).is_err());
        }
    }

    #[test]
    fn cores_and_bodies(
        ids: ([u8; 16], [u8; 16], [u8; 16], [u8; 16], [u8; 16]), epoch: [u8; 8], seq: u64, prev: [u8; 32], time: i64,
        kind in "[a-z.]{0,40}", payloads in vec(vec(any::<u8>(), 0..700), 0..12),
    ) {
        let (from, from_device, conversation, to, id) = ids;
        let make = |payload| Core {
            from: AccountId(from), from_device: DeviceId(from_device), conversation: ConversationId(conversation),
            to: AccountId(to), id: MessageId(id), epoch: Epoch(epoch), seq, prev, time, kind: &kind, payload,
        };
        let cores: Vec<_> = payloads.iter().map(|payload| make(payload.as_slice()).encode()).collect();
        for (bytes, payload) in cores.iter().zip(&payloads) {
            prop_assert_eq!(Core::decode(bytes), Ok(make(payload)));
        }
        let body = encode_body(cores.iter().map(Vec::as_slice));
        prop_assert!(body.len() <= 5 + cores.iter().map(|core| body_cost(core.len())).sum::<usize>());
        let back = decode_body(&body).unwrap();
        prop_assert_eq!(back, cores.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn payloads(
        body in "\\PC{0,300}", format: u8, priority: u8, tags in vec("\\PC{0,16}", 0..=Text::MAX_TAGS),
        reply: Option<[u8; 16]>, signed in vec(any::<u8>(), 0..300), token: [u8; 32], invite: Option<[u8; 32]>,
        low in 1u64..=u64::MAX, seq: u64,
    ) {
        let tags = tags.iter().map(String::as_str).collect();
        let text = Text { body: &body, format, priority, tags, reply_to: reply.map(MessageId) };
        let bytes = text.encode();
        prop_assert_eq!(Text::decode(&bytes), Ok(text));
        let skip = Skip { low, high: low.saturating_add(seq), reason: &body };
        let bytes = skip.encode();
        prop_assert_eq!(Skip::decode(&bytes), Ok(skip));
        let note = body.get(..100).unwrap_or_default();
        let card = ContactCard { record: &signed, reach: &signed, deposit_token: token, invite_token: invite, text: note, membership: &signed };
        let bytes = card.encode();
        prop_assert_eq!(ContactCard::decode(&bytes), Ok(card));
        let receipt = Receipt { epoch: token[..8].try_into().unwrap(), seq, id: MessageId(token[8..24].try_into().unwrap()) };
        prop_assert_eq!(Receipt::decode(&receipt.encode()), Ok(receipt));
        let profile = Profile { version: seq, display_name: note, status: note, bio: note };
        let bytes = profile.encode();
        prop_assert_eq!(Profile::decode(&bytes), Ok(profile));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
        decode_all(&bytes);
    }

    #[test]
    fn almost_right_bytes_never_panic(wrap in wrap(), frame in frame(), at: prop::sample::Index, byte: u8) {
        for mut bytes in [wrap.encode(), frame.encode().split_off(4)] {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            decode_all(&bytes);
            decode_all(&bytes[at..]);
        }
    }
}

#[test]
fn bombs_are_refused() {
    let nested = |marker: u8| vec![marker; 100_000];
    // Arrays, maps and strings that claim 4 GiB; MessagePack has no length above 32 bits, 2^40 is a uint64 in its place.
    let claims: [&[u8]; 9] = [
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xcf, 0, 0, 1, 0, 0, 0, 0, 0],
        &[0x96, 0xcf, 0, 0, 1, 0, 0, 0, 0, 0],
        &[0x93, 0x04, 0x01, 0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0xdc, 0xff, 0xff],
    ];
    let mut bombs: Vec<Vec<u8>> = [0x91, 0x81, 0x9f, 0xdd, 0xc1, 0xff].map(nested).to_vec();
    bombs.extend(claims.iter().map(|claim| claim.to_vec()));
    // A claim of as many elements as there are bytes, none of which is one.
    bombs.push([&[0xdd, 0, 1, 0x86, 0xa0][..], &nested(0xc1)].concat());
    for bomb in bombs {
        assert_eq!(decode_all(&bomb), [""; 0], "{}", hex(&bomb[..bomb.len().min(16)]));
    }
}

#[test]
fn counts_and_sizes_are_capped() {
    let entry = AckEntry {
        from_device: DeviceId([1; 16]),
        conversation: ConversationId([2; 16]),
        epoch: Epoch([3; 8]),
        contiguous: 5,
        ranges: vec![],
        head: None,
    };
    let resume = |entries: Vec<AckEntry>| {
        let frame = Frame::Resume { from_device: DeviceId([1; 16]), to_device: DeviceId([2; 16]), entries };
        Frame::decode(&frame.encode()[4..])
    };
    assert!(resume(vec![entry.clone(); MAX_ACK_ENTRIES]).is_ok());
    assert!(resume(vec![entry.clone(); MAX_ACK_ENTRIES + 1]).is_err());
    let with = |ranges: &[(u64, u64)]| resume(vec![AckEntry { ranges: ranges.to_vec(), ..entry.clone() }]);
    assert!(with(&[(7, 7), (9, 12)]).is_ok());
    let nine: Vec<_> = (1..=9).map(|i| (i * 10, i * 10)).collect();
    assert!(with(&nine[..MAX_ACK_RANGES]).is_ok());
    for bad in
        [&nine[..], &[(6, 6)], &[(5, 9)], &[(9, 8)], &[(9, 9), (7, 7)], &[(8, 9), (10, 11)], &[(7, u64::MAX), (0, 0)]]
    {
        assert!(with(bad).is_err(), "{bad:?}");
    }

    let ack = |count| {
        let (ids, devices) = (vec![MessageId([1; 16]); count], (DeviceId([1; 16]), DeviceId([2; 16])));
        let frame = Frame::Ack { from_device: devices.0, to_device: devices.1, entries: vec![], ids };
        Frame::decode(&frame.encode()[4..])
    };
    assert!(ack(MAX_ACK_IDS).is_ok() && ack(MAX_ACK_IDS + 1).is_err());
    let hello = |count| Frame::decode(&Frame::Hello { versions: vec![1; count], unix_time: 0 }.encode()[4..]);
    assert!(hello(MAX_VERSIONS).is_ok() && hello(MAX_VERSIONS + 1).is_err());
    let large = Frame::Envelope { number: 1, outer: vec![0; MAX_FRAME_BYTES] }.encode();
    assert!(matches!(Frame::decode(&large[4..]), Err(WireError::TooLarge { what: "frame", .. })));

    let text = |body: &str, tags: Vec<&str>| {
        Text::decode(&Text { body, format: 0, priority: 1, tags, reply_to: None }.encode()).map(|_| ())
    };
    let long = "x".repeat(MAX_TEXT_BYTES + 1);
    assert!(text(&long[1..], vec![]).is_ok());
    assert!(matches!(text(&long, vec![]), Err(WireError::TooLarge { what: "text", .. })));
    assert!(text("", vec!["t"; 16]).is_ok() && text("", vec!["t"; 17]).is_err());
    assert!(text("", vec![&long[..64]]).is_ok() && text("", vec![&long[..65]]).is_err());
    let card = |text| {
        let card =
            ContactCard { record: b"", reach: b"", deposit_token: [0; 32], invite_token: None, text, membership: &[] };
        ContactCard::decode(&card.encode()).map(|_| ())
    };
    assert!(card(&long[..MAX_REQUEST_TEXT_BYTES]).is_ok() && card(&long[..MAX_REQUEST_TEXT_BYTES + 1]).is_err());
    let profile = |display_name, status, bio| {
        Profile::decode(&Profile { version: 1, display_name, status, bio }.encode()).is_ok()
    };
    assert!(profile(&long[..128], &long[..256], &long[..1_024]));
    assert!(!profile(&long[..129], "", "") && !profile("", &long[..257], "") && !profile("", "", &long[..1_025]));
    for (low, high) in [(0, 5), (5, 4)] {
        assert!(Skip::decode(&Skip { low, high, reason: "" }.encode()).is_err());
    }
    let body = encode_body([vec![0; MAX_CORE_BYTES + 1].as_slice()].into_iter());
    assert!(matches!(decode_body(&body), Err(WireError::TooLarge { what: "core", .. })));
}

#[test]
fn text_is_utf_8_and_versions_are_checked() {
    let mut text = Text { body: "hej", format: 0, priority: 1, tags: vec![], reply_to: None }.encode();
    text[3] = 0xff;
    assert_eq!(Text::decode(&text), Err(WireError::Malformed("text body")));
    let (to_device, prekey_id) = (DeviceId([1; 16]), PrekeyId([2; 8]));
    let mut outer = Outer { suite: 2, to_device, prekey_id, ttl: 60, ciphertext: b"x", work: None }.encode();
    outer[1] = 2;
    assert_eq!(Outer::decode(&outer), Err(WireError::Version(2)));
}

#[test]
fn kinds_and_their_words() {
    let table = [
        (Kind::Text, "text", true),
        (Kind::Skip, "skip", true),
        (Kind::ContactRequest, "contact.request", false),
        (Kind::ContactAccept, "contact.accept", false),
        (Kind::ContactReject, "contact.reject", false),
        (Kind::ContactRemove, "contact.remove", false),
        (Kind::Receipt, "receipt", false),
        (Kind::Profile, "profile", false),
    ];
    for (kind, word, in_chain) in table {
        assert_eq!((kind.as_str(), Kind::parse(word), kind.in_chain()), (word, Some(kind), in_chain));
    }
    assert_eq!(Kind::parse("file"), None);
}
