//! Opening envelopes with a fixed prekey, in three ways that the first byte chooses: bytes as they are; a sealed
//! envelope with changes to its outside; a plaintext with changes, sealed again as anybody can who has the prekey.
//!
//! Property: whatever verifies with alice's key is, to the byte, what alice signed.
#![no_main]

use chatd::crypto::envelope::{Opened, open, seal};
use fuzz::envelope::Pair;
use libfuzzer_sys::fuzz_target;
use proto::ids::{ConversationId, DeviceId, Epoch, sha256};
use proto::wire::envelope::{AckEntry, Outer, Wrap, encode_body};

thread_local! {
    static PAIR: Pair = Pair::new();
}

fuzz_target!(|data: &[u8]| {
    let Some((which, data)) = data.split_first() else { return };
    PAIR.with(|pair| match which % 3 {
        0 => {
            if let Ok(opened) = Outer::decode(data).map_err(Into::into).and_then(|outer| open(&outer, &pair.prekey)) {
                let _ = opened.unverified_cores();
                assert!(opened.verify(&pair.alice.public()).is_err(), "forged");
            }
        }
        1 => outside(pair, data),
        _ => inside(pair, data),
    });
});

/// `count` messages of alice's.
fn cores(pair: &Pair, count: u8) -> Vec<Vec<u8>> {
    (0..count % 4).map(|n| pair.core(u64::from(n) + 1, "text", &[n; 5])).collect()
}

fn ack(pair: &Pair) -> AckEntry {
    AckEntry {
        from_device: pair.device,
        conversation: ConversationId::direct(pair.from, pair.to),
        epoch: Epoch([1; 8]),
        contiguous: 3,
        ranges: vec![(5, 6)],
        head: None,
    }
}

fn outside(pair: &Pair, data: &[u8]) {
    let Some((count, edits)) = data.split_first() else { return };
    let cores = cores(pair, *count);
    let parts: Vec<_> = cores.iter().map(Vec::as_slice).collect();
    let sound = seal(&pair.sender(), &pair.address(), vec![ack(pair)], &parts, 60).expect("it fits");
    let mut changed = sound.clone();
    edit(&mut changed, edits);
    let Ok(outer) = Outer::decode(&changed) else { return };
    if let Ok(opened) = open(&outer, &pair.prekey) {
        is_alices(pair, &opened, &cores);
    }
}

fn inside(pair: &Pair, data: &[u8]) {
    let Some((count, edits)) = data.split_first() else { return };
    let cores = cores(pair, *count);
    let body = encode_body(cores.iter().map(Vec::as_slice));
    let sender = pair.sender();
    let wrap = Wrap {
        body_hash: sha256(&[&body]),
        from: sender.account,
        from_device: sender.device,
        to_device: pair.device,
        prekey_id: pair.prekey.id(),
        recipient_hash: *pair.prekey.public().recipient_hash(),
        suite: 2,
        record_seq: 3,
        record_hash: [3; 32],
        acks: vec![ack(pair)],
    }
    .encode();
    let mut plaintext = pair.alice.sign(&[b"chatd/wrap/1\0", &wrap]).to_vec();
    for part in [&wrap, &body] {
        plaintext.extend_from_slice(&(part.len() as u32).to_be_bytes());
        plaintext.extend_from_slice(part);
    }
    plaintext.resize(plaintext.len().next_power_of_two().max(512), 0);
    edit(&mut plaintext, edits);
    let ciphertext = pair.encrypt(&plaintext);
    let outer = Outer {
        suite: 2,
        to_device: pair.device,
        prekey_id: pair.prekey.id(),
        ttl: 60,
        ciphertext: &ciphertext,
        work: None,
    };
    let opened = open(&outer, &pair.prekey);
    if edits.len() < 4 {
        assert!(opened.is_ok(), "unchanged, it opens: {:?}", opened.err());
    }
    if let Ok(opened) = opened {
        let _ = opened.unverified_cores();
        is_alices(pair, &opened, &cores);
    }
}

/// If it verifies as alice's, it says what alice said.
fn is_alices(pair: &Pair, opened: &Opened, cores: &[Vec<u8>]) {
    let Ok(taken) = opened.verify(&pair.alice.public()) else { return };
    let bytes: Vec<_> = taken.list.iter().map(|(bytes, _)| bytes.to_vec()).collect();
    assert_eq!(bytes, cores);
    assert_eq!((taken.wrap.from, taken.wrap.to_device), (pair.from, pair.device));
    assert_eq!(taken.wrap.from_device, DeviceId::of_key(&pair.alice.public()));
    assert_eq!(taken.wrap.acks, [ack(pair)]);
}

/// Changes of four bytes each: where, how, with what.
fn edit(bytes: &mut Vec<u8>, edits: &[u8]) {
    for change in edits.chunks_exact(4) {
        if bytes.is_empty() {
            return;
        }
        let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
        match change[2] % 5 {
            0 => bytes[at] = change[3],
            1 => bytes[at] ^= 1 << (change[3] & 7),
            2 => bytes.insert(at, change[3]),
            3 => drop(bytes.remove(at)),
            _ => bytes.resize(usize::from(change[3]) * 256, change[0]),
        }
    }
}
