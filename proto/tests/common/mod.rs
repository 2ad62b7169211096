//! What tests of bytes share.

use proto::ids::hex;

/// A run of equal bytes reads as `NNxCOUNT`, so that a person can check a snapshot against docs/wire.md.
pub fn shown(bytes: &[u8]) -> String {
    let mut out = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        let byte = hex(&run[..1]);
        match run.len() {
            1..=3 => out.push_str(&byte.repeat(run.len())),
            long => out.push_str(&format!(" {byte}x{long} ")),
        }
    }
    out.replace("  ", " ").trim().to_owned()
}
