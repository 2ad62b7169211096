#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proto::ids::{ConversationId, Epoch, MessageId};
use proto::wire::SUITE_HYBRID;
use proto::wire::envelope::body_cost;

use super::*;

/// Someone with an account, a device and a prekey.
struct Person {
    account: AccountId,
    device: DeviceId,
    key: SigningKey,
    prekey: PrekeySecret,
}

impl Person {
    fn new(seed: u8) -> Self {
        let key = SigningKey::from_bytes(&[seed; 32]);
        Self {
            account: AccountId::of_first_key(&[seed; 32]),
            device: DeviceId::of_key(&key.public()),
            key,
            prekey: PrekeySecret::from_stored(SUITE_HYBRID, &[seed + 100; 32], 0, 0).unwrap(),
        }
    }

    fn sender(&self) -> Sender<'_> {
        Sender { account: self.account, device: self.device, key: &self.key, record_seq: 3, record_hash: [3; 32] }
    }

    fn address(&self) -> SealTo {
        SealTo { device: self.device, prekey: self.prekey.public().clone() }
    }

    fn core(&self, to: &Self, seq: u64, payload: &[u8]) -> Vec<u8> {
        Core {
            from: self.account,
            from_device: self.device,
            conversation: ConversationId::direct(self.account, to.account),
            to: to.account,
            id: MessageId([seq as u8; 16]),
            epoch: Epoch([1; 8]),
            seq,
            prev: [0; 32],
            time: 1_700_000_000_000,
            kind: "text",
            payload,
        }
        .encode()
    }

    fn seal_to(&self, to: &Self, payloads: &[&[u8]]) -> Vec<u8> {
        let cores: Vec<_> = payloads.iter().zip(1..).map(|(payload, seq)| self.core(to, seq, payload)).collect();
        let cores: Vec<_> = cores.iter().map(Vec::as_slice).collect();
        seal(&self.sender(), &to.address(), vec![], &cores, 60).unwrap()
    }

    fn open(&self, envelope: &[u8]) -> Result<Opened, CryptoError> {
        open(&Outer::decode(envelope)?, &self.prekey)
    }

    /// What a contact does who has pinned `from`: opens, and takes only what `from` signed.
    fn receive(&self, envelope: &[u8], from: &Self) -> Result<Vec<Vec<u8>>, CryptoError> {
        let opened = self.open(envelope)?;
        if opened.wrap().from != from.account || opened.wrap().from_device != from.device {
            return Err(CryptoError::WrongSigner);
        }
        let cores = opened.verify(&from.key.public())?;
        Ok(cores.list.iter().map(|(_, core)| core.payload.to_vec()).collect())
    }

    /// An envelope for this person made of arbitrary plaintext, as anyone can who knows the prekey.
    fn wrap_up(&self, plaintext: &[u8]) -> Vec<u8> {
        let ciphertext = encrypt(self.prekey.public(), plaintext).unwrap();
        let (to_device, prekey_id) = (self.device, self.prekey.id());
        Outer { suite: SUITE_HYBRID, to_device, prekey_id, ttl: 60, ciphertext: &ciphertext, work: None }.encode()
    }

    fn plaintext_of(&self, envelope: &[u8]) -> Vec<u8> {
        self.open(envelope).unwrap().plaintext.to_vec()
    }

    /// A wrap that claims to be from `from` and is otherwise right for this person.
    fn wrap_from(&self, from: &Self, body: &[u8]) -> Wrap {
        Wrap {
            body_hash: sha256(&[body]),
            from: from.account,
            from_device: from.device,
            to_device: self.device,
            prekey_id: self.prekey.id(),
            recipient_hash: *self.prekey.public().recipient_hash(),
            suite: SUITE_HYBRID,
            record_seq: 3,
            record_hash: [3; 32],
            acks: vec![],
        }
    }
}

fn people() -> (Person, Person, Person) {
    (Person::new(1), Person::new(2), Person::new(3))
}

fn ack(n: u64) -> AckEntry {
    AckEntry {
        from_device: DeviceId([n as u8; 16]),
        conversation: ConversationId([2; 16]),
        epoch: Epoch([3; 8]),
        contiguous: u64::MAX - 1_000,
        ranges: (0..8).map(|i| (u64::MAX - 900 + 10 * i, u64::MAX - 895 + 10 * i)).collect(),
        head: Some([n as u8; 8]),
    }
}

#[test]
fn alice_writes_to_bob() {
    let (alice, bob, carol) = people();
    let envelope = alice.seal_to(&bob, &[b"hello", b"", b"bob"]);
    let opened = bob.open(&envelope).unwrap();
    assert_eq!((opened.wrap().record_seq, opened.wrap().record_hash), (3, [3; 32]));
    assert_eq!(opened.plaintext_len(), 1_024);
    assert_eq!(opened.unverified_cores().unwrap().len(), 3);
    let cores = opened.verify(&alice.key.public()).unwrap();
    assert_eq!(cores.list[2].0, alice.core(&bob, 3, b"bob"));
    assert_eq!(bob.receive(&envelope, &alice).unwrap(), [&b"hello"[..], b"", b"bob"]);
    assert!(matches!(carol.open(&envelope), Err(CryptoError::WrongPrekey)));
}

#[test]
fn an_empty_body_carries_acknowledgements() {
    let (alice, bob, _) = people();
    let acks: Vec<_> = (0..3).map(ack).collect();
    let envelope = seal(&alice.sender(), &bob.address(), acks.clone(), &[], 60).unwrap();
    let opened = bob.open(&envelope).unwrap();
    let cores = opened.verify(&alice.key.public()).unwrap();
    assert_eq!((cores.wrap.acks.clone(), cores.list.len()), (acks, 0));
}

#[test]
fn what_capacity_promises_fits_and_the_next_byte_is_a_typed_error() {
    let (alice, bob, _) = people();
    assert!(capacity(8) >= body_cost(MAX_CORE_BYTES), "the largest core goes along with some acknowledgements");
    assert_eq!(capacity(10_000), 0);
    for acks in [0, 1, 16, 256] {
        let list: Vec<_> = (0..acks as u64).map(ack).collect();
        // As few cores as hold the bytes: the largest ones, and one for the rest.
        let mut rest = capacity(acks);
        let mut cores: Vec<Vec<u8>> = Vec::new();
        while rest > body_cost(0) {
            let len = (rest - body_cost(0)).min(MAX_CORE_BYTES);
            cores.push(vec![7; len]);
            rest -= body_cost(len);
        }
        let slices: Vec<_> = cores.iter().map(Vec::as_slice).collect();
        assert!(seal(&alice.sender(), &bob.address(), list.clone(), &slices, 60).is_ok(), "{acks} acks");
        let used: usize = cores.iter().map(|core| body_cost(core.len())).sum();
        assert!(ack_capacity(used) >= acks.min(MAX_ACK_ENTRIES));
        let more: Vec<_> = slices.iter().copied().chain([&[7; 400][..]]).collect();
        let result = seal(&alice.sender(), &bob.address(), list, &more, 60);
        assert!(matches!(result, Err(CryptoError::TooLarge { limit: MAX_PLAINTEXT_BYTES, .. })), "{acks} acks");
    }
    let large = vec![0; MAX_CORE_BYTES + 1];
    let result = seal(&alice.sender(), &bob.address(), vec![], &[&large], 60);
    assert!(matches!(result, Err(CryptoError::Wire(WireError::TooLarge { what: "core", .. }))));
    let acks: Vec<_> = (0..257).map(ack).collect();
    assert!(seal(&alice.sender(), &bob.address(), acks, &[], 60).is_err());
    for ttl in [0, MAX_TTL_SECONDS + 1] {
        assert!(matches!(seal(&alice.sender(), &bob.address(), vec![], &[], ttl), Err(CryptoError::BadTtl(_))));
    }
    let sender = Sender { device: bob.device, ..alice.sender() };
    assert!(matches!(seal(&sender, &bob.address(), vec![], &[], 60), Err(CryptoError::WrongSigner)));
}

#[test]
fn every_size_comes_out_as_one_of_eight() {
    let (alice, bob, _) = people();
    for (payload, size) in [(0, 512), (400, 1_024), (1_400, 2_048), (3_400, 4_096), (7_500, 8_192), (61_440, 65_536)] {
        let envelope = alice.seal_to(&bob, &[&vec![b'x'; payload]]);
        assert_eq!(bob.open(&envelope).unwrap().plaintext_len(), size);
        let changed = bob.plaintext_of(&envelope);
        // The same content in the next larger size is refused: the pad would be a covert channel.
        let mut padded = changed.clone();
        padded.resize(size * 2, 0);
        if size < MAX_PLAINTEXT_BYTES {
            assert!(matches!(bob.open(&bob.wrap_up(&padded)), Err(CryptoError::Plaintext(_))));
        }
        assert!(matches!(bob.open(&bob.wrap_up(&changed[..size - 1])), Err(CryptoError::Plaintext(_))));
    }
}

#[test]
fn the_suite_inside_is_the_one_outside() {
    let (alice, bob, _) = people();
    let honest = alice.seal_to(&bob, &[b"hello"]);
    let outer = Outer::decode(&honest).unwrap();
    for other in [0, 1, 3, 255] {
        let relabelled = Outer { suite: other, ..outer.clone() }.encode();
        assert!(matches!(bob.open(&relabelled), Err(CryptoError::UnknownSuite(suite)) if suite == other));
        // Signed for an invented suite, sealed with this one.
        let body = encode_body([].into_iter());
        let wrap = Wrap { suite: other, ..bob.wrap_from(&alice, &body) }.encode();
        let envelope = bob.wrap_up(&lay_out(&alice.key.sign(&[DOMAIN, &wrap]), &wrap, &body).unwrap());
        assert!(matches!(bob.open(&envelope), Err(CryptoError::Binding("suite"))));
    }
}

/// What age added with the curve alone: 195 bytes, and grease of 0 to 190.
#[test]
fn an_envelope_grows_by_less_than_two_kilobytes() {
    let (alice, bob, _) = people();
    let mut most = 0;
    for text in [&b"hello"[..], &[b'x'; 7_500], &[b'x'; 61_000]] {
        for _ in 0..100 {
            let envelope = alice.seal_to(&bob, &[text]);
            let ciphertext = Outer::decode(&envelope).unwrap().ciphertext.len();
            most = most.max(ciphertext - bob.open(&envelope).unwrap().plaintext_len());
        }
    }
    println!("figure: bytes that age adds to an envelope, grease included: {most} at most");
    assert!(most <= 195 + 1_800, "{most} bytes");
}

#[test]
fn forged_with_public_data_only() {
    let (alice, bob, mallory) = people();
    let core = alice.core(&bob, 1, b"send money");
    let body = encode_body([core.as_slice()].into_iter());
    let honest = alice.seal_to(&bob, &[b"hello"]);
    let seen = alice.seal_to(&mallory, &[b"to mallory"]);
    let genuine: [u8; 64] = mallory.plaintext_of(&seen)[..64].try_into().unwrap();
    let wrap = bob.wrap_from(&alice, &body).encode();
    let own = Wrap { from_device: mallory.device, ..bob.wrap_from(&alice, &body) }.encode();
    let mut accepted = 0;
    for (signature, wrap) in [
        (mallory.key.sign(&[DOMAIN, &wrap]), &wrap), // alice's names, mallory's key
        (mallory.key.sign(&[DOMAIN, &own]), &own),   // alice's account, mallory's device
        (mallory.key.sign(&[b"chatd/claim/1\0", &wrap]), &wrap), // another context
        (genuine, &wrap),                            // a signature that alice made for something else
        ([0; 64], &wrap),
    ] {
        let envelope = bob.wrap_up(&lay_out(&signature, wrap, &body).unwrap());
        accepted += usize::from(bob.receive(&envelope, &alice).is_ok());
        let opened = bob.open(&envelope).unwrap();
        accepted += usize::from(opened.verify(&mallory.key.public()).is_ok());
    }
    // Alice's account and key, somebody else's device id: the core would be filed under a stream that is not alice's.
    let other = Wrap { from_device: mallory.device, ..bob.wrap_from(&alice, &body) }.encode();
    let envelope = bob.wrap_up(&lay_out(&alice.key.sign(&[DOMAIN, &other]), &other, &body).unwrap());
    let result = bob.open(&envelope).unwrap().verify(&alice.key.public()).map(|_| ());
    assert!(matches!(result, Err(CryptoError::WrongSigner)));
    assert_eq!(accepted, 0);
    assert!(bob.receive(&honest, &alice).is_ok());
}

#[test]
fn rewrapped_for_carol() {
    let (alice, bob, carol) = people();
    // Bob opens what alice wrote to him, and seals the same signed content to carol.
    let plaintext = bob.plaintext_of(&alice.seal_to(&bob, &[b"I resign"]));
    let result = carol.receive(&carol.wrap_up(&plaintext), &alice);
    assert!(matches!(result, Err(CryptoError::Binding(_))), "{result:?}");
    // Not even to another prekey of bob's own device.
    let newer = Person { prekey: PrekeySecret::generate(0).unwrap(), ..Person::new(2) };
    assert!(matches!(newer.receive(&newer.wrap_up(&plaintext), &alice), Err(CryptoError::Binding("prekey"))));
    // A prekey id of 8 bytes could be made to collide; the whole hash cannot.
    let body = encode_body([].into_iter());
    let collided = Wrap { recipient_hash: *bob.prekey.public().recipient_hash(), ..carol.wrap_from(&alice, &body) };
    let wrap = collided.encode();
    let envelope = carol.wrap_up(&lay_out(&alice.key.sign(&[DOMAIN, &wrap]), &wrap, &body).unwrap());
    assert!(matches!(carol.open(&envelope), Err(CryptoError::Binding("recipient"))));
}

#[test]
fn key_compromise_impersonation() {
    // The attacker has every secret of bob, and wants bob to believe that alice wrote.
    let (alice, bob, _) = people();
    let core = alice.core(&bob, 1, b"it is me, alice");
    let body = encode_body([core.as_slice()].into_iter());
    let wrap = bob.wrap_from(&alice, &body).encode();
    let signature = bob.key.sign(&[DOMAIN, &wrap]);
    let envelope = bob.wrap_up(&lay_out(&signature, &wrap, &body).unwrap());
    assert!(matches!(bob.receive(&envelope, &alice), Err(CryptoError::BadSignature)));
    let opened = bob.open(&envelope).unwrap();
    assert!(matches!(opened.verify(&bob.key.public()), Err(CryptoError::WrongSigner)), "bob is not alice's device");
}

#[test]
fn a_foreign_core_refuses_the_whole_envelope() {
    let (alice, bob, carol) = people();
    let own = alice.core(&bob, 1, b"mine");
    for foreign in
        [carol.core(&bob, 1, b"carol's"), Person { account: carol.account, ..Person::new(1) }.core(&bob, 2, b"x")]
    {
        let envelope = seal(&alice.sender(), &bob.address(), vec![], &[&own, &foreign], 60).unwrap();
        assert!(matches!(bob.receive(&envelope, &alice), Err(CryptoError::ForeignCore)));
        assert!(bob.open(&envelope).unwrap().unverified_cores().is_err());
    }
    let envelope = seal(&alice.sender(), &bob.address(), vec![], &[&own, b"no core"], 60).unwrap();
    assert!(matches!(bob.receive(&envelope, &alice), Err(CryptoError::Wire(_))));
}

#[test]
fn every_byte_of_the_plaintext_counts() {
    let (alice, bob, _) = people();
    let plaintext = bob.plaintext_of(&alice.seal_to(&bob, &[b"hello"]));
    assert_eq!(plaintext.len(), 512);
    let pad = plaintext.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for at in 0..plaintext.len() {
        let mut changed = plaintext.clone();
        changed[at] ^= 0x40;
        let result = bob.receive(&bob.wrap_up(&changed), &alice);
        assert!(result.is_err(), "byte {at}");
        if at >= pad {
            assert!(matches!(result, Err(CryptoError::Plaintext("a pad byte is not zero"))), "byte {at}");
        }
    }
}

#[test]
fn every_byte_of_the_envelope_counts() {
    let (alice, bob, _) = people();
    let envelope = alice.seal_to(&bob, &[b"hello"]);
    // The lifetime is the mailbox's business and outside of the signature: three bytes, after array, version, suite and
    // the two ids.
    let ttl = 1 + 1 + 1 + 18 + 10;
    for at in (0..envelope.len()).filter(|at| *at != ttl) {
        let mut changed = envelope.clone();
        changed[at] ^= 1;
        assert!(bob.receive(&changed, &alice).is_err(), "byte {at}");
    }
    for length in 0..envelope.len() {
        assert!(bob.receive(&envelope[..length], &alice).is_err(), "cut to {length}");
    }
    assert!(bob.receive(&envelope, &alice).is_ok());
}

#[test]
fn length_claims_are_checked_against_what_is_there() {
    let (_, bob, _) = people();
    for (wrap, body) in [(u32::MAX, 0), (0, u32::MAX), (436, 0), (437, 0), (440, 5)] {
        let mut plaintext = vec![0; 512];
        plaintext[64..68].copy_from_slice(&wrap.to_be_bytes());
        if let Some(slot) = plaintext.get_mut(68 + wrap as usize % 444..).and_then(|rest| rest.first_chunk_mut()) {
            *slot = body.to_be_bytes();
        }
        assert!(bob.open(&bob.wrap_up(&plaintext)).is_err(), "{wrap} {body}");
    }
}

#[test]
fn debug_prints_no_plaintext() {
    let (alice, bob, _) = people();
    let opened = bob.open(&alice.seal_to(&bob, &[b"hush"])).unwrap();
    let shown = format!("{opened:?} {:?} {:?}", opened.verify(&alice.key.public()).unwrap(), alice.sender());
    assert!(!shown.contains("104, 117") && !shown.contains("hush"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn round_trip(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..60),
        acks in 0u64..20,
        ttl in 1..=MAX_TTL_SECONDS,
    ) {
        let (alice, bob, _) = people();
        let cores: Vec<_> = payloads.iter().zip(1..).map(|(payload, seq)| alice.core(&bob, seq, payload)).collect();
        let slices: Vec<_> = cores.iter().map(Vec::as_slice).collect();
        let acks: Vec<_> = (0..acks).map(ack).collect();
        let envelope = seal(&alice.sender(), &bob.address(), acks.clone(), &slices, ttl).unwrap();
        prop_assert_eq!(Outer::decode(&envelope).unwrap().ttl, ttl);
        let opened = bob.open(&envelope).unwrap();
        let opened = opened.verify(&alice.key.public()).unwrap();
        prop_assert_eq!(&opened.wrap.acks, &acks);
        let got: Vec<_> = opened.list.iter().map(|(bytes, _)| *bytes).collect();
        prop_assert_eq!(got, slices);
    }

    #[test]
    fn arbitrary_plaintext_never_panics(mut bytes in prop::collection::vec(any::<u8>(), 512), wrap in 0u32..520) {
        let (_, bob, _) = people();
        bytes[64..68].copy_from_slice(&wrap.to_be_bytes());
        prop_assert!(bob.open(&bob.wrap_up(&bytes)).is_err());
    }
}
