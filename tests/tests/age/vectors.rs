//! C2SP's vectors for age (CCTV), as they are published: lines of `key: value`, an empty line, a file. They are read beside the
//! checkout, or out of the package `cctv-age`, and are not part of this repository.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use age::{DecryptError, Decryptor};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proto::ids::{hex, sha256};
use tests::skip_without_failing;

use crate::package;

/// Those about `mlkem768x25519`, and the same in armour.
const HYBRID: usize = 18;

struct Vector {
    name: String,
    expect: String,
    payload: Option<String>,
    identities: Vec<String>,
    file: Vec<u8>,
}

impl Vector {
    fn read(name: &str, bytes: &[u8]) -> Self {
        let end = bytes.windows(2).position(|pair| pair == b"\n\n").expect("an empty line");
        let (head, rest) = (String::from_utf8(bytes[..end].to_vec()).unwrap(), &bytes[end + 2..]);
        let values = |wanted: &str| -> Vec<String> {
            let lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.filter(|(key, _)| *key == wanted).map(|(_, value)| value.to_owned()).collect()
        };
        let value = |wanted: &str| values(wanted).pop();
        let mut file = match value("compressed").as_deref() {
            None => rest.to_vec(),
            Some("zlib") => miniz_oxide::inflate::decompress_to_vec_zlib(rest).unwrap(),
            Some(other) => panic!("{name}: {other}"),
        };
        if value("armored").is_some() {
            let text = String::from_utf8(file).unwrap();
            let lines: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
            file = BASE64_STANDARD.decode(lines).unwrap();
        }
        let (expect, payload) = (value("expect").expect("what to expect"), value("payload"));
        Self { name: name.to_owned(), expect, payload, identities: values("identity"), file }
    }

    /// As the vectors name what may come of it, and the hash of what was read.
    fn outcome(&self) -> (&'static str, Option<String>) {
        let identities: Vec<Box<dyn age::Identity>> = self
            .identities
            .iter()
            .map(|text| match hybrid::Identity::parse(text) {
                Ok(key) => Box::new(key) as Box<dyn age::Identity>,
                Err(_) => Box::new(text.parse::<age::x25519::Identity>().unwrap()),
            })
            .collect();
        let opened = Decryptor::new_buffered(self.file.as_slice())
            .and_then(|decryptor| decryptor.decrypt(identities.iter().map(AsRef::as_ref)));
        let mut reader = match opened {
            Ok(reader) => reader,
            Err(DecryptError::NoMatchingKeys) => return ("no match", None),
            Err(DecryptError::InvalidMac) => return ("HMAC failure", None),
            Err(DecryptError::InvalidHeader | DecryptError::UnknownFormat) => return ("header failure", None),
            Err(other) => panic!("{}: {other}", self.name),
        };
        let mut plaintext = Vec::new();
        match reader.read_to_end(&mut plaintext) {
            Ok(_) => ("success", Some(hex(&sha256(&[&plaintext])))),
            Err(_) => ("payload failure", Some(hex(&sha256(&[&plaintext])))),
        }
    }
}

/// The folder that the project's people share, beside the checkout.
fn beside() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/vectors/age")
}

fn from_folder(folder: &Path) -> Vec<Vector> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.contains("hybrid") {
            all.push(Vector::read(&name, &std::fs::read(entry.path()).unwrap()));
        }
    }
    all
}

fn from_package(folder: &Path) -> Vec<Vector> {
    const PROGRAM: &str = r#"const all = require("cctv-age");
for (const name in all) if (name.includes("hybrid")) console.log(name, Buffer.from(all[name]).toString("base64"));"#;
    let mut node = Command::new("node");
    let output = node.args(["-e", PROGRAM]).current_dir(folder).stdin(Stdio::null()).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines = lines.lines().map(|line| line.split_once(' ').unwrap());
    lines.map(|(name, bytes)| Vector::read(name, &BASE64_STANDARD.decode(bytes).unwrap())).collect()
}

fn hold(all: &[Vector], from: &str) {
    let mut passed = 0;
    for vector in all {
        let (outcome, payload) = vector.outcome();
        assert_eq!(outcome, vector.expect, "{}", vector.name);
        assert_eq!(payload, vector.payload, "{}", vector.name);
        passed += usize::from(vector.name.starts_with("hybrid"));
    }
    assert_eq!((passed, all.len()), (HYBRID, HYBRID + 1), "the hybrid ones, and one in armour");
    println!("figure: hybrid vectors of C2SP passed: {passed} of {HYBRID}, and the one in armour ({from})");
}

#[test]
fn all_hybrid_vectors_of_c2sp() {
    let (folder, installed) = (beside(), package("cctv-age"));
    if folder.is_dir() {
        hold(&from_folder(&folder), "beside the checkout");
    }
    match installed {
        Some(installed) => hold(&from_package(&installed), "cctv-age"),
        None if folder.is_dir() => {}
        None => skip_without_failing!(
            "the vectors are neither in {} nor in the package cctv-age: cargo xtask test installs it with npm",
            folder.display()
        ),
    }
}
