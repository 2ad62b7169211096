//! Writes the seeds of all targets into `seeds/<target>`: `cargo run --example seeds --no-default-features`. They are checked in, so that
//! a run begins where the formats are, and so that a change of the formats shows.

use std::fs;
use std::path::Path;

use ed25519_dalek::Signer;
use fuzz::{key, public, record};
use proto::directory::{Reach, SignedMembership, SignedReach, SignedRecord};
use proto::group::{
    Act, Add, Consent, DeviceList, Event, Genesis, GroupId, GroupType, KeyOffer, Set, SignedDevices, SignedEvent,
};
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId, NodeId, PrekeyId};
use proto::invite::Invite;
use proto::wire::envelope::{AckEntry, Core, Outer, Wrap, encode_body};
use proto::wire::frame::{Frame, RefuseCode};
use proto::wire::payload::{ContactCard, Profile, Receipt, Skip, Text};

type Seeds = Vec<(&'static str, Vec<u8>)>;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let invite = Invite {
        account: AccountId([1; 16]),
        identity_key: [2; 32],
        record_hash: [3; 32],
        reach: reach()?,
        mailbox: Some("https://example.org/mbox".into()),
        token: [4; 32],
    };
    let names: Seeds = [
        ("name", "bob"),
        ("address", "bob@example.org"),
        ("accents", "Zo\u{eb}"),
        ("cyrillic", "\u{431}\u{43e}\u{431}"),
        ("mixed", "b\u{43e}b"),
        ("punctuation", "a-b_c.d+e"),
        ("idn", "b\u{fc}cher.example"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .into();
    let terminal: Seeds = [
        ("plain", "hello,\n\tbob"),
        ("csi", "\x1b[2J\u{9b}31m"),
        ("osc", "\x1b]0;title\x07\u{9d}8;;http://x\u{9c}"),
        ("bidi", "\u{202e}txt.exe\u{2066}a\u{2069}"),
        ("tags", "\u{e0041}\u{fff9}"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .into();
    let invites = vec![("uri", invite.to_string().into_bytes()), ("content", vec![0x97, 1])];
    let rotation = vec![
        ("chain", vec![0, 0x01, 1, 0x12, 3, 0x23, 1, 0x34]),
        ("thief", vec![0, 0x01, 1, 0x12, 0xff, 0, 1, 0x33, 3, 0x94, 1, 0x35]),
        ("wrong", vec![0, 0x01, 0x15, 0x12, 0x87, 0x33]),
    ];
    for (target, seeds) in [
        ("frames", frames()),
        ("core", cores()),
        ("event", events()?),
        ("group_log", group_log()?),
        ("record", records()?),
        ("rotation", rotation),
        ("invite", invites),
        ("rpc", rpc()?),
        ("names", names),
        ("session", sessions()),
        ("terminal", terminal),
        ("prescan", prescans()),
        ("open", opens()),
    ] {
        let folder = root.join(target);
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// With a first byte that chooses what a target makes of the rest.
fn chosen(which: u8, bytes: &[u8]) -> Vec<u8> {
    [&[which], bytes].concat()
}

fn sessions() -> Seeds {
    vec![
        ("ready", chosen(0, br#"{"type":"ready","token":"t","session_counter":3,"record_seq":7,"time":1760000000}"#)),
        (
            "presence",
            chosen(
                0,
                br#"{"type":"presence","account":"01010101010101010101010101010101","online":true,"since":null}"#,
            ),
        ),
        ("refused", chosen(0, br#"{"type":"error","code":"rate_limited","message":"wait"}"#)),
        (
            "watch",
            chosen(1, br#"{"type":"watch","accounts":[{"account":"01010101010101010101010101010101","token":"__8"}]}"#),
        ),
        ("delete", chosen(1, br#"{"type":"delete","numbers":[1,2],"signature":"__8"}"#)),
        ("error", chosen(6, br#"{"error":{"code":"conflict","message":"newer","record":"__8"},"time":1760000000}"#)),
        ("nonce", chosen(8, br#"{"nonce":"__8","origin":"example.org"}"#)),
        ("directory", chosen(10, br#"{"origin":"example.org","key":"00","signature":"__8","time":1760000000}"#)),
        ("membership", chosen(11, br#"{"membership":"__8","time":1760000000}"#)),
    ]
}

fn group_log() -> Result<Seeds, proto::wire::WireError> {
    use proto::directory::groups::{
        Append, EntryKind, Header, Pushed, Root, Running, SignedHeader, SignedRoot, SignedSlot,
    };
    let sign = |message: &[u8]| key(1).sign(message).to_bytes();
    let log = proto::ids::LogId::of_root_key(&public(1));
    let root = SignedRoot::sign(Root { log, number: 0, root_key: public(1), log_key: public(1) }, sign)?.encode();
    let says = Header { log, root: 0, number: 1, read: [1; 32], write: [2; 32], room: None, successors: vec![] };
    let header = SignedHeader::sign(says, sign)?.encode();
    let slot = SignedSlot::sign(log, public(1), 1, b"marks", sign)?.encode();
    let message = Append::new(EntryKind::Message, b"ciphertext".to_vec());
    let event = Append {
        after: 3,
        staged: vec![[4; 32]],
        root: Some(root.clone()),
        header: Some(header.clone()),
        at: Some(Running { number: 5, hash: [6; 32] }),
        ..Append::new(EntryKind::Event, b"ciphertext".to_vec())
    };
    let pushed = Pushed { log, number: 7, kind: EntryKind::Keys, entry: Ok(b"ciphertext") }.encode();
    Ok(vec![
        ("message", chosen(0, &message.encode())),
        ("event", chosen(0, &event.proved(log, 4, sign).encode())),
        ("root", chosen(1, &root)),
        ("header", chosen(2, &header)),
        ("slot", chosen(3, &slot)),
        ("pushed", chosen(4, &pushed)),
    ])
}

fn events() -> Result<Seeds, proto::wire::WireError> {
    let sign = |seed: u8| move |message: &[u8]| key(seed).sign(message).to_bytes();
    let devices = vec![proto::directory::Device::of_key(public(10))];
    let list = DeviceList { first_key: public(1), rotations: Vec::new(), number: 1, devices };
    let founder = SignedDevices::sign(list.clone(), sign(1));
    let group = GroupId { id: ConversationId([7; 16]), nonce: [8; 32] };
    let genesis = Genesis {
        kind: GroupType::Room,
        name: "room".into(),
        topic: String::new(),
        settings: Vec::new(),
        nonce: group.nonce,
        logs: vec!["https://example.org/g/1".into()],
        founder: founder.clone(),
    };
    let consents = vec![Consent::sign(&group, list.clone(), [0; 32], sign(1))];
    let acts = [
        ("genesis", Act::Genesis(Box::new(genesis))),
        ("add", Act::Add(Add { consents, join: None })),
        ("devices", Act::Devices(founder)),
        ("remove", Act::Remove(AccountId([0xa1; 16]))),
        ("set", Act::Set(Box::new(Set { name: Some("n".into()), ..Set::default() }))),
    ];
    let mut seeds = vec![("list", chosen(2, &list.encode()))];
    for (name, act) in acts {
        let first = name == "genesis";
        let event = Event {
            group: if first { ConversationId([0; 16]) } else { group.id },
            prev: [0; 32],
            number: u32::from(!first),
            author: list.account(),
            device_key: public(10),
            time: 1_760_000_000_000,
            unopened: Vec::new(),
            act,
            key: Some(KeyOffer { suite: 2, previous: vec![9; 60], recipient: vec![5; 40] }),
        };
        let signed = SignedEvent::sign(&event, sign(10))?;
        seeds.push((name, chosen(if first { 0 } else { 3 }, &if first { signed.encode() } else { signed.body })));
    }
    Ok(seeds)
}

fn entry() -> AckEntry {
    AckEntry {
        from_device: DeviceId([0xd1; 16]),
        conversation: ConversationId([0xcc; 16]),
        epoch: Epoch([0xee; 8]),
        contiguous: 300,
        ranges: vec![(302, 303)],
        head: None,
    }
}

fn frames() -> Seeds {
    let (from_device, to_device) = (DeviceId([0xd1; 16]), DeviceId([0xd2; 16]));
    let ids = vec![MessageId([0x1d; 16])];
    let outer =
        Outer { suite: 2, to_device, prekey_id: PrekeyId([9; 8]), ttl: 604_800, ciphertext: b"age", work: None }
            .encode();
    [
        Frame::Hello { versions: vec![1], unix_time: 1_760_000_000 },
        Frame::Claim { from_device, to_device, signature: [0x5a; 64] },
        Frame::Record { from_device, to_device, record: b"R".to_vec() },
        Frame::Reach { from_device, to_device, reach: b"R".to_vec() },
        Frame::Envelope { number: 5, outer },
        Frame::Ack { from_device, to_device, entries: vec![entry()], ids },
        Frame::Resume { from_device, to_device, entries: vec![entry()] },
        Frame::Refuse { code: RefuseCode::PrekeyGone, envelope: Some(5), device: Some(to_device) },
        Frame::Ping { nonce: 9, reply: true },
    ]
    .map(|frame| (frame.name(), frame.encode().split_off(4)))
    .into()
}

fn core(seq: u64, kind: &str, payload: &[u8]) -> Vec<u8> {
    Core {
        from: AccountId([0xa1; 16]),
        from_device: DeviceId([0xd1; 16]),
        conversation: ConversationId([0xcc; 16]),
        to: AccountId([0xa2; 16]),
        id: MessageId([0x1d; 16]),
        epoch: Epoch([0xee; 8]),
        seq,
        prev: [0; 32],
        time: 1_760_000_000_000,
        kind,
        payload,
    }
    .encode()
}

fn cores() -> Seeds {
    let text =
        Text { body: "hej", format: 1, priority: 2, tags: vec!["a"], reply_to: Some(MessageId([0x1d; 16])) }.encode();
    let wrap = Wrap {
        body_hash: [0xb0; 32],
        from: AccountId([0xa1; 16]),
        from_device: DeviceId([0xd1; 16]),
        to_device: DeviceId([0xd2; 16]),
        prekey_id: PrekeyId([9; 8]),
        recipient_hash: [0x98; 32],
        suite: 2,
        record_seq: 7,
        record_hash: [0x97; 32],
        acks: vec![entry()],
    };
    let first = core(2, "text", &text);
    let skip = Skip { low: 1, high: 2, reason: "expired" }.encode();
    let card = ContactCard {
        record: b"R",
        reach: b"",
        deposit_token: [0x70; 32],
        invite_token: Some([0x71; 32]),
        text: "hi",
        membership: &[],
    };
    let receipt = Receipt { epoch: [0xee; 8], seq: 70_000, id: MessageId([0x1d; 16]) };
    let profile = Profile { version: 1, display_name: "Bob", status: "", bio: "b" };
    vec![
        ("core", chosen(0, &first)),
        ("wrap", chosen(1, &wrap.encode())),
        ("body", chosen(2, &encode_body([&first[..], &core(3, "skip", &skip)].into_iter()))),
        ("text", chosen(3, &text)),
        ("skip", chosen(4, &skip)),
        ("card", chosen(5, &card.encode())),
        ("receipt", chosen(6, &receipt.encode())),
        ("profile", chosen(7, &profile.encode())),
        ("kind", chosen(8, b"contact.request")),
    ]
}

fn reach() -> Result<Vec<u8>, proto::directory::ReachError> {
    let record = record(1);
    let reach = Reach {
        account: record.account(),
        device: record.devices[0].id,
        node: NodeId(fuzz::public(20)),
        relay: Some("https://example.org/relay".into()),
        addresses: ["192.0.2.1:7000", "[2001:db8::1]:7000"].iter().filter_map(|text| text.parse().ok()).collect(),
        seq: 3,
        issued: 1_760_000_000,
    };
    Ok(SignedReach::sign(&reach, &key(10), &key(20))?.encode())
}

fn records() -> Result<Seeds, Box<dyn std::error::Error>> {
    let signed = SignedRecord::sign(&record(1), &key(1))?;
    let reach = reach()?;
    let body = SignedReach::decode(&reach)?.body;
    let statement = SignedMembership::issue("example.org", record(1).account(), 1_760_000_000, &key(1));
    Ok(vec![
        ("record", chosen(0, &signed.encode())),
        ("record_body", chosen(1, &signed.body)),
        ("reach", chosen(2, &reach)),
        ("reach_body", chosen(3, &body)),
        ("statement", chosen(4, &statement.encode())),
        ("statement_body", chosen(5, &statement.body)),
    ])
}

fn rpc() -> Result<Seeds, Box<dyn std::error::Error>> {
    use proto::rpc::codec::{encode_notification, encode_request, encode_response};
    let mut stream = vec![3];
    let send = serde_json::json!({"to": "bob", "body": "hello", "tags": ["a"], "priority": "high"});
    encode_request(&mut stream, 1, "message.send", &send)?;
    encode_request(&mut stream, 2, "feed.subscribe", &serde_json::json!({"since": 5, "types": ["message.received"]}))?;
    encode_response(&mut stream, 3, &serde_json::json!({"id": "0197", "seq": 5}))?;
    encode_notification(&mut stream, "event", &serde_json::json!({"seq": 1}))?;
    let bomb = chosen(1, &[0x91; 2_000]);
    let claim = chosen(1, &[0x94, 0, 1, 0xa1, b'x', 0xdd, 0xff, 0xff, 0xff, 0xff]);
    Ok(vec![("stream", stream), ("bomb", bomb), ("claim", claim)])
}

fn prescans() -> Seeds {
    const KEY: &str = "C3ZAeY64NXS4QFrksLm3EGz+uPRyI0eQsWw7LWbbYig";
    const MAC: &str = "fgMiVLJHMlg9fW7CVG/hPS5EAU4Zeg19LyCP7SoH5nA";
    let file = |stanzas: &str| {
        let mut bytes = format!("age-encryption.org/v1\n{stanzas}--- {MAC}\n").into_bytes();
        bytes.extend([0; 48]);
        bytes
    };
    // 1,120 bytes: the last character has four bits that must be zero.
    let enc = format!("{}Q", "CJM36AHmTb7".repeat(136).split_at(1_493).0);
    let x = format!("-> mlkem768x25519 {enc}\n{KEY}\n");
    let grease = format!("-> x-grease 1 2 3 4\n{}\nAAAA\n", "A".repeat(64));
    vec![
        ("plain", file(&x)),
        ("grease", file(&format!("{x}{grease}"))),
        ("grease_first", file(&format!("{grease}{x}"))),
        ("scrypt", file(&format!("-> scrypt bBjlhJVYZeE4aqUdmtRHfw 30\n{KEY}\n"))),
        ("made_by_age", vec![0, b'x', 0, 30, 1, b' ']),
    ]
}

fn opens() -> Seeds {
    vec![
        ("outside", vec![1, 2]),
        ("outside_changed", vec![1, 1, 0, 60, 1, 3]),
        ("inside", vec![2, 3]),
        ("inside_empty", vec![2, 0]),
        ("inside_changed", vec![2, 1, 0, 10, 1, 3]),
        ("inside_length", vec![2, 1, 0, 65, 0, 0xff]),
        ("inside_size", vec![2, 1, 0, 0, 4, 4]),
    ]
}
