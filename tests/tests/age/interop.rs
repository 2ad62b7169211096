//! age-encryption for JavaScript opens what we seal, and we open what it seals: envelopes, and backups.

use std::io::Write;
use std::process::{Command, Stdio};

use age_core::primitives::bech32_encode;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bech32::Hrp;
use chatd::crypto::archive::{self, Secrets};
use chatd::crypto::envelope::{SealTo, Sender, open, seal};
use chatd::crypto::keys::SigningKey;
use chatd::crypto::prekey::PrekeySecret;
use chatd::crypto::prescan::{MAX_HEADER_BYTES, prescan};
use proto::ids::{AccountId, ConversationId, DeviceId, Epoch, MessageId};
use proto::wire::SUITE_HYBRID;
use proto::wire::envelope::{Core, Outer};
use serde_json::{Value, json};
use tests::skip_without_failing;

use crate::package;

/// Reads one request, and answers it. Bytes are in base64.
const PROGRAM: &str = include_str!("interop.mjs");

/// Envelopes each way; ten thousand in `cargo xtask torture`.
fn count() -> usize {
    std::env::var("CHATD_TORTURE_INTEROP").ok().and_then(|text| text.parse().ok()).unwrap_or(100)
}

/// What the other implementation makes of a request; `None`: it is not there.
fn ask(request: &Value) -> Option<Value> {
    let folder = package("age-encryption")?;
    let mut node = Command::new("node");
    node.args(["--input-type=module", "-e", PROGRAM]).current_dir(folder);
    let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node runs");
    let mut stdin = node.stdin.take().unwrap();
    let request = request.to_string();
    let writer = std::thread::spawn(move || stdin.write_all(request.as_bytes()));
    let output = node.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "the other implementation failed; its error is above");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn bytes(value: &Value) -> Vec<u8> {
    BASE64_STANDARD.decode(value.as_str().expect("base64")).expect("base64")
}

/// The texts of a key pair.
fn texts(seed: &[u8; 32]) -> (String, String) {
    let public = hybrid::Identity::from_seed(seed).public().to_bytes();
    let text = |prefix: &str, bytes: &[u8]| bech32_encode(Hrp::parse(prefix).unwrap(), bytes);
    (text("age-secret-key-pq-", seed).to_uppercase(), text("age1pq", &public))
}

/// Alice's envelopes to bob, all different.
struct Letters {
    key: SigningKey,
    prekey: PrekeySecret,
    device: DeviceId,
    envelopes: Vec<Vec<u8>>,
}

impl Letters {
    fn write(count: usize) -> Self {
        let key = SigningKey::from_bytes(&[1; 32]);
        let prekey = PrekeySecret::from_stored(SUITE_HYBRID, &[2; 32], 0, 0).unwrap();
        let (account, device) = (AccountId([1; 16]), DeviceId([2; 16]));
        let from_device = DeviceId::of_key(&key.public());
        let sender = Sender { account, device: from_device, key: &key, record_seq: 0, record_hash: [0; 32] };
        let to = SealTo { device, prekey: prekey.public().clone() };
        let envelopes = (0..count)
            .map(|n| {
                let text = format!("letter {n}");
                let core = Core {
                    from: account,
                    from_device,
                    conversation: ConversationId([3; 16]),
                    to: AccountId([4; 16]),
                    id: MessageId([5; 16]),
                    epoch: Epoch([6; 8]),
                    seq: n as u64 + 1,
                    prev: [0; 32],
                    time: 0,
                    kind: "text",
                    payload: text.as_bytes(),
                };
                seal(&sender, &to, Vec::new(), &[&core.encode()], 60).unwrap()
            })
            .collect();
        Self { key, prekey, device, envelopes }
    }

    fn ciphertexts(&self) -> Vec<Vec<u8>> {
        self.envelopes.iter().map(|bytes| Outer::decode(bytes).unwrap().ciphertext.to_vec()).collect()
    }

    /// That a ciphertext is the n-th letter, as bob takes it.
    fn holds(&self, n: usize, ciphertext: &[u8]) {
        let (to_device, prekey_id) = (self.device, self.prekey.id());
        let outer = Outer { suite: SUITE_HYBRID, to_device, prekey_id, ttl: 60, ciphertext, work: None };
        let opened = open(&outer, &self.prekey).unwrap();
        let cores = opened.verify(&self.key.public()).unwrap();
        assert_eq!(cores.list[0].1.payload, format!("letter {n}").as_bytes());
    }
}

#[test]
fn envelopes_go_both_ways() {
    let letters = Letters::write(count());
    let (identity, recipient) = texts(&[2; 32]);
    let files = letters.ciphertexts();
    for file in &files {
        assert!(prescan(file).is_ok_and(|at| at <= MAX_HEADER_BYTES));
    }
    let texts_of_files: Vec<String> = files.iter().map(|file| BASE64_STANDARD.encode(file)).collect();
    let request = json!({ "identity": identity, "recipient": recipient, "files": texts_of_files, "reseal": true });
    let Some(answer) = ask(&request) else {
        skip_without_failing!("the package age-encryption is not there: cargo xtask test installs it with npm");
    };
    let (theirs, plain) = (answer["sealed"].as_array().unwrap(), answer["opened"].as_array().unwrap());
    assert_eq!((theirs.len(), plain.len()), (files.len(), files.len()));
    for (n, (file, text)) in theirs.iter().zip(plain).enumerate() {
        let (file, text) = (bytes(file), bytes(text));
        assert_eq!(text.len(), 512, "they open ours: signature, wrap and body, padded");
        assert!(prescan(&file).is_ok_and(|at| at <= MAX_HEADER_BYTES), "{}", file.escape_ascii());
        letters.holds(n, &file);
    }
    println!("figure: envelopes opened by age-encryption: {0}, and of its own by us: {0}", files.len());
}

#[test]
fn backups_and_keys_go_both_ways() {
    let (identity, recipient) = texts(&[9; 32]);
    let text = vec![7; 200_000];
    let seal_for = |recipients: &[String]| {
        let mut writer = archive::encrypt(recipients, None, Vec::new()).unwrap();
        writer.write_all(&text).unwrap();
        BASE64_STANDARD.encode(writer.finish().unwrap())
    };
    let mine = seal_for(std::slice::from_ref(&recipient));
    let request = json!({ "identity": identity, "recipient": recipient, "files": [mine], "reseal": true });
    let Some(answer) = ask(&request) else {
        skip_without_failing!("the package age-encryption is not there: cargo xtask test installs it with npm");
    };
    assert_eq!(bytes(&answer["opened"][0]), text);
    assert_eq!(answer["identity_to_recipient"], recipient.as_str());
    let opens = |file: &Value, identity: &str| {
        let mut out = Vec::new();
        Secrets::new(&[identity], None).unwrap().decrypt(bytes(file).as_slice(), &mut out).unwrap();
        assert_eq!(out, text);
    };
    opens(&answer["sealed"][0], &identity);
    // A key that they made.
    let (their_identity, their_recipient) = (&answer["made_identity"], &answer["made_recipient"]);
    let (their_identity, their_recipient) = (their_identity.as_str().unwrap(), their_recipient.as_str().unwrap());
    let known = hybrid::Identity::parse(their_identity).unwrap();
    assert_eq!(hybrid::Recipient::parse(their_recipient).unwrap().to_bytes(), known.public().to_bytes());
    let for_them = seal_for(&[their_recipient.to_owned()]);
    let answer = ask(&json!({
        "identity": their_identity, "recipient": their_recipient, "files": [for_them], "reseal": true
    }))
    .unwrap();
    assert_eq!(bytes(&answer["opened"][0]), text);
    opens(&answer["sealed"][0], their_identity);
}
