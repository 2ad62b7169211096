//! What the hybrid stanza costs beside age's classic one: 512 bytes sealed and opened, by turns.

use std::hint::black_box;
use std::io::{Read, Write};
use std::iter;

use criterion::{Criterion, criterion_group, criterion_main};

fn seal(to: &dyn age::Recipient) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(4_096);
    let mut writer = age::Encryptor::with_recipients(iter::once(to)).ok()?.wrap_output(&mut out).ok()?;
    writer.write_all(&[7; 512]).ok()?;
    writer.finish().ok()?;
    Some(out)
}

fn open(file: &[u8], key: &dyn age::Identity) -> Option<usize> {
    let mut out = Vec::with_capacity(512);
    age::Decryptor::new_buffered(file).ok()?.decrypt(iter::once(key)).ok()?.read_to_end(&mut out).ok()
}

fn stanza(c: &mut Criterion) {
    let classic = age::x25519::Identity::generate();
    let mut seed = [0; hybrid::SEED_BYTES];
    seed[0] = 1;
    let key = hybrid::Identity::from_seed(&seed);
    let recipient = key.public().to_bytes();
    let both: [(&str, &dyn age::Recipient, &dyn age::Identity); 2] =
        [("x25519", &classic.to_public(), &classic), ("mlkem768x25519", key.public(), &key)];
    for (name, to, by) in both {
        c.bench_function(&format!("seal {name}"), |b| b.iter(|| seal(black_box(to))));
        let Some(file) = seal(to) else { return };
        c.bench_function(&format!("open {name}"), |b| b.iter(|| open(black_box(&file), by)));
    }
    c.bench_function("take a recipient in", |b| {
        b.iter(|| hybrid::Recipient::from_bytes(black_box(&recipient)).is_ok())
    });
    c.bench_function("expand a seed", |b| b.iter(|| hybrid::Identity::from_seed(black_box(&seed))));
}

criterion_group!(benches, stanza);
criterion_main!(benches);
