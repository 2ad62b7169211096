//! The bytes of the peers' wire format. A change here is a change of the protocol: it takes a new version byte.

mod common;

use common::shown;
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, PrekeyId};
use proto::wire::envelope::{AckEntry, Core, Outer, Wrap, encode_body};
use proto::wire::frame::{Frame, RefuseCode};
use proto::wire::payload::{ContactCard, Profile, Receipt, Skip, Text};
use proto::wire::work::Stamp;

const EXPECTED: &str = "\
outer: 970102c410 d2x16 c408 99x8 ce00093a80c403616765c0
stamped: 970102c410 d2x16 c408 99x8 ce00093a80c40361676592ce002cc255ce00011170
wrap: 9ac420 b0x32 c410 a1x16 c410 d1x16 c410 d2x16 c408 99x8 c420 98x32 0207c420 97x32 9196c410 d1x16 c410 ccx16 c408 eex8 cd012c9192cd012ecd012fc408 adx8
core: 9c01c410 a1x16 c410 d1x16 c410 ccx16 c410 a2x16 c410 1dx16 c408 eex8 02c420 66x32 cf00000199c82cc07ba474657874c4020102
body: 92c4036f6e65c400
empty body: 90
text: 95a368656a010291a161c410 1dx16
skip: 930102a765787069726564
card: 96c40152c400c420 70x32 c420 71x32 a26869c4014d
receipt: 93c408 eex8 ce00011170c410 1dx16
profile: 9401a3426f62a0a162
hello: 0000000993009101ce68e77800
claim: 000000689401c410 d1x16 c410 d2x16 c440 5ax64
record: 000000299402c410 d1x16 c410 d2x16 c40152
reach: 000000299403c410 d1x16 c410 d2x16 c40152
envelope: 00000006930405c40145
ack: 0000007e9505c410 d1x16 c410 d2x16 9196c410 d1x16 c410 ccx16 c408 eex8 cd012c9192cd012ecd012fc408 adx8 91c410 1dx16
resume: 0000006b9406c410 d1x16 c410 d2x16 9196c410 d1x16 c410 ccx16 c408 eex8 cd012c9192cd012ecd012fc408 adx8
refuse: 0000001694070205c410 d2x16
refuse all: 00000005940704c0c0
ping: 00000004930809c3
work: 0000001b950905c410 d2x16 12ce002cc255
";

#[test]
fn snapshots() {
    let (from_device, to_device) = (DeviceId([0xd1; 16]), DeviceId([0xd2; 16]));
    let prekey_id = PrekeyId([0x99; 8]);
    let entry = AckEntry {
        from_device,
        conversation: ConversationId([0xcc; 16]),
        epoch: Epoch([0xee; 8]),
        contiguous: 300,
        ranges: vec![(302, 303)],
        head: Some([0xad; 8]),
    };
    let wrap = Wrap {
        body_hash: [0xb0; 32],
        from: AccountId([0xa1; 16]),
        from_device,
        to_device,
        prekey_id,
        recipient_hash: [0x98; 32],
        suite: 2,
        record_seq: 7,
        record_hash: [0x97; 32],
        acks: vec![entry.clone()],
    };
    let core = Core {
        from: AccountId([0xa1; 16]),
        from_device,
        conversation: ConversationId([0xcc; 16]),
        to: AccountId([0xa2; 16]),
        id: MessageId([0x1d; 16]),
        epoch: Epoch([0xee; 8]),
        seq: 2,
        prev: [0x66; 32],
        time: 1_760_000_000_123,
        kind: "text",
        payload: b"\x01\x02",
    };
    let outer = Outer { suite: 2, to_device, prekey_id, ttl: 604_800, ciphertext: b"age", work: None };
    let stamped = Outer { work: Some(Stamp { window: 2_933_333, nonce: 70_000 }), ..outer.clone() };
    let text = Text { body: "hej", format: 1, priority: 2, tags: vec!["a"], reply_to: Some(MessageId([0x1d; 16])) };
    let (deposit_token, invite_token) = ([0x70; 32], Some([0x71; 32]));
    let card = ContactCard { record: b"R", reach: b"", deposit_token, invite_token, text: "hi", membership: b"M" };
    let frames = [
        ("hello", Frame::Hello { versions: vec![1], unix_time: 1_760_000_000 }),
        ("claim", Frame::Claim { from_device, to_device, signature: [0x5a; 64] }),
        ("record", Frame::Record { from_device, to_device, record: b"R".to_vec() }),
        ("reach", Frame::Reach { from_device, to_device, reach: b"R".to_vec() }),
        ("envelope", Frame::Envelope { number: 5, outer: b"E".to_vec() }),
        ("ack", Frame::Ack { from_device, to_device, entries: vec![entry.clone()], ids: vec![MessageId([0x1d; 16])] }),
        ("resume", Frame::Resume { from_device, to_device, entries: vec![entry] }),
        ("refuse", Frame::Refuse { code: RefuseCode::PrekeyGone, envelope: Some(5), device: Some(to_device) }),
        ("refuse all", Frame::Refuse { code: RefuseCode::Busy, envelope: None, device: None }),
        ("ping", Frame::Ping { nonce: 9, reply: true }),
        ("work", Frame::Work { envelope: 5, device: to_device, bits: 18, window: 2_933_333 }),
    ];
    let mut all = vec![
        ("outer", outer.encode()),
        ("stamped", stamped.encode()),
        ("wrap", wrap.encode()),
        ("core", core.encode()),
        ("body", encode_body([&b"one"[..], b""].into_iter())),
        ("empty body", encode_body([].into_iter())),
        ("text", text.encode()),
        ("skip", Skip { low: 1, high: 2, reason: "expired" }.encode()),
        ("card", card.encode()),
        ("receipt", Receipt { epoch: [0xee; 8], seq: 70_000, id: MessageId([0x1d; 16]) }.encode()),
        ("profile", Profile { version: 1, display_name: "Bob", status: "", bio: "b" }.encode()),
    ];
    all.extend(frames.map(|(name, frame)| (name, frame.encode())));
    let got: String = all.iter().map(|(name, bytes)| format!("{name}: {}\n", shown(bytes))).collect();
    assert_eq!(got, EXPECTED, "these bytes changed; peers of other versions will not understand them");
}

#[test]
fn the_codes_of_refusals() {
    let codes = [
        RefuseCode::Offline,
        RefuseCode::PrekeyGone,
        RefuseCode::RateLimited,
        RefuseCode::Busy,
        RefuseCode::Version,
        RefuseCode::Malformed,
        RefuseCode::Unavailable,
    ];
    let words = codes.map(|code| {
        let bytes = Frame::Refuse { code, envelope: None, device: None }.encode();
        format!("{} {}", bytes[6], code.as_str())
    });
    let expected =
        ["1 offline", "2 prekey_gone", "3 rate_limited", "4 busy", "5 version", "6 malformed", "7 unavailable"];
    assert_eq!(words, expected);
}
